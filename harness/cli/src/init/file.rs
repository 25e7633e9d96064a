//! The text of a `vexfs.toml`.

use std::fmt::Write;

use machine::config::{quoted, written};

use super::answer::Settled;

/// The file, with comments for whoever changes it later.
pub(super) fn text(settled: &Settled) -> String {
    let Settled { fuse, mount, module, filesystem, .. } = settled;
    let mut text = String::from(
        "# The VexFS that is tested in the place of the reference; docs/own-vexfs.md has all that may be\n\
         # said here. Commands are split at blanks, read by no shell, and run where this file is; paths\n\
         # begin here.\n\n\
         # The FUSE daemon: a program and its arguments, or the directory of its cargo package. It stays\n\
         # in the foreground: -f where libfuse parses the arguments. python3 alone may be the checkout's own.\n",
    );
    let _ = match fuse {
        Some(words) => writeln!(text, "fuse = {}", written(words)),
        None => writeln!(text, "# fuse = \"build/my_vexfs -f\""),
    };
    text.push_str(
        "\n# The kernel module: its file, built for the guest's kernel, or the directory of its sources. Its\n\
         # file system is called as the module is, unless filesystem says otherwise.\n",
    );
    let _ = match (module, filesystem) {
        (Some(path), None) => writeln!(text, "module = {}", quoted(path)),
        (Some(path), Some(name)) => {
            writeln!(text, "module = {{ path = {}, filesystem = {} }}", quoted(path), quoted(name))
        }
        (None, _) => writeln!(text, "# module = {{ path = \"kernel\", filesystem = \"myfs\" }}"),
    };
    text.push_str(
        "\n# A benchmark whose claims are checked; by default the reference's.\n\
         # benchmark = \"python3 bench.py {mountpoint}\"\n\n\
         [mount]\n\
         # How the daemon is mounted. {options} is -o and what a trial asks for (size=64M), or nothing;\n\
         # leave it out where the daemon takes none, and only the trials of small mounts are red.\n",
    );
    let usual = ["{program}", "{options}", "{mountpoint}"].map(str::to_owned);
    let _ = match (fuse, mount) {
        (Some(_), Some(words)) => writeln!(text, "fuse = {}", written(words)),
        (Some(_), None) => writeln!(text, "fuse = {}", written(&usual)),
        (None, _) => writeln!(text, "# fuse = {}", written(&usual)),
    };
    text.push_str(
        "# How the module's file system is mounted; by default by mount(2).\n\
         # module = \"mount -t myfs {options} none {mountpoint}\"\n",
    );
    text
}
