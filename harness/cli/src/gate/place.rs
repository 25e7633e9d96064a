//! Where an installed module lies, and how it gets there in one step.
//!
//! `lib/modules/RELEASE/updates/vexfs-gate/` holds the module, its attestation, the key that the
//! attestation was checked with and, for a module that has passed in the VM only, the notice that
//! each load prints. depmod(8) searches `updates` first, so no other module of that name is loaded
//! in its place, and a kernel package removes only its own files there.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evidence::exit;
use machine::child::Running;
use machine::programs::on_path;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tempfile::{Builder, TempDir};

use crate::stop::Stop;
use machine::atomic::{remove_if_there, sync_directory, write, write_new};

/// The directory of the installed module.
pub(super) const HOME: &str = "updates/vexfs-gate";
/// The attestation's file name in it.
pub(super) const ATTESTATION: &str = "attestation.intoto.json";
/// The public key's file name in it.
pub(super) const KEY: &str = "key.pub";
/// The file with the notice that each load prints; only for a module that has passed in the VM
/// only.
pub(super) const NOTICE: &str = "load-notice";
/// Prefix of the files in modprobe.d that the gate writes.
const SNIPPET: &str = "vexfs-gate-";
/// Prefix of unfinished directories, which depmod ignores.
const UNFINISHED: &str = ".vexfs-gate-";
/// Limit for depmod(8), which reads every module of a kernel.
const DEPMOD_LIMIT: Duration = Duration::from_secs(300);

/// A root directory with kernels in it.
pub(super) struct Root {
    path: PathBuf,
    /// Makes what was renamed in a directory last; tests let it fail.
    sync: fn(&Path) -> io::Result<()>,
}

/// The files to install.
pub(super) struct Parcel<'a> {
    /// Name of the module's file.
    pub(super) file: &'a str,
    /// Name of the module.
    pub(super) name: &'a str,
    pub(super) module: &'a [u8],
    pub(super) attestation: &'a [u8],
    pub(super) key: &'a str,
    pub(super) notice: Option<&'a str>,
}

impl Root {
    pub(super) fn new(root: &Path) -> Root {
        Root { path: root.to_owned(), sync: sync_directory }
    }

    /// `lib/modules`.
    pub(super) fn kernels(&self) -> PathBuf {
        self.path.join("lib/modules")
    }

    /// The directory of a kernel's modules.
    pub(super) fn modules(&self, release: &str) -> PathBuf {
        self.kernels().join(release)
    }

    /// The directory of the module installed for a kernel.
    pub(super) fn home(&self, release: &str) -> PathBuf {
        self.modules(release).join(HOME)
    }

    /// The directory of modprobe(8)'s configuration.
    pub(super) fn modprobe_d(&self) -> PathBuf {
        self.path.join("etc/modprobe.d")
    }

    /// The file that tells modprobe(8) what to do instead of just loading the module `name`.
    pub(super) fn modprobe_snippet(&self, name: &str) -> PathBuf {
        self.modprobe_d().join(format!("{SNIPPET}{name}.conf"))
    }

    /// The module of a snippet with this file name; `None` if the gate did not write such a file.
    pub(super) fn module_of_snippet(file: &str) -> Option<&str> {
        file.strip_prefix(SNIPPET)?.strip_suffix(".conf")
    }

    /// Makes what was renamed in `directory` last.
    pub(super) fn sync(&self, directory: &Path) -> io::Result<()> {
        (self.sync)(directory)
    }

    /// Installs `parcel` for `release` in one step, in place of an earlier one. If that fails,
    /// everything stays as it was, or the message says what could not be taken back. Returns a note
    /// for the user, if there is one.
    pub(super) fn put(&self, release: &str, parcel: &Parcel<'_>) -> Result<Option<String>, Stop> {
        let refused = |error: io::Error| {
            format!(
                "{}: {error}; run it as root, or with --root and a directory that can be written",
                self.modules(release).display()
            )
        };
        let failed =
            |why: String| Stop::new(exit::EVIDENCE, format!("nothing is installed: {why}"));
        let stopped = |error| failed(refused(error));
        let _lock = self.lock().map_err(stopped)?;
        let stage = self.stage(parcel).map_err(stopped)?;
        let snippet = self.modprobe_snippet(parcel.name);
        let undo_snippet = match parcel.notice {
            Some(_) => self.add_snippet(&snippet, parcel.name).map_err(stopped)?,
            None => false,
        };
        let home = self.home(release);
        let (why, undone) = match Swap::done(stage, home.clone()) {
            Err(error) => (refused(error), Ok(())),
            Ok(swap) => {
                let lasting = swap.lasts(self.sync).map_err(refused);
                match lasting.and_then(|()| self.depmod(release)) {
                    Ok(note) => return Ok(note),
                    Err(why) => (why, swap.undo()),
                }
            }
        };
        if let Err(error) = undone {
            // The new module may be loaded, so its snippet stays.
            return Err(Stop::new(
                exit::EVIDENCE,
                format!(
                    "the new module in {} is only partly installed ({why}) and could not be taken \
                     back ({error}); install it again, or run: vexfs-validate gate remove --kernel \
                     {release}",
                    home.display()
                ),
            ));
        }
        if undo_snippet {
            // Best effort: the snippet does nothing without a notice.
            let _ = remove_if_there(&snippet);
        }
        Err(failed(why))
    }

