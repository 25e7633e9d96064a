//! What docs/contract.md requires beyond POSIX. If a file system lacks it, the message says so,
//! instead of calling the file system broken.

use std::path::Path;

use machine::failure::{Failure, WithContext};
use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use super::asked::{
    Asked, GROWS, HANDLES, LIMITS, MEMORY, NO_USER_NAMESPACES, REQUESTS, UNKNOWN_OPTIONS,
    WAITS_ALONE,
};

/// Mount options for operations that need no others.
pub const OPTIONS: &str = "size=256M";

/// Introduces, in a trial's message, what only the contract requires.
pub const ASKS: &str = "the contract asks more than POSIX: ";
/// As it stands behind the rest of a message.
pub(super) const MARK: &str = "; the contract asks more than POSIX: ";

/// Some file systems have a minimum size in bytes or inodes. A mount up to this limit does not
/// count as ignoring its options.
const LARGEST: u64 = 1 << 30;

/// Adds to `failure`, once, that only the contract requires what was `asked`. A failure whose errno
/// shows a fault stays as it is.
pub fn asks(failure: Failure, asked: impl IntoIterator<Item = Asked>) -> Failure {
    if failure.errno().is_none_or(may_be_lacking) { marked(failure, asked) } else { failure }
}

fn marked(failure: Failure, asked: impl IntoIterator<Item = Asked>) -> Failure {
    if failure.to_string().contains(ASKS) {
        return failure;
    }
    let asked: Vec<&str> = asked.into_iter().map(Asked::words).collect();
    failure.and_then(format!("{MARK}{}", asked.join("; ")))
}

/// Whether a healthy file system may answer with this errno where it lacks what only the contract
/// requires. It may not know the request or its arguments, forbid what it does not do, or have
/// limits of its own. ENODATA is the answer for an attribute of a name space that it does have.
///
/// All other errnos show a fault, even in an operation that only the contract requires: EIO, ESTALE,
/// a file that is not found, and ENOTCONN and ECONNABORTED, which mean that the daemon is dead.
fn may_be_lacking(errno: Errno) -> bool {
    matches!(
        errno,
        // It does not know this.
        Errno::ENOTTY | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EINVAL
        // It forbids this. EPERM is the kernel's answer where a file system lacks the call.
        | Errno::EPERM | Errno::EACCES
        // It has a limit here.
        | Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG | Errno::EOVERFLOW | Errno::ENXIO
        | Errno::E2BIG | Errno::ERANGE | Errno::ENAMETOOLONG | Errno::EMLINK
        // It has other name spaces of extended attributes.
        | Errno::ENODATA
    )
}

/// A step of an operation that may fail because the file system lacks what only the contract
/// requires. The steps around it are plain POSIX and Linux: where one of them fails, the file system
/// is broken, and the message must not excuse it. So operations are marked step by step.
pub(super) trait ByContract<T> {
    /// Adds this explanation to the failure.
    fn by_contract(self, asked: Asked) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> ByContract<T> for Result<T, E> {
    fn by_contract(self, asked: Asked) -> Result<T, Failure> {
        self.map_err(|error| asks(error.into(), [asked]))
    }
}

/// Like [`require!`](machine::require), for a condition that only the contract requires.
macro_rules! contract_requires {
    ($asked:expr, $condition:expr, $($message:tt)+) => {
        if !$condition {
            let failure = ::machine::failure::Failure::new(format!($($message)+));
            return Err($crate::filesystem::contract::asks(failure, [$asked]));
        }
    };
}
pub(super) use contract_requires;

/// The first thing that a file system lacks because only the contract requires it. An operation goes
/// on without it where it can, because a later step of plain POSIX may find the file system broken.
#[derive(Default)]
pub(super) struct Lacking(Option<Failure>);

impl Lacking {
    /// Remembers a `step` that failed for want of what only the contract requires.
    ///
    /// # Errors
    /// Any other failure.
    pub(super) fn note(&mut self, step: Result<(), Failure>) -> Result<(), Failure> {
        match step {
            Err(failure) if failure.to_string().contains(ASKS) => {
                self.0.get_or_insert(failure);
                Ok(())
            }
            other => other,
        }
    }

    /// Whether anything is lacking so far.
    pub(super) fn any(&self) -> bool {
        self.0.is_some()
    }

