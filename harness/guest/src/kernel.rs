//! Finds the kernel to boot: image, modules, headers.
//!
//! Kernels are looked for under *roots*: `/`, and each `.cache/kernels/*` into which the set-up has
//! unpacked Debian's packages without installing them. A root holds `boot/vmlinuz-RELEASE` and
//! `lib/modules/RELEASE`.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use evidence::guest::DEFAULT_SERIES;
use evidence::series::is_of_series;
use machine::project;

use super::error::VmError;

/// Which kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelChoice {
    /// The newest installed kernel of a series or release: `6.12`, `6.12-rt` or `6.1.0-56-amd64`.
    /// Kernels with headers are preferred, because the module can be built for them.
    Version(String),
    /// A kernel image (`vmlinuz`).
    Image(PathBuf),
}

impl Default for KernelChoice {
    fn default() -> Self {
        KernelChoice::Version(DEFAULT_SERIES.to_owned())
    }
}

impl KernelChoice {
    /// The kernel that `VEXFS_KERNEL` names, in the same form as on the command line of
    /// `vexfs-validate`, or the default.
    pub fn of_environment() -> Self {
        match std::env::var("VEXFS_KERNEL").map(|text| text.parse()) {
            Ok(Ok(choice)) => choice,
            _ => KernelChoice::default(),
        }
    }
}

impl FromStr for KernelChoice {
    type Err = std::convert::Infallible;

    /// Text that contains a `/` is a path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text.contains('/') {
            KernelChoice::Image(PathBuf::from(text))
        } else {
            KernelChoice::Version(text.to_owned())
        })
    }
}

/// A kernel that can be booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What `uname -r` will print.
    pub release: String,
    /// The compressed image.
    pub image: PathBuf,
    /// Its modules (`lib/modules/RELEASE`).
    pub modules: PathBuf,
}

impl Kernel {
    /// Finds the kernel of `choice` on this machine.
    ///
    /// # Errors
    /// If there is no such kernel, the file is no kernel, or the kernel has no modules.
    pub fn find(choice: &KernelChoice) -> Result<Self, VmError> {
        match choice {
            KernelChoice::Version(wanted) => newest(wanted, &installed(&roots())),
            KernelChoice::Image(path) => of_image(path),
        }
    }

    /// The directory that a module for this kernel is built against (Kbuild's `-C`).
    ///
    /// # Errors
    /// [`VmError::NoHeaders`].
    pub fn headers(&self) -> Result<PathBuf, VmError> {
        let build = self.modules.join("build");
        if build.join("Makefile").is_file() {
            return Ok(build);
        }
        Err(VmError::NoHeaders { release: self.release.clone(), looked: build })
    }

    /// Whether a module can be built with its headers, as with those that `fixtures/guest/setup.sh`
    /// provides.
    fn is_complete(&self) -> bool {
        self.modules.join("build/Module.symvers").is_file()
    }
}

fn roots() -> Vec<PathBuf> {
    let unpacked = fs::read_dir(project::cache().join("kernels"));
    let mut roots: Vec<PathBuf> =
        unpacked.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    roots.push(PathBuf::from("/"));
    roots
}

/// Every bootable kernel under `roots`. Kernels that cannot be read or have no modules are left
/// out.
fn installed(roots: &[PathBuf]) -> Vec<Kernel> {
    let images = roots.iter().flat_map(|root| fs::read_dir(root.join("boot")));
    let paths = images.flatten().flatten().map(|entry| entry.path());
    paths
        .filter(|path| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
        })
        .filter_map(|path| of_image(&path).ok())
        .collect()
}

