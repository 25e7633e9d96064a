//! The watchdog: a time limit for trials whose system calls wait for a daemon. Nothing but killing the
//! daemon ends such a wait.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use homes::fuse::kill_daemons_of;
use homes::torture;
use machine::failure::Failure;
use nix::sys::sysinfo::sysinfo;

use super::context::Context;

/// Factor on an emulated CPU.
const EMULATED: u32 = 10;

/// A little less than nextest grants (`nextest.toml`), on the host and in the guest, so that a
/// hanging trial reports it itself, and also under `cargo test`.
pub(super) const USUAL: Duration = Duration::from_secs(28 * 60);

/// Above this [`load`], processes wait longer for a processor than they use one: how long a trial
/// takes then says little of the file system.
const BUSY: f64 = 2.0;

/// How long a trial may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// The usual limit, multiplied by the scale of `make torture`.
    Usual,
    /// This limit; ten times as long on an emulated CPU, but no longer than
    /// the usual limit.
    Of(Duration),
    /// No limit, because the trials that it starts have their own.
    None,
}

/// Environment variable: the most seconds that any trial may take. Tests against many daemons that
/// are known to hang use it, to wait less than two minutes for each.
pub const MOST_VARIABLE: &str = "VEXFS_VALIDATION_MOST_SECONDS";

fn shortened() -> Option<Duration> {
    let seconds = std::env::var(MOST_VARIABLE).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

impl Limit {
    /// The limit on this machine.
    pub(super) fn here(self, context: &Context) -> Option<Duration> {
        let limit = self.on(context.emulated(), torture::scale().unwrap_or(1))?;
        Some(shortened().map_or(limit, |most| limit.min(most)))
    }

    /// The limit on a machine whose CPU is or is not emulated, with `scale` times the work of a
    /// normal run. nextest grants more than [`USUAL`] only where `scale` is greater than 1.
    fn on(self, emulated: bool, scale: u32) -> Option<Duration> {
        match self {
            Limit::Usual => Some(USUAL * scale),
            Limit::Of(limit) if emulated => Some((limit * EMULATED).min(USUAL * scale)),
            Limit::Of(limit) => Some(limit.min(USUAL * scale)),
            Limit::None => None,
        }
    }
}

/// Runs `body`, and kills its daemons after `limit`.
///
/// # Errors
/// The error of `body`, or that it took longer than `limit`; undecided if it ended well by itself on
/// a [busy](BUSY) machine.
pub(super) fn within(
    limit: Limit,
    context: &Context,
    body: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(limit) = limit.here(context) else { return body() };
    context.begins(limit);
    let worker = thread::current().id();
    let (trial, seconds) = (context.trial(), limit.as_secs());
    let (done, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let late = ended.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            late.then(|| {
                let killed = kill_daemons_of(worker);
                if killed == 0 {
                    // The message appears even if the trial never ends.
                    eprintln!("{trial}: not done within {seconds} s, and no FUSE daemon blocks it");
                }
                killed
            })
        });
        let outcome = body();
        drop(done);
        let said = outcome.as_ref().err().map(|failure| format!(": {failure}")).unwrap_or_default();
        match watch.join().unwrap_or_default() {
            None => outcome,
            Some(0) => Err(late(outcome, seconds, load())),
            Some(_) => machine::fail!(
                "it hangs: not done within {seconds} s, when the FUSE daemon was killed to free \
                 it{said}"
            ),
        }
    })
}

/// The processes that were running or waiting to, over the last minutes, for each processor.
fn load() -> f64 {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let (of_a_minute, of_five, _) = sysinfo().map_or((0.0, 0.0, 0.0), |info| info.load_average());
    of_a_minute.max(of_five) / processors as f64
}