    /// # Errors
    /// What is lacking.
    pub(super) fn told(self) -> Result<(), Failure> {
        self.0.map_or(Ok(()), Err)
    }
}

/// Checks a condition that only the contract requires.
pub(super) fn require_asked(
    asked: Asked,
    condition: bool,
    message: impl Into<String>,
) -> Result<(), Failure> {
    contract_requires!(asked, condition, "{}", message.into());
    Ok(())
}

/// `failure`, with an explanation if its errno shows that only the contract requires this: ENOTTY
/// is the answer of a file system that does not know the request.
pub fn explained(failure: Failure) -> Failure {
    match failure.errno() {
        Some(Errno::ENOTTY) => asks(failure, [REQUESTS]),
        _ => failure,
    }
}

/// Explains `failure` to open a file by its handle: ESTALE, which is a fault anywhere else, is what a
/// file system answers whose handles do not hold.
pub(super) fn handle(failure: Failure) -> Failure {
    match failure.errno() {
        Some(Errno::ESTALE) => marked(failure, [HANDLES]),
        _ => asks(failure, [HANDLES]),
    }
}

/// Explains `failure` to refuse an unknown mount option.
pub fn unknown_option(failure: Failure) -> Failure {
    asks(failure, [UNKNOWN_OPTIONS])
}

/// Explains `failure` to mount with options that limit the mount.
pub fn limited_mount(failure: Failure) -> Failure {
    asks(failure, [LIMITS])
}

/// Marks `failure` of a process that waited while another's write waited for its caller's memory:
/// only the contract forbids that. An answer with an errno is no wait.
pub fn waiting_write(failure: Failure) -> Failure {
    if failure.errno().is_none() { asks(failure, [WAITS_ALONE]) } else { failure }
}

/// Marks `failure` of a module that can be mounted in a user namespace: only the contract forbids
/// that.
pub fn user_namespace(failure: Failure) -> Failure {
    asks(failure, [NO_USER_NAMESPACES])
}

/// Marks `failure` of a file that shows bytes stored behind its end: only the contract forbids that.
pub fn stored_behind_the_end(failure: Failure) -> Failure {
    asks(failure, [GROWS])
}

/// Marks `failure` of a daemon that keeps memory for what is gone: only the contract forbids that.
pub fn memory_kept(failure: Failure) -> Failure {
    asks(failure, [MEMORY])
}

/// Checks that a mount has the limits in its `options`, if an operation needs limits other than the
/// default.
pub(super) fn keeps_limits(mount: &Path, options: &str) -> Result<(), Failure> {
    if options == OPTIONS {
        return Ok(());
    }
    let has = statvfs(mount).context("statvfs")?;
    let size = has.blocks().saturating_mul(has.fragment_size());
    for (name, has) in [("size=", size), ("nr_inodes=", has.files())] {
        let Some(asked) = value(options, name) else { continue };
        // Some file systems make it larger, because they have a minimum size or use a part for
        // themselves.
        if has == 0 || has > asked.saturating_mul(2).max(LARGEST) {
            let failure =
                format!("not tried: {name}{asked} was asked for, and statfs(2) says {has}");
            return Err(asks(Failure::new(failure), [LIMITS]));
        }
    }
    Ok(())
}

/// The number given for `name` in mount `options`.
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
    use super::super::asked::HOLES;
    use super::*;

    #[test]
    fn an_unknown_request_is_reported_once_as_a_contract_failure() {
        let told = explained(Failure::from(Errno::ENOTTY)).to_string();
        assert!(MARK.ends_with(ASKS));
        assert!(told.ends_with("; the contract asks more than POSIX: indexes and searches are requests (ioctl) on a file"), "{told}");
        let twice = explained(Failure::new(told.clone()).with_errno(Some(Errno::ENOTTY)));
        assert_eq!(twice.to_string(), told);
        let other = Failure::from(Errno::ENOSPC);
        assert_eq!(explained(other.clone()), other);
    }

    /// A dead daemon, a lost inode and an I/O error are faults, whoever asks for the operation.
    #[rstest::rstest]
    #[case::not_known(Some(Errno::ENOSYS), true)]
    #[case::not_done(Some(Errno::EOPNOTSUPP), true)]
    #[case::refused(Some(Errno::EINVAL), true)]
    #[case::a_limit(Some(Errno::ENOSPC), true)]
    #[case::another_result(None, true)]
    #[case::broken(Some(Errno::EIO), false)]
    #[case::dead(Some(Errno::ENOTCONN), false)]
    #[case::dying(Some(Errno::ECONNABORTED), false)]
    #[case::lost(Some(Errno::ESTALE), false)]
    #[case::not_found(Some(Errno::ENOENT), false)]
    fn only_what_a_healthy_file_system_may_lack_is_the_contracts(
        #[case] errno: Option<Errno>,
        #[case] healthy: bool,
    ) {
        let failure = || Failure::new("fallocate").with_errno(errno);
        let step: Result<(), Failure> = Err(failure());
        for told in [asks(failure(), [HOLES]), step.by_contract(HOLES).unwrap_err()] {
            assert_eq!(told.to_string().contains(ASKS), healthy, "{told}");
        }
    }

    #[test]
    fn a_missing_feature_hides_no_later_fault() {
        let lacks = |errno| Err(Failure::from(errno)).by_contract(HOLES);
        let mut lacking = Lacking::default();
        lacking.note(Ok(())).unwrap();
        lacking.note(lacks(Errno::ENOSYS)).unwrap();
        lacking.note(lacks(Errno::EINVAL)).unwrap();
        assert_eq!(lacking.note(lacks(Errno::EIO)).unwrap_err().errno(), Some(Errno::EIO));
        assert_eq!(lacking.told().unwrap_err().errno(), Some(Errno::ENOSYS));
        assert_eq!(Lacking::default().told(), Ok(()));
    }

    #[test]
    fn a_late_answer_beside_a_waiting_write_is_a_contract_failure() {
        let late = waiting_write(Failure::new("link is not answered within 60 s")).to_string();
        assert!(late.contains(WAITS_ALONE.words()), "{late}");
        let refused = waiting_write(Failure::from(Errno::EPERM).context("link"));
        assert!(!refused.to_string().contains(ASKS), "{refused}");
    }

    #[test]
    fn a_stale_handle_is_a_contract_failure() {
        let told = |errno: Errno| handle(Failure::from(errno)).to_string();
        assert!(told(Errno::ESTALE).contains(HANDLES.words()));
        assert!(told(Errno::EOPNOTSUPP).contains(HANDLES.words()));
        assert!(!told(Errno::EIO).contains(HANDLES.words()));
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

    #[test]
    fn nothing_is_tried_on_a_mount_that_keeps_no_limit() {
        let proc = Path::new("/proc");
        let said = keeps_limits(proc, "size=1M").unwrap_err().to_string();
        assert!(
            said.starts_with("not tried: size=1048576 was asked for") && said.contains(ASKS),
            "{said}"
        );
        assert!(keeps_limits(proc, OPTIONS).is_ok());
    }
}
