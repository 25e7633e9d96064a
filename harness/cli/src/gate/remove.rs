//! `vexfs-validate gate remove`: takes a module out of `/lib/modules`, so that FUSE serves.
//!
//! An installation that fails is undone. A removal is not: as soon as the directory has its new
//! name, neither modprobe(8) nor `mount.vexfs` finds the module, and this is what the user wants.
//! What could not be done after that is an error, and the same command does it later.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use evidence::exit;
use machine::atomic::{parent, remove_if_there};
use machine::project;

use super::Remove;
use super::install::must_be_a_release;
use super::place::{HOME, NOTICE, Root};
use super::status::{kernels, others};
use crate::output::outln;
use crate::stop::Stop;

/// What a removal has removed.
#[derive(Debug, Default)]
struct Removed {
    /// Whether there was a directory of an installed module.
    was_there: bool,
    /// The names of the files that lay in it.
    files: Vec<OsString>,
    /// The snippets of modprobe(8)'s configuration that no module needs any more.
    snippets: Vec<PathBuf>,
    /// A note for the user.
    note: Option<String>,
}

pub(super) fn remove(options: &Remove) -> Result<ExitCode, Stop> {
    let release = &options.kernel;
    must_be_a_release(release)?;
    let root = Root::new(&options.root);
    let removed = root.take_out(release)?;
    if removed.was_there {
        let files: Vec<_> = removed.files.iter().map(|file| file.to_string_lossy()).collect();
        outln!("removed {}: {}", root.home(release).display(), files.join(", "));
    } else {
        outln!("no module of the gate is installed for kernel {release}");
    }
    for snippet in &removed.snippets {
        outln!("removed {}", snippet.display());
    }
    if let Some(note) = &removed.note {
        outln!("{note}");
    }
    for other in others(&root.modules(release), "vexfs") {
        outln!("{other} has not passed the gate, and modprobe may load it; remove it");
    }
    if options.root == Path::new("/") && *release == project::running_kernel() {
        for name in removed.files.iter().filter_map(|file| module_name(file.as_ref())) {
            if Path::new("/sys/module").join(&name).is_dir() {
                outln!("{name} is still loaded; unmount what it serves, and run: rmmod {name}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Root {
    /// Takes the module of `release` out, if there is one, and removes the snippets that no
    /// installed module needs.
    fn take_out(&self, release: &str) -> Result<Removed, Stop> {
        let home = self.home(release);
        let untouched = |error: io::Error| {
            Stop::new(
                exit::EVIDENCE,
                format!(
                    "nothing is removed: {}: {error}; run it as root, or with --root and a \
                     directory that can be written",
                    home.display()
                ),
            )
        };
        let _lock = self.lock().map_err(untouched)?;
        let apart = self.unfinished().map_err(untouched)?;
        let out = apart.path().join("removed");
        let was_there = match fs::rename(&home, &out) {
            Ok(()) => true,
            Err(error) if is_not_there(&error) => false,
            Err(error) => return Err(untouched(error)),
        };
        let unfinished = |why: String| {
            Stop::new(
                exit::EVIDENCE,
                format!(
                    "kernel {release} has no module of the gate any more, but {why}; finish it \
                     with: vexfs-validate gate remove --kernel {release}"
                ),
            )
        };
        let or_unfinished = |error: io::Error| unfinished(error.to_string());
        if was_there {
            self.sync(parent(&home)).map_err(or_unfinished)?;
        }
        let files = names_in(&out).map_err(or_unfinished)?;
        let snippets = self.remove_unneeded_snippets().map_err(or_unfinished)?;
        let note = if self.is_indexed(release, was_there) {
            self.depmod(release).map_err(unfinished)?
        } else {
            None
        };
        apart.close().map_err(or_unfinished)?;
        if was_there {
            // Both fail if something else is in them. The kernel's own directory is empty if its
            // package was removed before the module.
            let _ =
                fs::remove_dir(parent(&home)).and_then(|()| fs::remove_dir(self.modules(release)));
        }
        Ok(Removed { was_there, files, snippets, note })
    }

    /// Whether modprobe(8)'s index of `release` may name the module of the gate. Without an index
    /// modprobe finds no module at all, and depmod(8) would make one for a kernel that is gone.
    fn is_indexed(&self, release: &str, was_there: bool) -> bool {
        let index = fs::read_to_string(self.modules(release).join("modules.dep"));
        index.is_ok_and(|index| was_there || index.lines().any(|line| line.starts_with(HOME)))
    }

    /// Removes the snippets of modules that are installed for no kernel as passed in the VM only.
    fn remove_unneeded_snippets(&self) -> io::Result<Vec<PathBuf>> {
        let mut needed = BTreeSet::new();
        for release in kernels(&self.kernels())? {
            let home = self.home(&release);
            if home.join(NOTICE).exists() {
                needed
                    .extend(names_in(&home)?.iter().filter_map(|file| module_name(file.as_ref())));
            }
        }
        let mut removed = Vec::new();
        for file in names_in(&self.modprobe_d())? {
            let name = file.to_str().and_then(Root::module_of_snippet);
            if name.is_some_and(|name| !needed.contains(name)) {
                let snippet = self.modprobe_d().join(file);
                remove_if_there(&snippet)?;
                removed.push(snippet);
            }
        }
        Ok(removed)
    }
}

/// The name of the module in `file`; `None` if this is no module.
fn module_name(file: &Path) -> Option<String> {
    let is_module = file.extension().is_some_and(|extension| extension == "ko");
    is_module.then(|| file.file_stem().unwrap_or_default().to_string_lossy().replace('-', "_"))
}

/// The sorted names of what is in `directory`; none if there is no such directory.
fn names_in(directory: &Path) -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if is_not_there(&error) => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names =
        entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()?;
    names.sort();
    Ok(names)
}

fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const KERNELS: [&str; 2] = ["6.1", "6.12"];

    /// A root with two kernels, each with a module that has passed in the VM only.
    fn root() -> (TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        fs::create_dir_all(root.modprobe_d()).unwrap();
        fs::write(root.modprobe_snippet("vexfs"), "install vexfs").unwrap();
        fs::write(root.modprobe_d().join("other.conf"), "").unwrap();
        for release in KERNELS {
            fs::create_dir_all(root.home(release)).unwrap();
            fs::create_dir_all(root.modules(release).join("kernel")).unwrap();
            for file in ["vexfs.ko", NOTICE] {
                fs::write(root.home(release).join(file), "").unwrap();
            }
        }
        (dir, root)
    }

    #[test]
    fn the_last_module_takes_the_snippet_with_it() {
        let (_dir, root) = root();
        let snippet = root.modprobe_snippet("vexfs");
        let removed = root.take_out("6.1").unwrap();
        assert_eq!(removed.files, [NOTICE, "vexfs.ko"]);
        assert!(removed.snippets.is_empty() && snippet.exists(), "6.12 needs it");
        assert!(!root.home("6.1").exists() && root.home("6.12").exists());
        let removed = root.take_out("6.12").unwrap();
        assert_eq!(removed.snippets, std::slice::from_ref(&snippet));
        assert_eq!(names_in(&root.modprobe_d()).unwrap(), ["other.conf"]);
        assert_eq!(names_in(&root.kernels()).unwrap(), KERNELS);
        assert_eq!(names_in(&root.modules("6.12")).unwrap(), ["kernel"]);
    }

    #[test]
    fn what_a_killed_removal_has_left_the_next_removes() {
        let (_dir, root) = root();
        for release in KERNELS {
            fs::remove_dir_all(root.home(release)).unwrap();
        }
        fs::create_dir(root.kernels().join(".vexfs-gate-killed")).unwrap();
        let removed = root.take_out("6.12").unwrap();
        assert!(!removed.was_there && removed.snippets == [root.modprobe_snippet("vexfs")]);
        assert_eq!(names_in(&root.kernels()).unwrap(), KERNELS);
    }

    #[test]
    fn a_kernel_whose_package_is_gone_leaves_nothing() {
        let (_dir, root) = root();
        fs::remove_dir(root.modules("6.1").join("kernel")).unwrap();
        root.take_out("6.1").unwrap();
        assert_eq!(names_in(&root.kernels()).unwrap(), ["6.12"]);
        let removed = root.take_out("6.1").unwrap();
        assert!(!removed.was_there);
        assert_eq!(names_in(&root.kernels()).unwrap(), ["6.12"]);
    }

    #[test]
    fn something_else_in_the_place_is_removed_as_well() {
        let (_dir, root) = root();
        fs::remove_dir_all(root.home("6.1")).unwrap();
        fs::write(root.home("6.1"), "").unwrap();
        assert!(root.take_out("6.1").unwrap().was_there);
        assert!(!root.home("6.1").exists());
    }

    #[test]
    fn an_unfinished_removal_is_reported_and_the_module_is_out() {
        let (_dir, root) = root();
        // A directory in the place of the snippet, for which no module is needed any more.
        root.take_out("6.1").unwrap();
        fs::remove_file(root.modprobe_snippet("vexfs")).unwrap();
        fs::create_dir(root.modprobe_snippet("vexfs")).unwrap();
        let message = root.take_out("6.12").unwrap_err().message;
        for words in ["kernel 6.12 has no module", "vexfs-validate gate remove --kernel 6.12"] {
            assert!(message.contains(words), "{message}");
        }
        assert!(!root.home("6.12").exists());
        assert_eq!(names_in(&root.kernels()).unwrap(), KERNELS);
        fs::remove_dir(root.modprobe_snippet("vexfs")).unwrap();
        root.take_out("6.12").unwrap();
    }

    #[test]
    fn only_an_index_that_may_name_the_module_is_made_anew() {
        let (_dir, root) = root();
        assert!(!root.is_indexed("6.12", true), "there is none");
        let index = root.modules("6.12").join("modules.dep");
        fs::write(&index, "kernel/fs/fuse.ko:\n").unwrap();
        assert!(root.is_indexed("6.12", true) && !root.is_indexed("6.12", false));
        fs::write(&index, "kernel/fs/fuse.ko:\nupdates/vexfs-gate/vexfs.ko:\n").unwrap();
        assert!(root.is_indexed("6.12", false));
    }
}
