//! Mount points: lists what is mounted, and unmounts it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};

use crate::deadline::wait_for;
use crate::failure::{Failure, WithContext};

/// How long to retry a busy mount. A child that another thread starts inherits our descriptors, and
/// keeps the mount busy until it calls exec.
const BUSY_LIMIT: Duration = Duration::from_secs(5);

/// proc_pid_mountinfo(5) of this thread, because a thread may have a mount namespace of its own.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Whether something is mounted on `path`. This asks only the kernel and not the file system: a
/// daemon that hangs would not answer, and the mount of a dead daemon is still a mount.
pub fn is_mounted(path: &Path) -> Result<bool, Failure> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        crate::fail!("{} has no parent", path.display())
    };
    let parent = match fs::canonicalize(parent) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        parent => parent.context(path.display())?,
    };
    let at = parent.join(name);
    Ok(entries()?.iter().any(|one| one.at == at.as_os_str().as_bytes()))
}

/// A line of mountinfo: one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The device, `MAJOR:MINOR`.
    pub device: Vec<u8>,
    /// Where it is mounted.
    pub at: Vec<u8>,
    /// The file system's type, e.g. `fuse.vexfs`.
    pub kind: Vec<u8>,
}

impl Entry {
    /// Whether it is mounted on `directory` or below it.
    pub fn is_beneath(&self, directory: &Path) -> bool {
        Path::new(OsStr::from_bytes(&self.at)).starts_with(directory)
    }

    fn read(line: &[u8]) -> Option<Entry> {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = fields.nth(2)?.to_vec();
        let at = unescape(fields.nth(1)?);
        // A hyphen ends the optional fields.
        fields.find(|field| *field == b"-")?;
        Some(Entry { device, at, kind: unescape(fields.next()?) })
    }
}

/// All mounts, in the order of mounting.
pub fn entries() -> Result<Vec<Entry>, Failure> {
    let mounts = fs::read(MOUNTINFO).context(MOUNTINFO)?;
    Ok(entries_of(&mounts))
}

/// The processes in other mount namespaces that have the file system with the device `MAJOR:MINOR`,
/// one for each namespace, e.g. `217 (sh)`. A mount namespace that is made while it is mounted gets
/// a mount of it as well, which outlasts ours. Processes that cannot be looked at are left out.
#[must_use]
pub fn holders_elsewhere(device: &[u8]) -> Vec<String> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let mut seen: Vec<_> = namespace(Path::new("/proc/thread-self")).into_iter().collect();
    let mut holders = Vec::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        let Some(other) = namespace(&path).filter(|other| !seen.contains(other)) else { continue };
        let mounts = fs::read(path.join("mountinfo")).unwrap_or_default();
        if entries_of(&mounts).iter().any(|one| one.device == device) {
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            holders.push(format!("{} ({})", process.file_name().display(), name.trim_end()));
        }
        seen.push(other);
    }
    holders
}

fn entries_of(mountinfo: &[u8]) -> Vec<Entry> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(Entry::read).collect()
}

/// Decodes mountinfo's escapes: a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|_| first == b'\\').map(str::from_utf8);
        match digits.and_then(|digits| u8::from_str_radix(digits.ok()?, 8).ok()) {
            Some(byte) => {
                plain.push(byte);
                rest = &after[3..];
            }
            None => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

/// Calls umount2(2), without force.
///
/// # Errors
/// Its errno; EBUSY only if the mount stays busy.
pub fn unmount(path: &Path) -> Result<(), Failure> {
    let what = format!("unmounting {} (it is busy)", path.display());
    wait_for(what, BUSY_LIMIT, || match umount2(path, MntFlags::empty()) {
        Ok(()) => Ok(Some(())),
        Err(Errno::EBUSY) => Ok(None),
        Err(errno) => Err(Failure::from(errno)).context(format!("unmounting {}", path.display())),
    })
}

/// Calls umount2(2) with MNT_FORCE and MNT_DETACH: aborts requests in progress if the file system
/// can do so, and detaches the mount even if it is in use.
pub fn unmount_by_force(path: &Path) -> Result<(), Failure> {
    umount2(path, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
        .context(format!("unmounting {} by force", path.display()))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn mounts_are_distinguished_from_directories() {
        let directory = tempfile::tempdir().unwrap();
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(directory.path()).unwrap());
        assert!(!is_mounted(&directory.path().join("none/at/all")).unwrap());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/", &link).unwrap();
        assert!(is_mounted(&link.join("proc")).unwrap());
    }

    #[test]
    fn a_mount_namespace_of_another_process_holds_what_was_mounted() {
        let root = entries().unwrap().into_iter().find(|one| one.at == b"/").unwrap();
        let mut other = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "cat"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let name = format!("{} (cat)", other.id());
        let held = wait_for("the mount namespace", Duration::from_secs(60), || {
            let holders = holders_elsewhere(&root.device);
            Ok(holders.contains(&name).then_some(holders))
        });
        // The end of its input ends cat.
        drop(other.stdin.take());
        other.wait().unwrap();
        held.unwrap();
        assert!(!holders_elsewhere(&root.device).contains(&name));
    }

    #[test]
    fn names_are_compared_as_they_are() {
        let mountinfo: &[u8] = b"\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /mnt/with\\040space\\134\xff rw shared:2 master:1 - tmpfs none rw,size=1k
";
        let all = entries_of(mountinfo);
        let at: Vec<&[u8]> = all.iter().map(|one| one.at.as_slice()).collect();
        assert_eq!(at, [&b"/"[..], b"/mnt/with space\\\xff"]);
        assert_eq!(
            (all[1].device.as_slice(), all[1].kind.as_slice()),
            (&b"0:21"[..], &b"tmpfs"[..])
        );
        assert!(all[1].is_beneath(Path::new("/mnt")) && !all[1].is_beneath(Path::new("/mn")));
        assert_eq!(entries_of(b""), []);
        assert_eq!(unescape(b"\\9\\04"), b"\\9\\04");
    }
}
