//! Checks `guest.jsonl` against what the launcher saw from outside.
//!
//! Each line holds the hash of the line before it, so the last line is not protected. The launcher
//! therefore records on the host, in the host's own chain, how many lines there were when a guest
//! ended, and the hash of the last one.

use crate::event::{Event, Record};
use crate::guest::GuestEnded;
use crate::reader::Trail;

/// What is wrong with the guest's evidence according to the launcher: lines that were removed,
/// changed or added after a guest ended, and guests whose end was never recorded.
pub fn against_the_launcher(host: Option<&Trail>, guest: Option<&Trail>) -> Vec<String> {
    let (mut ends, mut launched) = (Vec::new(), 0);
    for record in host.into_iter().flat_map(|trail| &trail.records) {
        match &record.event {
            Event::GuestLaunched(_) => launched += 1,
            Event::GuestEnded(end) => ends.push(end),
            _ => {}
        }
    }
    let mut damage = lines_against(&ends, guest);
    if launched > ends.len() && damage.is_empty() {
        damage.push(format!(
            "host evidence: there is no word on how a guest ended; launched: {launched}, ended: {}",
            ends.len()
        ));
    }
    damage
}

fn lines_against(ends: &[&GuestEnded], guest: Option<&Trail>) -> Vec<String> {
    let at = |line: usize, what: &str| format!("guest evidence, line {line}: {what}");
    let seen = || ends.iter().filter_map(|end| end.evidence.as_ref());
    let Some(guest) = guest.filter(|trail| !trail.hashes.is_empty()) else {
        return seen().map(|end| at(end.lines, "is missing, as is the file")).collect();
    };
    let changed = seen().filter_map(|end| guest.since(end));
    let mut damage: Vec<String> = changed.map(|one| at(one.line, &one.what)).collect();
    let last = ends.last().and_then(|end| end.evidence.as_ref()).map_or(0, |end| end.lines);
    if guest.hashes.len() > last {
        let what = match ends.last() {
            None => {
                "there is no word of the launcher on how the guest ended: it was killed, or the \
                 host's records are cut off"
            }
            Some(_) => {
                "was not there when the guest ended, as the launcher last recorded: the end of a \
                 later guest is lost, or somebody has added to the evidence"
            }
        };
        damage.push(at(last + 1, what));
    } else if let Some(line) = boots(guest).nth(ends.len()) {
        let what = format!("a guest begins here, one more than the {} that ended", ends.len());
        damage.push(at(line, &what));
    }
    damage
}

