//! Finds programs: by an environment variable, among the project's own tools, or on the PATH.

use std::env;
use std::path::{Path, PathBuf};

use crate::project;

/// The directories of the programs that the set-up installed.
pub fn project_directories() -> [PathBuf; 2] {
    [project::cache().join("tools/bin"), project::cache().join("venv/bin")]
}

/// Finds `program`: what `variable` names, or else as [`on_path`]. If the variable names a file
/// that does not exist there is no fallback, because the user wanted that file.
pub fn find(variable: &str, program: &str) -> Option<PathBuf> {
    match env::var_os(variable) {
        Some(named) => Some(PathBuf::from(named)).filter(|path| path.is_file()),
        None => on_path(program),
    }
}

/// The first `program` in the project's own directories and on the PATH.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    project_directories()
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// QEMU's program.
pub const QEMU: &str = "qemu-system-x86_64";

/// The path of QEMU; `VEXFS_QEMU` may name another one.
pub fn qemu() -> Option<PathBuf> {
    find("VEXFS_QEMU", QEMU)
}

/// `PATH` for the launcher's children: the project's own directories first.
pub fn search_path() -> std::ffi::OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let all = project_directories().into_iter().chain(env::split_paths(&path));
    // Joining fails only for a directory with a colon in its name, which PATH cannot hold.
    env::join_paths(all.filter(|directory| has_no_colon(directory))).unwrap_or(path)
}

fn has_no_colon(directory: &Path) -> bool {
    !directory.as_os_str().as_encoded_bytes().contains(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("VEXFS_NO_SUCH_VARIABLE", "sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(on_path("no-such-program-here"), None);
        // HOME is set, but names no file.
        assert_eq!(find("HOME", "sh"), None);
    }

    #[test]
    fn the_projects_own_programs_come_first() {
        let first = env::split_paths(&search_path()).next();
        assert_eq!(first, Some(project::cache().join("tools/bin")));
    }
}
