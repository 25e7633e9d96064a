//! Traces of a module other than its entries among modules and file systems: names in /proc, sysfs,
//! debugfs and /dev, and kernel threads. After unloading there must be none.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use machine::failure::{Failure, WithContext};

/// Where modules show traces. /proc/sys and /sys/module are left out, because their entries come
/// and go with their owner.
const DIRECTORIES: [&str; 8] = [
    "/proc",
    "/proc/fs",
    "/sys/fs",
    "/sys/kernel",
    "/sys/kernel/debug",
    "/sys/class",
    "/sys/devices/virtual",
    "/dev",
];
/// Names of kernel threads that come and go independently of the module.
const OTHERS_THREADS: [&str; 3] = ["kworker/", "psimon", "irq/"];
/// Names that the first loop device and udev create, and that stay. A file system on a block device
/// is tried with a loop device.
const OTHERS_NAMES: [&str; 4] =
    ["/dev/loop", "/dev/block", "/dev/disk", "/sys/devices/virtual/block"];
/// The process id of kthreadd, the parent of all kernel threads.
const KTHREADD: &str = "2";

/// Names in the kernel's own directories, and kernel threads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SideEffects {
    names: BTreeSet<String>,
}

impl SideEffects {
    /// The present traces.
    ///
    /// # Errors
    /// If a directory cannot be read; one that does not exist counts as empty.
    pub fn now() -> Result<SideEffects, Failure> {
        let mut names = BTreeSet::new();
        for directory in DIRECTORIES.map(Path::new).into_iter().filter(|path| path.is_dir()) {
            for entry in fs::read_dir(directory).context(directory.display())? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                if name.bytes().all(|byte| byte.is_ascii_digit()) {
                    names.extend(kernel_thread(&name));
                } else {
                    names.extend(unless_others(directory.join(&*name).display().to_string()));
                }
            }
        }
        Ok(SideEffects { names })
    }

    /// The traces that are not in `before`.
    pub fn beyond(&self, before: &SideEffects) -> Vec<String> {
        self.names.difference(&before.names).cloned().collect()
    }
}

fn unless_others(path: String) -> Option<String> {
    (!OTHERS_NAMES.iter().any(|others| path.starts_with(others))).then_some(path)
}

/// The name of the kernel thread with process id `pid`; `None` for any other process, and for
/// threads that come and go by themselves.
fn kernel_thread(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let is_thread = rest.split_whitespace().nth(1) == Some(KTHREADD);
    let is_others = OTHERS_THREADS.iter().any(|others| name.starts_with(others));
    (is_thread && !is_others).then(|| format!("kernel thread [{name}]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_names_are_reported() {
        let before = SideEffects { names: BTreeSet::from(["/proc/stat".to_owned()]) };
        let mut after = before.clone();
        assert!(after.beyond(&before).is_empty());
        after.names.insert("/proc/left".into());
        assert_eq!(after.beyond(&before), ["/proc/left"]);
        assert!(before.beyond(&after).is_empty(), "what has gone is nobody's fault");
    }

    #[rstest::rstest]
    #[case::the_loop_drivers("/dev/loop0", false)]
    #[case::its_control("/dev/loop-control", false)]
    #[case::its_class("/sys/devices/virtual/block", false)]
    #[case::its_names("/dev/disk", false)]
    #[case::a_modules_own("/dev/vexfs", true)]
    fn what_the_loop_driver_keeps_is_not_the_modules(#[case] path: &str, #[case] counts: bool) {
        assert_eq!(unless_others(path.to_owned()).is_some(), counts);
    }

    #[test]
    fn names_are_found_on_this_machine() {
        let now = SideEffects::now().unwrap();
        assert!(now.names.contains("/proc/meminfo") && now.names.contains("/dev/null"));
    }
}
