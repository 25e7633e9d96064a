//! Shows how far a run is, and how long it will still take if it goes like the last one on this
//! machine.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::times::{Store, Took};

/// The phases of a run as they begin and end, compared with those of the last run. Clones belong to
/// the same run. Phases in the guest are read from its output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Option<Arc<TimedRun>>);

#[derive(Debug)]
struct TimedRun {
    store: Store,
    last: Vec<Took>,
    began: Instant,
    seen: Mutex<Vec<SeenPhase>>,
}

/// A phase of this run; it has no end while it goes on.
#[derive(Debug, Clone)]
struct SeenPhase {
    phase: String,
    began: f64,
    ended: Option<f64>,
}

impl Progress {
    /// For a run that does `what`, described by its options.
    pub(crate) fn of(what: &str) -> Progress {
        Progress::of_store(Store::here(what))
    }

    /// A `Progress` that forecasts nothing and keeps nothing.
    pub(crate) fn none() -> Progress {
        Progress(None)
    }

    fn of_store(store: Store) -> Progress {
        let last = store.last();
        let run = TimedRun { store, last, began: Instant::now(), seen: Mutex::default() };
        Progress(Some(Arc::new(run)))
    }

    /// Whether it follows phases at all.
    pub(crate) fn watches(&self) -> bool {
        self.0.is_some()
    }

    /// The forecast before the first phase, from the last run.
    pub(crate) fn outlook(&self) -> Option<String> {
        let run = self.0.as_ref()?;
        let total = run.last.last()?.ended;
        let phases: Vec<String> = run
            .last
            .iter()
            .map(|one| format!("{}: {}", one.phase, in_words(one.ended - one.began)))
            .collect();
        Some(format!("the last run here took {} ({})", in_words(total), phases.join("; ")))
    }

    /// Notes that phase `name` begins. Returns its number of all phases, and when it and the run
    /// may be over, if the last run is known.
    pub(crate) fn begins(&self, name: &str) -> String {
        let Some(run) = &self.0 else { return String::new() };
        run.begins(name, run.now())
    }

    /// Notes that phase `name` ends.
    pub(crate) fn ends(&self, name: &str) {
        if let Some(run) = &self.0 {
            run.ends(name, run.now());
        }
    }

    /// Reads a line of the guest's output, in which phases announce themselves, and returns it with
    /// the forecast added. A phase that was not run gets no end, so the times of that run are not
    /// kept.
    pub(crate) fn reads(&self, line: &str) -> String {
        let Some(phase) = line.strip_prefix(super::MARK) else { return line.to_owned() };
        match super::ALL.iter().find(|name| phase.starts_with(&format!("{name}:"))) {
            Some(name) if !phase.starts_with(&format!("{name}: {}", super::NOT_RUN)) => {
                self.ends(name);
            }
            Some(_) => {}
            None if super::ALL.contains(&phase) => return format!("{line}{}", self.begins(phase)),
            None => {}
        }
        line.to_owned()
    }

    /// The line that a terminal shows during a phase: the phase, for how long it has gone on, and
    /// how long the run will still take. `None` between phases.
    pub(crate) fn now(&self) -> Option<String> {
        let run = self.0.as_ref()?;
        run.shows(run.now())
    }

    /// Keeps the times of a complete run for the next one. If they cannot be written, this run is
    /// still fine.
    pub(crate) fn keep(&self) {
        let Some(run) = &self.0 else { return };
        let took: Option<Vec<Took>> = run
            .seen()
            .iter()
            .map(|one| {
                let ended = one.ended?;
                Some(Took { phase: one.phase.clone(), began: one.began, ended })
            })
            .collect();
        if let Some(took) = took
            && let Err(error) = run.store.keep(&took)
        {
            eprintln!("vexfs-validate: the times of this run are not kept for the next: {error}");
        }
    }
}

impl TimedRun {
    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn seen(&self) -> MutexGuard<'_, Vec<SeenPhase>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begins(&self, name: &str, now: f64) -> String {
        self.seen().push(SeenPhase { phase: name.to_owned(), began: now, ended: None });
        let Some(at) = self.last.iter().position(|one| one.phase == name) else {
            return String::new();
        };
        let last = &self.last[at];
        format!(
            " ({} of {}; last time {}, and {} from here to the end)",
            at + 1,
            self.last.len(),
            in_words(last.ended - last.began),
            in_words(self.rest(last, 0.0)),
        )
    }

    fn ends(&self, name: &str, now: f64) {
        if let Some(one) = self.seen().iter_mut().rfind(|one| one.phase == name) {
            one.ended = Some(now);
        }
    }

    /// Seconds left in the run, `elapsed` seconds into a phase that took `last` in the last run. A
    /// phase that takes longer than last time may be over at any moment.
    fn rest(&self, last: &Took, elapsed: f64) -> f64 {
        let total = self.last.last().map_or(last.ended, |one| one.ended);
        (last.ended - last.began - elapsed).max(0.0) + total - last.ended
    }

    fn shows(&self, now: f64) -> Option<String> {
        let seen = self.seen().last().filter(|one| one.ended.is_none()).cloned()?;
        let elapsed = now - seen.began;
        let so_far = format!("phase {}, for {}", seen.phase, in_words(elapsed));
        let Some(last) = self.last.iter().find(|one| one.phase == seen.phase) else {
            return Some(so_far);
        };
        let usual = last.ended - last.began;
        let than = if elapsed > usual { "longer than" } else { "of" };
        let rest = in_words(self.rest(last, elapsed));
        Some(format!("{so_far}, {than} {}; about {rest} to go in all", in_words(usual)))
    }
}

