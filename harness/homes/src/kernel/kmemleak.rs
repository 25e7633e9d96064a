//! Finds allocations that nothing points to any more, on a kernel with kmemleak
//! (Documentation/dev-tools/kmemleak.rst).

use std::fs;
use std::path::Path;
use std::time::Duration;

use machine::failure::{Failure, WithContext};

const CONTROL: &str = "/sys/kernel/debug/kmemleak";
/// Younger objects are not reported (MSECS_MIN_AGE is 5 s), and a pointer may be in transit.
const GRACE: Duration = Duration::from_secs(6);
/// An object is reported when two scans have found it unreferenced and unchanged.
const SCANS: u32 = 2;

/// The kernel's own search for leaks that are made after a certain moment.
#[derive(Debug)]
pub struct Kmemleak(());

impl Kmemleak {
    /// Discards earlier leaks; `None` if the kernel has no kmemleak.
    ///
    /// # Errors
    /// If the kernel has it, but it cannot be controlled.
    pub fn from_now() -> Result<Option<Kmemleak>, Failure> {
        if !Path::new(CONTROL).exists() {
            return Ok(None);
        }
        tell("clear")?;
        Ok(Some(Kmemleak(())))
    }

    /// Checks that nothing allocated by a module's code has leaked since.
    ///
    /// # Errors
    /// The kernel's reports, with the stacks of the allocations; or that kmemleak cannot be
    /// controlled.
    pub fn check(self) -> Result<(), Failure> {
        for _ in 0..SCANS {
            // Nothing can be polled meanwhile: objects have to reach a minimum age.
            std::thread::sleep(GRACE);
            tell("scan")?;
        }
        let reports = fs::read_to_string(CONTROL).context(CONTROL)?;
        let leaks = in_modules(&reports);
        machine::require!(
            leaks.is_empty(),
            "kmemleak found {} objects that leaked; the first: {}",
            leaks.len(),
            leaks[0]
        );
        Ok(())
    }
}

fn tell(what: &str) -> Result<(), Failure> {
    fs::write(CONTROL, what).context(format!("echo {what} > {CONTROL}"))
}

/// The reports whose stacks pass through a module, which may be loaded (`function+0x1/0x2
/// [module]`) or unloaded, in which case the address has no name any more.
fn in_modules(reports: &str) -> Vec<String> {
    reports
        .split("unreferenced object ")
        .filter(|report| {
            let stack = report.lines().skip_while(|line| !line.starts_with("  backtrace")).skip(1);
            stack.map(str::trim).any(|frame| frame.ends_with(']') || frame.starts_with("0x"))
        })
        .map(|report| format!("unreferenced object {}", report.trim_end()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORTS: &str = "\
unreferenced object 0xffff888105d0a000 (size 4096):
  comm \"module-1\", pid 310, jiffies 4294945001
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    __kmalloc_cache_noprof+0x2a1/0x3b0
    sabotaged_init+0x30/0x60 [vexfs]
    do_one_initcall+0xa4/0x3a0
unreferenced object 0xffff888105d0b000 (size 64):
  comm \"kworker/0:1\", pid 9, jiffies 4294945009
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 5b 5d  ..............[]
  backtrace (crc 0):
    __kmalloc_noprof+0x2a1/0x3b0
    acpi_ns_lookup+0x30/0x60
unreferenced object 0xffff888105d0c000 (size 32):
  comm \"module-1\", pid 310, jiffies 4294945010
  backtrace (crc 0):
    __kmalloc_cache_noprof+0x2a1/0x3b0
    0xffffffffa0018030
    do_one_initcall+0xa4/0x3a0
";

    #[test]
    fn leaks_of_modules_are_separated_from_others() {
        let found = in_modules(REPORTS);
        let [loaded, gone] = &found[..] else { panic!("{found:?}") };
        assert!(loaded.starts_with("unreferenced object 0xffff888105d0a000"), "{loaded}");
        assert!(loaded.ends_with("do_one_initcall+0xa4/0x3a0"), "{loaded}");
        assert!(gone.starts_with("unreferenced object 0xffff888105d0c000"), "{gone}");
        assert!(in_modules("").is_empty());
    }
}