    /// Waits until no other installation or removal runs, and removes what a killed one has left.
    /// Closing the file releases the lock.
    pub(super) fn lock(&self) -> io::Result<File> {
        let kernels = File::open(self.kernels())?;
        kernels.lock()?;
        self.remove_unfinished()?;
        Ok(kernels)
    }

    /// Removes what a killed installation or removal has left.
    fn remove_unfinished(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.kernels())? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// A new directory on the kernels' own file system, where nobody looks for modules.
    pub(super) fn unfinished(&self) -> io::Result<TempDir> {
        Builder::new().prefix(UNFINISHED).tempdir_in(self.kernels())
    }

    /// Writes the new directory to the disk.
    fn stage(&self, parcel: &Parcel<'_>) -> io::Result<TempDir> {
        let stage = self.unfinished()?;
        let at = |name: &str| stage.path().join(name);
        write_new(&at(parcel.file), parcel.module)?;
        write_new(&at(ATTESTATION), parcel.attestation)?;
        write_new(&at(KEY), parcel.key.as_bytes())?;
        if let Some(notice) = parcel.notice {
            write_new(&at(NOTICE), format!("{notice}\n").as_bytes())?;
        }
        fs::set_permissions(stage.path(), Permissions::from_mode(0o755))?;
        sync_directory(stage.path())?;
        Ok(stage)
    }

    /// Writes the snippet. Returns whether it is new.
    fn add_snippet(&self, path: &Path, name: &str) -> io::Result<bool> {
        let is_new = !path.exists();
        fs::create_dir_all(machine::atomic::parent(path))?;
        write(path, snippet(name).as_bytes())?;
        Ok(is_new)
    }

    /// Runs depmod(8), so that modprobe(8) learns of the change. Returns a note if there is no
    /// depmod.
    pub(super) fn depmod(&self, release: &str) -> Result<Option<String>, String> {
        let beside_path = || Some(PathBuf::from("/usr/sbin/depmod")).filter(|path| path.is_file());
        let Some(depmod) = on_path("depmod").or_else(beside_path) else {
            return Ok(Some(format!(
                "depmod is not there, so modprobe does not know of it yet; install kmod, and run: \
                 depmod {release}"
            )));
        };
        let mut command = Command::new(depmod);
        if self.path != Path::new("/") {
            command.arg("-b").arg(&self.path);
        }
        let done = Running::start(command.arg(release))
            .and_then(|running| running.finish(DEPMOD_LIMIT)?.must_succeed("depmod"));
        done.map(|()| None).map_err(|failure| format!("depmod: {failure}"))
    }
}

/// modprobe(8)'s configuration for a module that has passed in the VM only. It runs at each load,
/// also when mount(2) asks the kernel for the file system, and finds out for the running kernel
/// whether there is a notice to print. insmod(8) ignores it.
fn snippet(name: &str) -> String {
    format!(
        "# By vexfs-validate gate install --level vm: where {name} has passed in the VM only, each\n\
         # load says so in the kernel's log.\n\
         install {name} {{ IFS= read -r notice < \"/lib/modules/$(uname -r)/{HOME}/{NOTICE}\" && \
         echo \"$notice\" > /dev/kmsg; }} 2> /dev/null; exec modprobe --ignore-install {name} \
         $CMDLINE_OPTS\n"
    )
}

/// A new directory that has taken the place of the old one.
struct Swap {
    /// The old directory, or a name that does not exist.
    before: TempDir,
    home: PathBuf,
    replaced: bool,
}

impl Swap {
    fn done(stage: TempDir, home: PathBuf) -> io::Result<Swap> {
        let parent = machine::atomic::parent(&home);
        fs::create_dir_all(parent)?;
        let replaced = home.exists();
        exchange(stage.path(), &home, replaced)?;
        Ok(Swap { before: stage, home, replaced })
    }

    /// Makes the swap last, even after a power cut.
    fn lasts(&self, sync: fn(&Path) -> io::Result<()>) -> io::Result<()> {
        sync(machine::atomic::parent(&self.home))?;
        sync(machine::atomic::parent(self.before.path()))
    }

    /// Puts the old directory back.
    fn undo(self) -> io::Result<()> {
        exchange(&self.home, self.before.path(), self.replaced)?;
        // Best effort: this matters only after a power cut.
        let _ = sync_directory(machine::atomic::parent(&self.home));
        Ok(())
    }
}

