//! What docs/contract.md asks beyond POSIX, so that who lacks it is not told that the file system is
//! broken.

use std::path::Path;

use machine::failure::Failure;
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use super::operation::OPTIONS;

/// Stands before what the contract alone asks, in the message of a trial.
pub const ASKS: &str = "the contract asks more than POSIX: ";

/// As docs/contract.md says it.
pub(super) const REQUESTS: &str = "indexes and searches are requests (ioctl) on a file";
pub(super) const LIMITS: &str = "a mount has the limits that size= and nr_inodes= give it";
const UNKNOWN_OPTIONS: &str = "an option that is not known is refused";

/// All that no operation of the table names.
#[cfg(test)]
pub(super) const OTHERS: &[&str] = &[REQUESTS, LIMITS, UNKNOWN_OPTIONS];

/// `failure`, which is for want of what the contract alone `asks`.
pub(super) fn asks(failure: Failure, asked: &str) -> Failure {
    failure.and_then(format!("; {ASKS}{asked}"))
}

/// `failure`, with what the contract alone asks where its errno tells that: ENOTTY is the answer of
/// a file that knows no such request.
#[must_use]
pub fn explained(failure: Failure) -> Failure {
    let explained = failure.to_string().contains(ASKS);
    match failure.errno() {
        Some(Errno::ENOTTY) if !explained => asks(failure, REQUESTS),
        _ => failure,
    }
}

/// `failure` to refuse a mount option that nobody knows.
#[must_use]
pub fn unknown_option(failure: Failure) -> Failure {
    asks(failure, UNKNOWN_OPTIONS)
}

/// `failure` to mount with the options that limit a mount.
#[must_use]
pub fn limited_mount(failure: Failure) -> Failure {
    asks(failure, LIMITS)
}

/// What an operation wants that is tried on a mount with other `options` than the usual, where the
/// mount does not have the limits that they give it.
pub(super) fn limit_not_kept(mount: &Path, options: &str) -> Option<&'static str> {
    if options == OPTIONS {
        return None;
    }
    let has = statvfs(mount).ok()?;
    let size = has.blocks().saturating_mul(has.fragment_size());
    let kept = |name, has: u64| match value(options, name) {
        // Some make it a little more or less.
        Some(asked) => has <= asked.saturating_mul(2) && has >= asked / 2,
        None => true,
    };
    let all = kept("size=", size) && kept("nr_inodes=", has.files());
    (!all).then_some(LIMITS)
}

/// The number that `name` has among mount `options`.
fn value(options: &str, name: &str) -> Option<u64> {
    let text = options.split(',').find_map(|option| option.strip_prefix(name))?;
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => 0,
    };
    Some(digits.parse::<u64>().ok()? << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_known_is_the_contracts_and_said_once() {
        let told = explained(Failure::from(Errno::ENOTTY)).to_string();
        assert!(told.ends_with("; the contract asks more than POSIX: indexes and searches are requests (ioctl) on a file"), "{told}");
        let twice = explained(Failure::new(told.clone()).with_errno(Some(Errno::ENOTTY)));
        assert_eq!(twice.to_string(), told);
        let other = Failure::from(Errno::ENOSPC);
        assert_eq!(explained(other.clone()), other);
    }

    #[test]
    fn limits_are_read_as_the_trials_write_them() {
        let options = "size=256K,nr_inodes=3";
        assert_eq!(
            (value(options, "size="), value(options, "nr_inodes=")),
            (Some(262_144), Some(3))
        );
        assert_eq!(value("size=8M", "nr_inodes="), None);
    }

    /// The root of this machine is larger than that, and has more files.
    #[test]
    fn a_mount_that_keeps_no_limit_is_seen() {
        let root = Path::new("/");
        assert_eq!(limit_not_kept(root, "size=1M"), Some(LIMITS));
        assert_eq!(limit_not_kept(root, OPTIONS), None);
    }
}
