//! A tiny initramfs, busybox and one script, which shows whether a kernel boots at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use machine::programs;
use machine::project;

use super::error::VmError;

/// What the script prints on the console.
pub(super) const MARK: &str = "vexfs-validation: the kernel has booted";

/// Writes the initramfs to `path`.
pub(super) fn write(path: &Path) -> Result<(), VmError> {
    let script = project::root().join("fixtures/guest/probe-init.sh");
    let script = fs::read(&script)
        .map_err(VmError::system(format!("{} cannot be read; git restore it", script.display())))?;
    let busybox = busybox()?;
    let busybox = fs::read(&busybox)
        .map_err(VmError::system(format!("{} cannot be read", busybox.display())))?;
    fs::File::create(path)
        .and_then(|file| write_archive(file, &busybox, &script))
        .map_err(VmError::system(format!("{} cannot be written", path.display())))
}

fn busybox() -> Result<PathBuf, VmError> {
    programs::find("VEXFS_BUSYBOX", "busybox").ok_or_else(|| VmError::System {
        what: "busybox is missing; provide it with: make setup".to_owned(),
        source: io::Error::from(io::ErrorKind::NotFound),
    })
}

fn write_archive(to: impl Write, busybox: &[u8], script: &[u8]) -> io::Result<()> {
    const DIRECTORY: u32 = 0o040_755;
    const PROGRAM: u32 = 0o100_755;
    let mut archive = Archive { to, inode: 0 };
    archive.entry("bin", DIRECTORY, None, b"")?;
    archive.entry("bin/busybox", PROGRAM, None, busybox)?;
    archive.entry("dev", DIRECTORY, None, b"")?;
    archive.entry("dev/console", 0o020_600, Some((5, 1)), b"")?;
    archive.entry("init", PROGRAM, None, script)?;
    archive.entry("TRAILER!!!", 0, None, b"")
}

/// A cpio archive in the `newc` format, which the kernel unpacks
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
struct Archive<W> {
    to: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    fn entry(
        &mut self,
        name: &str,
        mode: u32,
        device: Option<(u32, u32)>,
        content: &[u8],
    ) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len()).map_err(io::Error::other)? + 1;
        let (major, minor) = device.unwrap_or((0, 0));
        // inode, mode, uid, gid, links, mtime, size, device, special device, name size, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        write!(self.to, "070701")?;
        for field in fields {
            write!(self.to, "{field:08x}")?;
        }
        write!(self.to, "{name}\0")?;
        self.pad(110 + name.len() + 1)?;
        self.to.write_all(content)?;
        self.pad(content.len())
    }

    /// Pads to a multiple of four bytes, both after the header with the name and after the content.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.to.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn cpio_reads_the_archive() {
        let mut archive = Vec::new();
        write_archive(&mut archive, b"not really busybox", b"#!/bin/busybox sh\n").unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("archive");
        fs::write(&path, &archive).unwrap();
        let output = Command::new("busybox")
            .args(["cpio", "-t"])
            .stdin(fs::File::open(&path).unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let names = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{names}");
        let names: Vec<&str> = names.lines().collect();
        assert_eq!(names, ["bin", "bin/busybox", "dev", "dev/console", "init"]);
    }

    #[test]
    fn the_script_says_the_mark() {
        let script = project::root().join("fixtures/guest/probe-init.sh");
        let script = fs::read_to_string(script).unwrap();
        assert!(script.contains(MARK));
    }
}