/// Renames a directory to a free name, or swaps two directories if `both` exist.
fn exchange(from: &Path, to: &Path, both: bool) -> io::Result<()> {
    let flags = if both { RenameFlags::RENAME_EXCHANGE } else { RenameFlags::RENAME_NOREPLACE };
    Ok(renameat2(AT_FDCWD, from, AT_FDCWD, to, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("lib/modules/6.12")).unwrap();
        let root = Root::new(dir.path());
        (dir, root)
    }

    fn parcel(module: &[u8]) -> Parcel<'_> {
        Parcel {
            file: "vexfs.ko",
            name: "vexfs",
            module,
            attestation: b"{}",
            key: "key",
            notice: Some("vexfs: in the VM only"),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_installation_is_complete_and_replaces_an_earlier_one() {
        let (_dir, root) = root();
        fs::create_dir(root.kernels().join(".vexfs-gate-killed")).unwrap();
        root.put("6.12", &parcel(b"one")).unwrap();
        root.put("6.12", &Parcel { notice: None, ..parcel(b"two") }).unwrap();
        let home = root.home("6.12");
        assert_eq!(names(&home), [ATTESTATION, KEY, "vexfs.ko"]);
        assert_eq!(fs::read(home.join("vexfs.ko")).unwrap(), b"two");
        assert_eq!(fs::metadata(&home).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(names(&root.kernels()), ["6.12"]);
    }

    #[test]
    fn a_failed_installation_leaves_nothing() {
        let (_dir, root) = root();
        // A file in the place of the directory.
        fs::write(root.modules("6.12").join("updates"), "").unwrap();
        let stop = root.put("6.12", &parcel(b"one")).unwrap_err();
        assert!(stop.message.contains("nothing is installed"), "{}", stop.message);
        assert_eq!(names(&root.kernels()), ["6.12"]);
        assert_eq!(names(&root.modules("6.12")), ["updates"]);
        assert!(!root.modprobe_snippet("vexfs").exists());
    }

    fn disk_is_full() -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    }

    /// The rename is done when one of these fails.
    const FAILING: [fn(&Path) -> io::Result<()>; 2] = [
        |directory| if directory.ends_with("updates") { disk_is_full() } else { Ok(()) },
        |directory| if directory.ends_with("modules") { disk_is_full() } else { Ok(()) },
    ];

    #[test]
    fn a_module_that_may_not_last_is_taken_back() {
        for sync in FAILING {
            let (_dir, mut root) = root();
            let home = root.home("6.12");
            let mut put = |module, sync| {
                root.sync = sync;
                root.put("6.12", &parcel(module)).map_err(|stop| stop.message)
            };
            let message = put(b"one", sync).unwrap_err();
            assert!(message.contains("nothing is installed"), "{message}");
            assert!(!home.exists(), "nothing is");
            put(b"one", sync_directory).unwrap();
            let message = put(b"two", sync).unwrap_err();
            assert!(message.contains("nothing is installed"), "{message}");
            assert_eq!(fs::read(home.join("vexfs.ko")).unwrap(), b"one");
            assert!(root.modprobe_snippet("vexfs").exists(), "the old one needs it");
            assert_eq!(names(&root.kernels()), ["6.12"]);
        }
    }

    #[test]
    fn a_failed_undo_is_reported_and_keeps_its_snippet() {
        let (_dir, mut root) = root();
        // Somebody removes the stage's name from under it: renaming back finds no place.
        root.sync = |directory| {
            let kernels = directory.parent().and_then(Path::parent).unwrap_or(directory);
            for entry in fs::read_dir(kernels)? {
                let path = entry?.path();
                if path.to_string_lossy().contains(UNFINISHED) {
                    fs::remove_dir_all(path)?;
                }
            }
            disk_is_full()
        };
        root.put("6.12", &Parcel { notice: None, ..parcel(b"one") }).unwrap_err();
        let first = Root::new(&root.path);
        first.put("6.12", &Parcel { notice: None, ..parcel(b"one") }).unwrap();
        let message = root.put("6.12", &parcel(b"two")).unwrap_err().message;
        assert!(message.contains("could not be taken back"), "{message}");
        assert_eq!(fs::read(root.home("6.12").join("vexfs.ko")).unwrap(), b"two");
        assert!(root.home("6.12").join(NOTICE).exists());
        assert!(root.modprobe_snippet("vexfs").exists());
    }

    #[test]
    fn what_was_there_comes_back() {
        let (_dir, root) = root();
        let home = root.home("6.12");
        let swap = Swap::done(root.stage(&parcel(b"one")).unwrap(), home.clone()).unwrap();
        drop(swap);
        let swap = Swap::done(root.stage(&parcel(b"two")).unwrap(), home.clone()).unwrap();
        assert_eq!(fs::read(home.join("vexfs.ko")).unwrap(), b"two");
        swap.undo().unwrap();
        assert_eq!(fs::read(home.join("vexfs.ko")).unwrap(), b"one");
        assert_eq!(names(&root.kernels()), ["6.12"]);
        fs::remove_dir_all(&home).unwrap();
        Swap::done(root.stage(&parcel(b"three")).unwrap(), home.clone()).unwrap().undo().unwrap();
        assert!(!home.exists());
        assert_eq!(names(&root.kernels()), ["6.12"]);
    }
}