/// The failure of a trial that ended by itself, but late, at the given [`load`].
fn late(outcome: Result<(), Failure>, seconds: u64, load: f64) -> Failure {
    match outcome {
        Err(failure) => Failure::new(format!(
            "it took longer than {seconds} s, and no FUSE daemon blocked it: {failure}"
        )),
        Ok(()) if load > BUSY => Failure::undecided(format!(
            "it did what it should, but took longer than {seconds} s, on a busy machine: a load of \
             {load:.1} for each processor. Run it again when less is running"
        )),
        Ok(()) => Failure::new(format!(
            "it took longer than {seconds} s, and no FUSE daemon blocked it: a load of {load:.1} \
             for each processor does not explain that"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;

    use super::*;
    use evidence::Writer;
    use evidence::place::Place;

    #[test]
    fn a_trial_over_its_limit_fails() {
        let context = Context::new("trial", Place::Host, Writer::disabled(Place::Host));
        let limit = Limit::Of(Duration::from_millis(20));
        let slow = || {
            sleep(Duration::from_millis(500));
            machine::fail!("and this besides")
        };
        let said = within(limit, &context, slow).unwrap_err().to_string();
        let words = "it took longer than 0 s, and no FUSE daemon blocked it: and this besides";
        assert_eq!(said, words);
        assert_eq!(context.limit(), Some(Duration::from_millis(20)));
        assert!(context.ends().is_some_and(|ends| ends < std::time::Instant::now()));
        within(Limit::Usual, &context, || Ok(())).unwrap();
        let failure = within(Limit::Usual, &context, || machine::fail!("its own")).unwrap_err();
        assert_eq!(failure.to_string(), "its own");
    }

    #[test]
    fn a_trial_that_is_only_late_on_a_busy_machine_is_undecided() {
        let said = |outcome, load| {
            let failure = late(outcome, 120, load);
            (failure.is_undecided(), failure.to_string())
        };
        let (undecided, words) = said(Ok(()), 4.5);
        assert!(undecided && words.contains("a load of 4.5 for each processor"), "{words}");
        let (undecided, words) = said(Ok(()), 1.0);
        assert!(!undecided && words.contains("does not explain that"), "{words}");
        let (undecided, words) = said(Err(Failure::new("rows are lost")), 4.5);
        assert!(!undecided && words.ends_with("blocked it: rows are lost"), "{words}");
        assert!(load() >= 0.0);
    }

    /// Otherwise nextest would end a trial that hangs before the trial could say so, and a home that
    /// hangs would be INCONCLUSIVE instead of FAIL.
    #[test]
    fn every_trial_ends_before_nextest_ends_it() {
        let path = machine::project::root().join("nextest.toml");
        let config = std::fs::read_to_string(path).unwrap();
        let granted = "[profile.default]\n\
            # A trial that waits has its own deadline; this is the net below.\n\
            slow-timeout = { period = \"60s\", terminate-after = 30 }\n";
        assert!(config.contains(granted), "{config}");
        let granted = Duration::from_secs(60 * 30);
        let all = [
            crate::fuse::trials(),
            crate::dataset::trials(),
            crate::baseline::trials(),
            crate::module::trials(),
            crate::kernel_vs_fuse::trials(),
        ];
        let all = all.concat();
        assert!(all.iter().any(|trial| matches!(trial.limit, Limit::Of(_))));
        for trial in all {
            for emulated in [false, true] {
                let limit = trial.limit.on(emulated, 1);
                let told = format!("{}: {limit:?}", trial.name);
                assert!(limit.is_none_or(|limit| limit <= USUAL && limit < granted), "{told}");
            }
        }
        let short = Limit::Of(Duration::from_secs(5));
        assert_eq!(short.on(true, 1), Some(Duration::from_secs(50)));
        assert_eq!(Limit::Usual.on(true, 3), Some(USUAL * 3));
        assert_eq!(Limit::Of(USUAL).on(true, 3), Some(USUAL * 3));
    }

    /// Otherwise a daemon that falls mute after it has mounted would hold up everybody else for the
    /// usual limit, once for each of these trials.
    #[test]
    fn a_mute_daemon_is_given_up_long_before_the_usual_limit() {
        // It runs most operations three times, each within a limit of its own.
        const MANY_IN_ONE: &str = "fuse::no_regression_around_the_module";
        for trial in crate::fuse::trials() {
            let limit = trial.limit.on(false, 1);
            let told = format!("{}: {limit:?}", trial.name);
            let is_short = limit.is_some_and(|limit| limit <= USUAL / 2);
            assert_eq!(is_short, trial.name != MANY_IN_ONE, "{told}");
        }
    }

    #[test]
    fn every_trial_has_a_limit_unless_it_starts_others() {
        let trial = || crate::trial::Trial::new("some::trial", &[Place::Host], |_| Ok(()));
        assert_eq!(trial().limit, Limit::Usual);
        let short = Duration::from_secs(1);
        assert_eq!(trial().within(short).limit, Limit::Of(short));
        assert_eq!(trial().starts_trials().limit, Limit::None);
    }
}
