//! How a guest ended, decided from the console, the status file and the supervisor.

use evidence::guest::GuestEnd;
use evidence::kernel_log::{Finding, Trouble};

use super::status::GuestStatus;

/// Why the supervisor stopped watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopReason {
    /// QEMU and virtme-ng ended by themselves.
    Ended,
    /// The console printed no line for this many seconds during boot, the limit.
    BootSilence(u64),
    /// The guest was not up after this many seconds, the limit, whatever its console printed.
    BootLimit(u64),
    /// The command printed nothing for this many seconds, the limit.
    SilenceLimit(u64),
    /// The command was not done after this many seconds, the limit.
    TimeLimit(u64),
    /// A signal arrived.
    Interrupted,
}

/// Decides how the guest ended. `last_words` is the console's last line.
pub(super) fn classify(
    stop: StopReason,
    status: Option<&GuestStatus>,
    findings: &[Finding],
    last_words: &str,
) -> GuestEnd {
    let first = |fits: fn(Trouble) -> bool| {
        let finding = findings.iter().find(|finding| fits(finding.trouble));
        finding.map(|finding| finding.headline.clone())
    };
    let Some(status) = status else {
        if stop == StopReason::Interrupted {
            return GuestEnd::Interrupted;
        }
        return GuestEnd::BootFailed(match (first(Trouble::may_be_the_end), stop) {
            (Some(headline), _) => headline,
            (None, StopReason::BootSilence(limit)) => format!(
                "it said nothing for {limit} s while it booted, its limit; last line: {last_words}"
            ),
            (None, StopReason::BootLimit(limit)) => {
                format!("no sign of life within {limit} s, its limit; last line: {last_words}")
            }
            (None, _) => format!("last line: {last_words}"),
        });
    };
    if let Some(headline) = first(|trouble| trouble == Trouble::Panic) {
        return GuestEnd::Panicked(headline);
    }
    if let Some(headline) = first(|trouble| trouble == Trouble::Oops) {
        return GuestEnd::Oopsed(headline);
    }
    // A person who sees a panic may press Ctrl-C; the end is still a panic.
    if stop == StopReason::Interrupted {
        return GuestEnd::Interrupted;
    }
    match status {
        GuestStatus::SetupFailed { reason } => return GuestEnd::SetupFailed(reason.clone()),
        GuestStatus::Exited { code, .. } => return GuestEnd::Exited(*code),
        GuestStatus::Running { .. } => {}
    }
    // A busy host can make an emulated CPU look stuck for a while, so a lock-up counts as the end
    // only if the command never finished.
    if let Some(headline) = first(Trouble::is_a_wait) {
        return GuestEnd::LockedUp(headline);
    }
    match stop {
        StopReason::SilenceLimit(limit) => GuestEnd::Silent(limit),
        StopReason::TimeLimit(limit) => GuestEnd::TimedOut(limit),
        StopReason::Ended
        | StopReason::BootSilence(_)
        | StopReason::BootLimit(_)
        | StopReason::Interrupted => GuestEnd::Died,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn running() -> Option<GuestStatus> {
        Some(GuestStatus::Running { root: "virtiofs".into() })
    }
    fn exited(code: u8) -> Option<GuestStatus> {
        Some(GuestStatus::Exited { code, root: "virtiofs".into() })
    }
    fn unfit() -> Option<GuestStatus> {
        Some(GuestStatus::SetupFailed { reason: "no checkout".into() })
    }

    use Trouble::{HungTask, LockUp, Oops, Panic, RcuStall, Warning};

    #[rstest]
    #[case::success(StopReason::Ended, exited(0), &[], GuestEnd::Exited(0))]
    #[case::failing_test(StopReason::Ended, exited(100), &[], GuestEnd::Exited(100))]
    #[case::warning_is_for_the_tests(StopReason::Ended, exited(0), &[Warning], GuestEnd::Exited(0))]
    #[case::stall_that_passed(StopReason::Ended, exited(0), &[RcuStall], GuestEnd::Exited(0))]
    #[case::done_but_no_power_off(StopReason::TimeLimit(9), exited(0), &[], GuestEnd::Exited(0))]
    #[case::panic(StopReason::Ended, running(), &[Oops, Panic], GuestEnd::Panicked("Panic".into()))]
    #[case::oops_survived(StopReason::Ended, exited(0), &[Oops], GuestEnd::Oopsed("Oops".into()))]
    #[case::oops_and_hang(
        StopReason::SilenceLimit(9), running(), &[Oops, HungTask], GuestEnd::Oopsed("Oops".into())
    )]
    #[case::lock_up(StopReason::SilenceLimit(9), running(), &[LockUp], GuestEnd::LockedUp("LockUp".into()))]
    #[case::hung(StopReason::TimeLimit(9), running(), &[HungTask], GuestEnd::LockedUp("HungTask".into()))]
    #[case::silent(StopReason::SilenceLimit(9), running(), &[], GuestEnd::Silent(9))]
    #[case::too_long(StopReason::TimeLimit(9), running(), &[], GuestEnd::TimedOut(9))]
    #[case::power_off(StopReason::Ended, running(), &[], GuestEnd::Died)]
    #[case::unfit(StopReason::Ended, unfit(), &[], GuestEnd::SetupFailed("no checkout".into()))]
    #[case::no_qemu(StopReason::Ended, None, &[], GuestEnd::BootFailed("last line: words".into()))]
    #[case::boot_panic(StopReason::Ended, None, &[Panic], GuestEnd::BootFailed("Panic".into()))]
    #[case::interrupted(StopReason::Interrupted, exited(0), &[], GuestEnd::Interrupted)]
    #[case::interrupted_boot(StopReason::Interrupted, None, &[Panic], GuestEnd::Interrupted)]
    #[case::interrupted_stuck(StopReason::Interrupted, running(), &[LockUp], GuestEnd::Interrupted)]
    #[case::panic_then_interrupted(
        StopReason::Interrupted, running(), &[Panic], GuestEnd::Panicked("Panic".into())
    )]
    #[case::oops_then_interrupted(
        StopReason::Interrupted, running(), &[Oops], GuestEnd::Oopsed("Oops".into())
    )]
    fn ends_are_told_apart(
        #[case] stop: StopReason,
        #[case] status: Option<GuestStatus>,
        #[case] troubles: &[Trouble],
        #[case] expected: GuestEnd,
    ) {
        let findings: Vec<Finding> = troubles
            .iter()
            .map(|&trouble| Finding { trouble, headline: format!("{trouble:?}") })
            .collect();
        assert_eq!(classify(stop, status.as_ref(), &findings, "words"), expected);
    }

    #[test]
    fn a_boot_that_takes_too_long_says_so() {
        let end = classify(StopReason::BootLimit(90), None, &[], "Loading Linux").to_string();
        assert!(end.contains("within 90 s") && end.contains("Loading Linux"), "{end}");
        let end = classify(StopReason::BootSilence(90), None, &[], "Loading Linux").to_string();
        assert!(end.contains("nothing for 90 s") && end.contains("Loading Linux"), "{end}");
    }
}