fn newest(wanted: &str, installed: &[Kernel]) -> Result<Kernel, VmError> {
    let mut fitting: Vec<&Kernel> =
        installed.iter().filter(|kernel| is_of_series(&kernel.release, wanted)).collect();
    fitting.sort_by_key(|kernel| Reverse((kernel.is_complete(), numbers(&kernel.release))));
    fitting.first().map(|&kernel| kernel.clone()).ok_or_else(|| {
        let mut releases: Vec<&str> =
            installed.iter().map(|kernel| kernel.release.as_str()).collect();
        releases.sort_unstable();
        releases.dedup();
        VmError::NoKernel {
            wanted: wanted.to_owned(),
            found: if releases.is_empty() { "none".to_owned() } else { releases.join(", ") },
        }
    })
}

/// `6.12.117+deb12-amd64` as `[6, 12, 117, 12]`, which sorts in the order of versions.
fn numbers(release: &str) -> Vec<u64> {
    let core = release.split_once("-amd64").map_or(release, |(core, _)| core);
    core.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn of_image(path: &Path) -> Result<Kernel, VmError> {
    let unreadable = |source| VmError::KernelPath { path: path.to_owned(), source };
    let image = fs::canonicalize(path).map_err(unreadable)?;
    let release = release_of(&mut File::open(&image).map_err(unreadable)?)
        .map_err(|_| VmError::NotAKernel { path: path.to_owned() })?;
    // The layout of packages: ROOT/boot/vmlinuz-RELEASE beside ROOT/lib/modules/RELEASE.
    let root = image.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
    let in_root = |libraries: &str| root.join(libraries).join("modules").join(&release);
    let modules = [in_root("lib"), in_root("usr/lib")];
    let found = modules.iter().find(|modules| modules.join("modules.dep").is_file());
    match found {
        Some(found) => Ok(Kernel { modules: found.clone(), release, image }),
        None => Err(VmError::NoModules { looked: modules[0].clone(), release }),
    }
}

/// The release that an x86 kernel image names in its header. `kernel_version` in the Linux/x86 boot
/// protocol (Documentation/arch/x86/boot.rst) points to a string that begins with the release.
fn release_of(image: &mut (impl Read + Seek)) -> io::Result<String> {
    const MAGIC: u64 = 0x202;
    const VERSION_POINTER: u64 = 0x20e;
    const POINTER_BASE: u64 = 0x200;
    let not_a_kernel = || io::Error::from(io::ErrorKind::InvalidData);

    let mut magic = [0; 4];
    image.seek(SeekFrom::Start(MAGIC))?;
    image.read_exact(&mut magic)?;
    if &magic != b"HdrS" {
        return Err(not_a_kernel());
    }
    let mut pointer = [0; 2];
    image.seek(SeekFrom::Start(VERSION_POINTER))?;
    image.read_exact(&mut pointer)?;
    let mut text = Vec::new();
    image.seek(SeekFrom::Start(POINTER_BASE + u64::from(u16::from_le_bytes(pointer))))?;
    image.take(256).read_to_end(&mut text)?;
    let text = text.split(|&byte| byte == 0 || byte == b' ').next().unwrap_or_default();
    match std::str::from_utf8(text) {
        Ok(release) if !release.is_empty() => Ok(release.to_owned()),
        _ => Err(not_a_kernel()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(release: &str) -> Vec<u8> {
        let mut bytes = vec![0; 0x300];
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x20e..0x210].copy_from_slice(&0x80_u16.to_le_bytes());
        let text = format!("{release} (somebody@somewhere) #1 SMP\0");
        bytes[0x280..0x280 + text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    fn root_with(releases: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("boot")).unwrap();
        for release in releases {
            let modules = root.path().join("lib/modules").join(release);
            fs::create_dir_all(&modules).unwrap();
            fs::write(modules.join("modules.dep"), "").unwrap();
            fs::write(root.path().join("boot").join(format!("vmlinuz-{release}")), image(release))
                .unwrap();
        }
        root
    }

    fn find(root: &tempfile::TempDir, wanted: &str) -> Result<Kernel, VmError> {
        newest(wanted, &installed(&[root.path().to_owned()]))
    }

    #[test]
    fn the_newest_of_a_series_is_found() {
        let root = root_with(&["6.12.95+deb12-amd64", "6.12.117+deb12-amd64", "6.1.0-56-amd64"]);
        assert_eq!(find(&root, "6.12").unwrap().release, "6.12.117+deb12-amd64");
        assert_eq!(find(&root, "6.1").unwrap().release, "6.1.0-56-amd64");
        assert_eq!(find(&root, "6.12.95").unwrap().release, "6.12.95+deb12-amd64");
    }

    #[test]
    fn a_flavour_must_be_asked_for() {
        let root = root_with(&["6.12.117+deb12-rt-amd64", "6.12.95+deb12-amd64"]);
        assert_eq!(find(&root, "6.12").unwrap().release, "6.12.95+deb12-amd64");
        assert_eq!(find(&root, "6.12-rt").unwrap().release, "6.12.117+deb12-rt-amd64");
    }

    #[test]
    fn the_newest_with_headers_comes_before_newer_ones_without() {
        let releases = ["6.12.95+deb12-amd64", "6.12.100+deb12-amd64", "6.12.117+deb12-amd64"];
        let root = root_with(&releases);
        for release in &releases[..2] {
            let build = root.path().join("lib/modules").join(release).join("build");
            fs::create_dir(&build).unwrap();
            fs::write(build.join("Module.symvers"), "").unwrap();
        }
        assert_eq!(find(&root, "6.12").unwrap().release, "6.12.100+deb12-amd64");
        assert_eq!(find(&root, "6.12.117").unwrap().release, "6.12.117+deb12-amd64");
    }

    #[test]
    fn an_absent_kernel_is_named_beside_those_present() {
        let root = root_with(&["6.12.95+deb12-amd64"]);
        let message = find(&root, "6.6").unwrap_err().to_string();
        assert!(message.contains("no kernel 6.6"), "{message}");
        assert!(message.contains("6.12.95+deb12-amd64"), "{message}");
        assert!(message.contains("make setup KERNEL=6.6"), "{message}");
    }

    #[test]
    fn a_kernel_without_modules_does_not_count() {
        let root = root_with(&["6.12.95+deb12-amd64"]);
        let modules = root.path().join("lib/modules/6.12.95+deb12-amd64/modules.dep");
        fs::remove_file(modules).unwrap();
        assert!(matches!(find(&root, "6.12"), Err(VmError::NoKernel { .. })));
        let image = root.path().join("boot/vmlinuz-6.12.95+deb12-amd64");
        assert!(matches!(of_image(&image), Err(VmError::NoModules { .. })));
    }

    #[test]
    fn paths_that_lead_nowhere_or_to_something_else_are_told_apart() {
        let choice: KernelChoice = "/nonexistent/vmlinuz".parse().unwrap();
        assert!(matches!(Kernel::find(&choice), Err(VmError::KernelPath { .. })));
        let choice: KernelChoice = "/etc/passwd".parse().unwrap();
        assert!(matches!(Kernel::find(&choice), Err(VmError::NotAKernel { .. })));
        let choice: KernelChoice = "/".parse().unwrap();
        assert!(matches!(Kernel::find(&choice), Err(VmError::NotAKernel { .. })));
    }

    #[test]
    fn headers_are_found_or_missed() {
        let root = root_with(&["6.12.95+deb12-amd64"]);
        let kernel = find(&root, "6.12").unwrap();
        let said = kernel.headers().unwrap_err().to_string();
        assert!(said.contains("kernel 6.12.95+deb12-amd64 has no headers"), "{said}");
        assert!(said.contains("make setup KERNEL=6.12.95+deb12-amd64"), "{said}");
        fs::create_dir(kernel.modules.join("build")).unwrap();
        fs::write(kernel.modules.join("build/Makefile"), "").unwrap();
        assert_eq!(kernel.headers().unwrap(), kernel.modules.join("build"));
    }
}
