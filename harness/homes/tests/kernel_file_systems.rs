//! The table of operations on the kernel's own file systems. Anything that they do not do must be
//! required by the contract, with a message that says so, or not at all: a trial that tmpfs or ext4
//! fails accuses a healthy file system.
//!
//! For each operation, each file system gets an image or a mount of its own. Only root runs these
//! trials, because mounting needs root, and in a user namespace nobody may chown or make devices,
//! as some operations do. xfs and btrfs are tried if their mkfs is installed, as in `vexfs-validate
//! guest -- cargo nextest run --profile vm -E 'binary(kernel_file_systems)'`.

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

/// The limit for one operation, on a machine that may be busy.
const LIMIT: Duration = Duration::from_secs(300);

/// A file system of the kernel.
struct FileSystemKind {
    name: &'static str,
    /// The command that makes one in a file, without the file's name; empty if mount(8) alone is
    /// enough.
    make: &'static [&'static str],
    /// The option for the number of inodes, if it must be given.
    inodes: Option<&'static str>,
    /// The smallest size in bytes that it supports.
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
        // mount -o loop does not load the driver. A kernel that has none reports that when it
        // mounts.
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

/// Checks that every operation passes on the file system, except those that only the contract
/// requires.
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
            // It has come as far as a request of the contract.
            Err(failure) if failure.errno() == Some(Errno::ENOTTY) => {}
            // The contract alone requires a step of it, or all of it, and the message says so.
            Err(failure) if failure.to_string().contains(ASKS) => println!("{failure}"),
            Err(failure) => wrong.push(failure.to_string()),
        }
    }
    machine::require!(tried > 50, "{tried} operations are few");
    machine::require!(wrong.is_empty(), "{} fails:\n{}", kind.name, wrong.join("\n"));
    Ok(())
}

/// One of these file systems, mounted; taken down on every path.
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

/// Makes a file system of the size in `options`, or of the smallest size.
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
        // As many inodes as fit beside some content, including those that the file system itself
        // needs.
        let inodes: u64 = inodes.parse().context("nr_inodes=")?;
        command.args([option, &inodes.clamp(16, size >> 10).to_string()]);
    }
    run(command.arg(image))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let name = command.get_program().display().to_string();
    machine::child::Running::start(command)?.finish(LIMIT)?.must_succeed(&name)
}
