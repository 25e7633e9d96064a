//! The module, mounted by a command of `vexfs.toml` in place of mount(2).
//!
//! The trials read `vexfs.toml` once for each process. So this trial writes one of its own, with the
//! line that docs/own-vexfs.md shows, and mounts in a process that reads it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use homes::is_own;
use homes::kernel::{KernelMount, ModuleFile, mounts_by_command, names};
use machine::config::{self, Module};
use machine::failure::Failure;
use machine::{part, require};
use nix::sys::statvfs::statvfs;
use serde_json::json;
use vexfs_uapi::Home;

use crate::module::refuse_unknown_options;
use crate::trial::Context;
use crate::watched::use_what_there_is;

/// The name of the part that mounts.
pub(crate) const PART: &str = "mounted by a command";

/// The limit for the part, on an emulated CPU.
const LIMIT: Duration = Duration::from_secs(60);

const SIZE: u64 = 8 << 20;

pub(super) fn mounts(context: &Context) -> Result<(), Failure> {
    let mut command = part::command(PART, &())?;
    let directory = tempfile::tempdir()?;
    let config = config::current()?;
    // The author of another module may mount it by a command already.
    if config.mount.module.is_none() {
        let path = directory.path().join("vexfs.toml");
        let written = configuration(config.module.as_ref(), &names().file_system);
        fs::write(&path, &written)?;
        context.fact("vexfs.toml", &written)?;
        command.env(config::VARIABLE, &path);
    }
    let answered: part::Answered<Option<Failure>> = part::ask(command, LIMIT)?;
    answered.answer.map_or(Ok(()), Err)
}

/// The `module`, mounted by the line of docs/own-vexfs.md. Its path is absolute, and what JSON quotes
/// is quoted for TOML.
fn configuration(module: Option<&Module>, file_system: &str) -> String {
    let module = module.map_or_else(String::new, |module| {
        let optional = |key: &str, value: &Option<String>| {
            value.as_ref().map_or_else(String::new, |value| format!(", {key} = {}", json!(value)))
        };
        format!(
            "module = {{ path = {}{}{} }}\n",
            json!(module.path),
            optional("name", &module.name),
            optional("filesystem", &module.filesystem)
        )
    });
    format!(
        "{module}\n[mount]\nmodule = \"mount -t {file_system} {{options}} none {{mountpoint}}\"\n"
    )
}

/// Mounts with the command of the configuration, and uses what is mounted.
///
/// # Errors
/// If nobody asked for an answer. A failure to mount is the answer.
pub(crate) fn play(_: &str) -> Result<(), Failure> {
    part::answer(&mounts_and_is_used().err())
}

fn mounts_and_is_used() -> Result<(), Failure> {
    require!(mounts_by_command()?, "no command of vexfs.toml mounts");
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new(&format!("size={SIZE}"))?;
    let used = is_as_mounted(mount.path());
    mount.unmount()?;
    used?;
    refuse_unknown_options()?;
    loaded.unload()
}

fn is_as_mounted(mount: &Path) -> Result<(), Failure> {
    let stat = statvfs(mount)?;
    let size = stat.blocks().saturating_mul(stat.fragment_size());
    // Another module may take no options, which its trials of limits tell.
    let as_asked = size == SIZE || is_own(Home::Kernel)?;
    require!(as_asked, "size={SIZE} did not reach the mount, which has {size} bytes");
    use_what_there_is(mount).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_stays_and_the_line_of_the_page_mounts_it() {
        let line = "module = \"mount -t myfs {options} none {mountpoint}\"\n";
        let page = fs::read_to_string(machine::project::root().join("docs/own-vexfs.md")).unwrap();
        assert!(page.contains(line));
        assert_eq!(configuration(None, "myfs"), format!("\n[mount]\n{line}"));
        let module =
            Module { path: "/dev/null".into(), name: None, filesystem: Some("myfs".to_owned()) };
        let written = configuration(Some(&module), "myfs");
        let read = config::parse(&written, Path::new("/vexfs.toml")).unwrap();
        assert_eq!(read.module, Some(module));
        assert!(read.mount.module.unwrap().mentions("options"));
    }
}
