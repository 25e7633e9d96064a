//! The table of operations on the kernel's own file systems: what they do not do is asked by the
//! contract, in so many words, or by nobody. A trial that tmpfs or ext4 fails accuses the healthy.
//!
//! Each is an image or a mount of its own for each operation. All are tried by root alone, who
//! may mount them: in a user namespace nobody may chown or make devices, as operations do. xfs and
//! btrfs are tried where their mkfs is, as in
//! `vexfs-validate guest -- cargo nextest run --profile vm -E 'binary(kernel_file_systems)'`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use homes::filesystem::contract::ASKS;
use homes::filesystem::{Need, all_operations, apart, stores};
use libtest_mimic::{Arguments, Trial};
use machine::failure::{Failure, WithContext};
use machine::mount::{is_mounted, unmount, unmount_by_force};
use machine::part;
use machine::programs::on_path;
use nix::errno::Errno;
use nix::unistd::geteuid;
use tempfile::TempDir;

/// For one operation, on a machine that does other things.
const LIMIT: Duration = Duration::from_secs(300);

/// A file system of the kernel's.
struct FileSystemKind {
    name: &'static str,
    /// What makes one in a file, before the file's name; none where mount(8) alone does.
    make: &'static [&'static str],
    /// Its option for a number of inodes, where it has to be told.
    inodes: Option<&'static str>,
    /// The smallest that it makes, bytes.
    least: u64,
}

const KINDS: &[FileSystemKind] = &[
    FileSystemKind { name: "tmpfs", make: &[], inodes: None, least: 0 },
    FileSystemKind {
        name: "ext4",
        make: &["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-O", "^has_journal"],
        inodes: Some("-N"),
        least: 1 << 20,
    },
    FileSystemKind { name: "xfs", make: &["mkfs.xfs", "-q"], inodes: None, least: 320 << 20 },
    FileSystemKind { name: "btrfs", make: &["mkfs.btrfs", "-q"], inodes: None, least: 128 << 20 },
];

fn main() -> ExitCode {
    if let Some(done) = part::main(&[(apart::PART, apart::play), (stores::PART, stores::play)]) {
        return done;
    }
    let arguments = Arguments::from_args();
    let root = geteuid().is_root();
    if root && !arguments.list && !Path::new("/sys/module/loop").exists() {
        // mount -o loop does not load it; a kernel that has none says so when it mounts.
        let _ = Command::new("modprobe").arg("loop").status();
    }
    let trials = KINDS.iter().map(|kind| {
        let there = kind.make.first().is_none_or(|program| on_path(program).is_some());
        let runs = root && there;
        Trial::test(kind.name, move || {
            passes(kind, root).map_err(|failure| failure.to_string().into())
        })
        .with_ignored_flag(!runs)
    });
    let trials = trials.collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Every operation passes on the file system, but for those that the contract alone asks for.
fn passes(kind: &FileSystemKind, root: bool) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for operation in all_operations() {
        let as_root = operation.needs.contains(&Need::Root);
        if operation.needs.contains(&Need::Vexctl) || as_root && !root {
            continue;
        }
        tried += 1;
        let mounted = MountedFileSystem::new(kind, operation.options).context(operation.name)?;
        let outcome = operation.run_apart(&mounted.mountpoint, LIMIT);
        mounted.unmount()?;
        match outcome {
            Ok(()) => {}
            // It got as far as a request of the contract's.
            Err(failure) if failure.errno() == Some(Errno::ENOTTY) => {}
            // A step of it, or the whole of it, is what the contract alone asks, and the message says so.
            Err(failure) if failure.to_string().contains(ASKS) => println!("{failure}"),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    machine::require!(tried > 50, "{tried} operations are few");
    machine::require!(wrong.is_empty(), "{} fails:\n{}", kind.name, wrong.join("\n"));
    Ok(())
}

/// One of them, mounted; taken down on every path.
struct MountedFileSystem {
    mountpoint: PathBuf,
    _directory: TempDir,
}

impl MountedFileSystem {
    fn new(kind: &FileSystemKind, options: &str) -> Result<MountedFileSystem, Failure> {
        let directory = tempfile::Builder::new().prefix("vexfs-kernel-").tempdir()?;
        let mountpoint = directory.path().join("mnt");
        fs::create_dir(&mountpoint)?;
        let image = directory.path().join("image");
        if !kind.make.is_empty() {
            make(kind, &image, options)?;
        }
        let mut mount = Command::new("mount");
        match kind.make.is_empty() {
            true => mount.args(["-t", kind.name, "-o", options, "none"]),
            false => mount.args(["-t", kind.name, "-o", "loop"]).arg(&image),
        };
        let mounted = MountedFileSystem { mountpoint, _directory: directory };
        run(mount.arg(&mounted.mountpoint))?;
        Ok(mounted)
    }

    fn unmount(&self) -> Result<(), Failure> {
        unmount(&self.mountpoint)
    }
}

impl Drop for MountedFileSystem {
    fn drop(&mut self) {
        if is_mounted(&self.mountpoint).unwrap_or(true) {
            let _ = unmount_by_force(&self.mountpoint);
        }
    }
}

/// Makes a file system of the size that `options` ask for, or the smallest.
fn make(kind: &FileSystemKind, image: &Path, options: &str) -> Result<(), Failure> {
    let value = |name: &str| options.split(',').find_map(|option| option.strip_prefix(name));
    let size = value("size=").unwrap_or("256M");
    let unit = if size.ends_with('K') { 10 } else { 20 };
    let size: u64 = size.trim_end_matches(['K', 'M']).parse().context("size=")?;
    let size = (size << unit).max(kind.least);
    File::create(image)?.set_len(size)?;
    let mut command = Command::new(kind.make[0]);
    command.args(&kind.make[1..]);
    if let (Some(option), Some(inodes)) = (kind.inodes, value("nr_inodes=")) {
        // As many as fit beside some content, and those that it needs itself.
        let inodes: u64 = inodes.parse().context("nr_inodes=")?;
        command.args([option, &inodes.clamp(16, size >> 10).to_string()]);
    }
    run(command.arg(image))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().display().to_string();
    machine::child::Running::start(command)?.finish(LIMIT)?.must_succeed(&name)
}