/// The line numbers at which boots of the guest begin; only approximate in a damaged trail.
fn boots(guest: &Trail) -> impl Iterator<Item = usize> {
    let records = guest.records.iter().enumerate();
    let begins = |(index, record): (usize, &Record)| {
        matches!(record.event, Event::Environment(_)).then_some(index + 1)
    };
    records.filter_map(begins)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::clock::Clock;
    use crate::environment::Environment;
    use crate::guest::{Accelerator, EndOfTrail, GuestFault, GuestLaunch, Qemu};
    use crate::place::Place;
    use crate::processor::Processor;
    use crate::reader::{end_of_trail, read_trail};
    use crate::writer::Writer;

    /// A run's directory under construction.
    struct MadeTrails(tempfile::TempDir);

    impl MadeTrails {
        fn new() -> Self {
            MadeTrails(tempfile::tempdir().unwrap())
        }

        fn write(self, place: Place, event: Event) -> Self {
            Writer::open(self.0.path(), place).unwrap().write(event).unwrap();
            self
        }

        /// Records a boot, and a trial in it.
        fn boots(self) -> Self {
            let environment = Environment {
                place_reason: "made up".into(),
                place_marks: vec![],
                kernel_release: "6.12.117+deb12-amd64".into(),
                cpu: "QEMU TCG CPU".into(),
                cpus: 2,
                memory_kib: 8_000_000,
                accelerator: Processor::Tcg,
                commit: "c0ffee".into(),
                programs: BTreeMap::new(),
                versions: BTreeMap::new(),
                clock: None,
                detectors: vec![],
                variables: BTreeMap::new(),
            };
            self.write(Place::Guest, Event::Environment(Box::new(environment)))
                .write(Place::Guest, Event::TrialStarted { trial: "module::loads".into() })
        }

        /// The launcher records how it launched the guest.
        fn launched(self) -> Self {
            let launch = GuestLaunch {
                accelerator: Accelerator::Tcg,
                accelerator_reason: "made up".into(),
                clock: Clock::Wall,
                qemu: Qemu { path: "/usr/bin/qemu".into(), version: "10.0.2".into() },
                kernel_release: "6.12.117+deb12-amd64".into(),
                memory_mib: 8192,
                cpus: 2,
                detectors: vec![],
                command_line: vec!["virtme-run".into()],
            };
            self.write(Place::Host, Event::GuestLaunched(Box::new(launch)))
        }

        /// The launcher records that the guest ended.
        fn ended(self, evidence: Option<EndOfTrail>) -> Self {
            let end = GuestEnded {
                how: "the guest's command ended with status 0".into(),
                fault: GuestFault::None,
                code: Some(0),
                console_tail: vec![],
                trouble: vec![],
                host_changes: vec![],
                boot_seconds: None,
                first_output_seconds: None,
                total_seconds: 1.0,
                accelerator: Accelerator::Tcg,
                evidence,
            };
            self.write(Place::Host, Event::GuestEnded(end))
        }

        fn ends(self) -> Self {
            let seen = end_of_trail(self.0.path(), Place::Guest).unwrap();
            self.ended(seen)
        }

        fn damage(self) -> Vec<String> {
            let trail = |place| read_trail(self.0.path(), place).unwrap();
            against_the_launcher(trail(Place::Host).as_ref(), trail(Place::Guest).as_ref())
        }
    }

    #[test]
    fn every_boot_has_its_end() {
        assert_eq!(MadeTrails::new().damage(), [""; 0]);
        assert_eq!(MadeTrails::new().ends().damage(), [""; 0], "a guest that never came up");
        assert_eq!(MadeTrails::new().boots().ends().damage(), [""; 0]);
        assert_eq!(MadeTrails::new().boots().ends().boots().ends().damage(), [""; 0]);
        assert_eq!(
            MadeTrails::new().ends().boots().ends().damage(),
            [""; 0],
            "the second one came up"
        );
    }

    #[rstest::rstest]
    #[case::of_the_only_one(MadeTrails::new().boots(), 1, "no word of the launcher")]
    #[case::of_the_second(MadeTrails::new().boots().ends().boots(), 3, "the end of a later guest is lost")]
    #[case::of_the_first(MadeTrails::new().boots().boots().ends(), 3, "one more than the 1 that ended")]
    #[case::of_its_evidence(MadeTrails::new().boots().ended(None), 1, "was not there")]
    #[case::after_it(
        MadeTrails::new().boots().ends().write(Place::Guest, Event::PhaseStarted { phase: "x".into() }),
        3,
        "somebody has added"
    )]
    fn a_missing_word_is_damage(
        #[case] made: MadeTrails,
        #[case] line: usize,
        #[case] words: &str,
    ) {
        let damage = made.damage();
        assert_eq!(damage.len(), 1, "{damage:?}");
        let begins = format!("guest evidence, line {line}: ");
        assert!(damage[0].starts_with(&begins) && damage[0].contains(words), "{damage:?}");
    }

    #[test]
    fn a_guest_that_was_launched_has_its_end() {
        let damage = MadeTrails::new().launched().damage();
        assert!(damage.len() == 1 && damage[0].contains("launched: 1, ended: 0"), "{damage:?}");
        assert_eq!(MadeTrails::new().launched().boots().ends().damage(), [""; 0]);
        let damage = MadeTrails::new().launched().boots().ends().launched().damage();
        assert!(damage.len() == 1 && damage[0].contains("launched: 2, ended: 1"), "{damage:?}");
    }
}
