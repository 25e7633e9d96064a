//! The text of a `vexfs.toml`.

use std::fmt::Write;

use machine::config::{quoted, written};

use super::settled::Settled;

/// The file's text, with comments for whoever edits it later.
pub(super) fn text(settled: &Settled) -> String {
    let Settled { fuse, mount, module, filesystem, .. } = settled;
    let mut text = String::from(
        "# The VexFS that is tested in place of the reference; docs/own-vexfs.md describes all settings.\n\
         # Commands are split at blanks, without a shell, and run in this file's directory; paths are\n\
         # relative to it.\n\n\
         # The FUSE daemon: a program and its arguments, or the directory of its cargo package. It must stay\n\
         # in the foreground (-f if libfuse parses the arguments). A bare python3 may be the checkout's own.\n",
    );
    let _ = match fuse {
        Some(words) => writeln!(text, "fuse = {}", written(words)),
        None => writeln!(text, "# fuse = \"build/my_vexfs -f\""),
    };
    text.push_str(
        "\n# The kernel module: its file, built for the guest's kernel, or the directory of its sources. Its\n\
         # file system has the module's name, unless filesystem gives another.\n",
    );
    let _ = match (module, filesystem) {
        (Some(path), None) => writeln!(text, "module = {}", quoted(path)),
        (Some(path), Some(name)) => {
            writeln!(text, "module = {{ path = {}, filesystem = {} }}", quoted(path), quoted(name))
        }
        (None, _) => writeln!(text, "# module = {{ path = \"kernel\", filesystem = \"myfs\" }}"),
    };
    text.push_str(
        "\n# The benchmark whose claims are checked; without this line, the reference's.\n\
         # benchmark = \"python3 bench.py {mountpoint}\"\n\n\
         [mount]\n\
         # The command that mounts the daemon. {options} becomes -o and what a trial asks for (size=64M),\n\
         # or nothing. Leave it out if the daemon takes no options; only the trials of small mounts fail then.\n",
    );
    let usual = ["{program}", "{options}", "{mountpoint}"].map(str::to_owned);
    let _ = match (fuse, mount) {
        (Some(_), Some(words)) => writeln!(text, "fuse = {}", written(words)),
        (Some(_), None) => writeln!(text, "fuse = {}", written(&usual)),
        (None, _) => writeln!(text, "# fuse = {}", written(&usual)),
    };
    text.push_str(
        "# The command that mounts the module's file system; without this line, mount(2).\n\
         # module = \"mount -t myfs {options} none {mountpoint}\"\n",
    );
    text
}