/// A time with the precision that a person wants.
fn in_words(seconds: f64) -> String {
    let whole = Duration::from_secs_f64(seconds.max(0.0)).as_secs();
    match whole {
        0..100 => format!("{whole} s"),
        100..6000 => format!("{} min", (whole + 30) / 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ENVIRONMENT, HOST, INSTRUCTIONS, VALIDATION, VERDICT};
    use super::*;

    fn after(file: &Path, last: &[(&str, f64, f64)]) -> Progress {
        let store = Store::at(file, "all");
        let took = |&(phase, began, ended): &(&str, f64, f64)| Took {
            phase: phase.to_owned(),
            began,
            ended,
        };
        store.keep(&last.iter().map(took).collect::<Vec<_>>()).unwrap();
        Progress::of_store(store)
    }

    /// A boot takes 20 s, and so does the time between the guest's end and the verdict.
    const LAST: [(&str, f64, f64); 5] = [
        (HOST, 0.0, 230.0),
        (ENVIRONMENT, 250.0, 377.0),
        (VALIDATION, 377.0, 980.0),
        (INSTRUCTIONS, 1000.0, 1180.0),
        (VERDICT, 1200.0, 1202.0),
    ];

    fn progress() -> (tempfile::TempDir, Progress) {
        let room = tempfile::tempdir().unwrap();
        let progress = after(&room.path().join("times"), &LAST);
        (room, progress)
    }

    #[test]
    fn a_first_run_says_where_it_is_and_promises_nothing() {
        let room = tempfile::tempdir().unwrap();
        let store = Store::at(&room.path().join("times"), "all");
        let progress = Progress::of_store(store);
        assert_eq!(progress.outlook(), None);
        assert_eq!(progress.begins(HOST), "");
        assert_eq!(progress.now(), Some(format!("phase {HOST}, for 0 s")));
        progress.ends(HOST);
        assert_eq!(progress.now(), None);
    }

    #[test]
    fn the_next_run_knows_how_long_it_will_take() {
        let (_room, progress) = progress();
        let outlook = progress.outlook().unwrap();
        assert!(outlook.starts_with("the last run here took 20 min ("), "{outlook}");
        assert!(outlook.contains("2 VM environment and equivalence: 2 min; "), "{outlook}");
        let said = progress.begins(HOST);
        assert_eq!(said, " (1 of 5; last time 4 min, and 20 min from here to the end)");
    }

    #[test]
    fn what_is_left_goes_down_and_waits_for_a_phase_that_takes_longer() {
        let (_room, progress) = progress();
        let run = progress.0.as_ref().unwrap();
        run.begins(VALIDATION, 400.0);
        let shown = |now| run.shows(now).unwrap();
        assert_eq!(
            shown(460.0),
            "phase 3 VM validation, for 60 s, of 10 min; about 13 min to go in all"
        );
        assert!(shown(940.0).ends_with("for 9 min, of 10 min; about 5 min to go in all"));
        let late = "for 17 min, longer than 10 min; about 4 min to go in all";
        assert!(shown(1400.0).ends_with(late), "{}", shown(1400.0));
        run.ends(VALIDATION, 1401.0);
        assert_eq!(run.shows(1402.0), None);
    }

    #[test]
    fn the_guests_phases_are_read_from_what_it_prints() {
        let (_room, progress) = progress();
        let begun = progress.reads("== phase 3 VM validation");
        assert_eq!(
            begun,
            "== phase 3 VM validation (3 of 5; last time 10 min, and 14 min from here to the end)"
        );
        let now = progress.now().unwrap();
        assert!(now.starts_with("phase 3 VM validation, for"), "{now}");
        let done = "== phase 3 VM validation: done after 603 s: FUSE, baseline, module";
        assert_eq!(progress.reads(done), done);
        assert_eq!(progress.now(), None);
        progress.reads("== phase 3 VM validation");
        progress
            .reads("== phase 3 VM validation: NOT RUN after 0 s: the environment is not proven");
        progress.keep();
        assert_eq!(progress.0.as_ref().unwrap().store.last().len(), LAST.len());
        // The name of one phase begins with that of another.
        progress.reads("== phase 3 VM validation, guest instructions");
        assert!(progress.now().unwrap().contains("guest instructions, for"));
        for other in ["", "== phase", "== phase 9 unknown", "PASS module::loads"] {
            assert_eq!(progress.reads(other), other);
        }
    }

    #[test]
    fn only_a_complete_run_is_kept() {
        let (_room, progress) = progress();
        let store = progress.0.as_ref().unwrap().store.clone();
        progress.begins(HOST);
        progress.keep();
        assert_eq!(store.last().len(), LAST.len(), "a run that goes on is no complete one");
        progress.ends(HOST);
        progress.keep();
        let kept = store.last();
        assert_eq!(kept.len(), 1);
        assert!(kept[0].phase == HOST && kept[0].ended >= kept[0].began);
    }

    #[test]
    fn without_times_there_is_nothing_to_say() {
        let none = Progress::none();
        assert_eq!(none.begins(HOST), "");
        none.ends(HOST);
        assert_eq!(none.now(), None);
        assert_eq!(none.outlook(), None);
        assert_eq!(none.reads("== phase 4 verdict"), "== phase 4 verdict");
        none.keep();
    }

    #[rstest::rstest]
    #[case(-1.0, "0 s")]
    #[case(99.4, "99 s")]
    #[case(100.0, "2 min")]
    #[case(1512.0, "25 min")]
    #[case(7260.0, "2 h 1 min")]
    fn times_are_as_exact_as_a_person_needs(#[case] seconds: f64, #[case] words: &str) {
        assert_eq!(in_words(seconds), words);
    }
}
