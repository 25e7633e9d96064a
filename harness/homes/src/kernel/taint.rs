//! The kernel's taint flags (Documentation/admin-guide/tainted-kernels.rst).

use std::fmt;
use std::fs;

use machine::failure::{Failure, WithContext};

const FILE: &str = "/proc/sys/kernel/tainted";
const OUT_OF_TREE: u64 = 1 << 12;
const UNSIGNED: u64 = 1 << 13;

/// The flags that loading our module sets, because it is out of tree and unsigned. No others may be
/// set.
pub const EXPECTED_TAINT: Taint = Taint(OUT_OF_TREE | UNSIGNED);

const LETTERS: &str = "PFSRMBUDAWCIOELKXTN";

/// A set of taint flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taint(pub u64);

impl Taint {
    /// The flags of the running kernel.
    pub fn now() -> Result<Taint, Failure> {
        let text = fs::read_to_string(FILE).context(FILE)?;
        text.trim().parse().map(Taint).context(FILE)
    }

    /// The flags that are not in `allowed`.
    pub fn beyond(self, allowed: Taint) -> Taint {
        Taint(self.0 & !allowed.0)
    }

    /// Whether no flag is set.
    pub fn is_clean(self) -> bool {
        self.0 == 0
    }
}

impl std::ops::BitOr for Taint {
    type Output = Taint;
    fn bitor(self, other: Taint) -> Taint {
        Taint(self.0 | other.0)
    }
}

impl fmt::Display for Taint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        for (bit, letter) in LETTERS.chars().enumerate() {
            if self.0 >> bit & 1 == 1 {
                write!(f, " {letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_letters() {
        assert_eq!(EXPECTED_TAINT.to_string(), "12288 O E");
        assert_eq!(Taint(1 << 9).to_string(), "512 W");
        assert_eq!(Taint(12288 + 512).beyond(EXPECTED_TAINT), Taint(512));
        assert!(Taint(4096).beyond(EXPECTED_TAINT).is_clean());
    }
}
