//! Runs made up record by record, to test the verdict and the reports.

use std::collections::BTreeMap;
use std::path::Path;

use evidence::baselines::{Baselines, Figure, RatedOperation};
use evidence::clock::Clock;
use evidence::facts::{COMPARED, Compared, LOAD_CYCLES, LoadCycles, NOT_COMPARABLE, PROVENANCE};
use evidence::guest::{Accelerator, GuestLaunch, Qemu};
use evidence::noise::Noise;
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::protocol::{PROTOCOL, SLOWED_BY, controlled_order_of, of_first_queries};
use evidence::stats::failure_rate_bound;
use evidence::thresholds::{self, RuleOperation, RuleScene};
use evidence::{
    Controls, Environment, Event, GuestEnded, GuestFault, Measurement, Round, Side, TrialState,
    Writer, end_of_trail,
};
use serde_json::json;

use crate::judge::{self, Verdict};
use crate::trails::Evidence;

/// The record of a machine, the same on every host.
pub(crate) fn machine(accelerator: Processor) -> Environment {
    Environment {
        place_reason: "made up".into(),
        place_marks: vec![],
        kernel_release: "6.12.117+deb12-amd64".into(),
        cpu: "A processor".into(),
        cpus: 2,
        memory_kib: 8 << 20,
        accelerator,
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        programs: BTreeMap::new(),
        versions: BTreeMap::new(),
        clock: None,
        detectors: vec![],
        variables: BTreeMap::new(),
    }
}

/// A launch on that machine.
pub(crate) fn launch(accelerator: Accelerator, reason: &str) -> GuestLaunch {
    GuestLaunch {
        accelerator,
        accelerator_reason: reason.into(),
        clock: Clock::Wall,
        qemu: Qemu { path: "/usr/bin/qemu-system-x86_64".into(), version: "10.0.2".into() },
        kernel_release: "6.12.117+deb12-amd64".into(),
        memory_mib: 8192,
        cpus: 2,
        detectors: vec![],
        command_line: vec!["virtme-run".into()],
    }
}

fn environment(accelerator: Processor) -> Event {
    Event::Environment(Box::new(machine(accelerator)))
}

fn trials(place: Place) -> Vec<String> {
    let names: &[&str] = match place {
        Place::Host => &["fuse::mounts", "dataset::digests", "baseline::chromadb"],
        Place::Guest => &[
            "fuse::mounts",
            "dataset::digests",
            "baseline::chromadb",
            "module::loads",
            "kernel_vs_fuse::search",
        ],
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A run in which everything passes, as events of host and guest.
pub(crate) struct MadeRun {
    pub(crate) host: Vec<Event>,
    pub(crate) guest: Vec<Event>,
}

pub(crate) fn measurement(
    rule: &thresholds::Rule,
    place: Place,
    emulated: bool,
    ratio: f64,
) -> Event {
    let clock = rule.clock(place, emulated);
    let bound = rule.at(RuleScene { place, emulated, clock });
    let (operations, samples, unseen) = match rule.work {
        RuleOperation::Insertion => (PROTOCOL.insertion_batch, 1, 0),
        RuleOperation::Search if emulated => {
            (of_first_queries().queries, of_first_queries().queries, 4)
        }
        RuleOperation::Search => (PROTOCOL.queries, PROTOCOL.queries, 4),
    };
    let recall = (rule.work == RuleOperation::Search).then_some(1.0);
    let side = |name: &str| Side { contender: name.to_owned(), recall, description: json!({}) };
    let rounds = (0..25u8)
        .map(|index| Round {
            order: controlled_order_of(usize::from(index)),
            a_ns: vec![1_000_000; samples],
            // A little spread around the ratio.
            b_ns: vec![(1_000_000.0 * ratio * (1.0 + 0.001 * f64::from(index))) as u64; samples],
            controls: Some(Controls {
                again_ns: vec![999_000 + 2_000 * u64::from(index % 2); samples],
                slowed_ns: vec![1_050_000; samples],
                a_unseen_ns: vec![1_100_000; unseen],
                b_unseen_ns: vec![(1_100_000.0 * ratio) as u64; unseen],
            }),
            noise: Some(Noise { wall_us: 200_000, waiting_us: Some(900), stolen_us: Some(0) }),
        })
        .collect();
    Event::Measurement(Box::new(Measurement {
        trial: format!("{}::measured", rule.criterion.id()),
        rule: rule.id.to_owned(),
        threshold: bound.threshold,
        strictly: bound.strictly,
        decides: bound.decides,
        clock,
        operations_per_round: operations,
        warmups: 5,
        slowed_by: SLOWED_BY,
        a: side("vexfs"),
        b: side("other"),
        passes: vec![rounds],
        disturbed: vec![],
        cut_short: None,
    }))
}

/// Insertions at every recorded size, `ratio` times as fast as recorded.
pub(crate) fn recorded(place: Place, emulated: bool, ratio: f64) -> Vec<Event> {
    let fact = |name: &str, value| Event::Fact {
        trial: "baseline::recorded".into(),
        name: name.into(),
        value,
    };
    let scene = RuleScene { place, emulated, clock: Clock::Wall };
    let bound = thresholds::FUSE_OVER_RECORDED_INSERTION.at(scene);
    let baselines = Baselines::registered().unwrap();
    let insertions = |one: &&Figure| one.operation == RatedOperation::Insertion;
    let mut events: Vec<Event> = Vec::new();
    for figure in baselines.figures.iter().filter(insertions) {
        let nanoseconds = figure.rows as f64 / 25.0 / (figure.value * ratio) * 1e9;
        // A little spread around the ratio.
        let time = |index: u8| (nanoseconds * (1.0 + 0.002 * (f64::from(index) - 9.5))) as u64;
        let compared = Compared {
            figure: figure.clone(),
            threshold: bound.threshold,
            decides: figure.decides(bound),
            batch_ns: (0..20).map(time).collect(),
        };
        events.push(fact(COMPARED, json!(compared)));
    }
    let reason = "not comparable: ChromaDB's insertion of 10000 x 128 was not recorded";
    events.push(fact(PROVENANCE, json!(baselines.provenance)));
    events.push(fact(NOT_COMPARABLE, json!([reason])));
    events
}

/// All load/unload cycles of a trial, none of which left an allocation behind.
pub(crate) fn load_cycles(microseconds: Vec<u64>, kernel_memory_kib: Vec<i64>) -> LoadCycles {
    let done = microseconds.len();
    LoadCycles {
        done,
        used_every: 10,
        used: None,
        microseconds,
        kernel_memory_kib,
        live_allocations: vec![0; done],
        failure_rate_below: failure_rate_bound(done as u32, 0.05),
        confidence: 0.95,
    }
}

pub(crate) fn finished(trial: &str, state: TrialState, message: &str) -> [Event; 2] {
    [
        Event::TrialStarted { trial: trial.to_owned() },
        Event::TrialFinished {
            trial: trial.to_owned(),
            state,
            message: message.to_owned(),
            seconds: 0.1,
        },
    ]
}

impl MadeRun {
    /// A healthy run in an emulated guest.
    pub(crate) fn healthy() -> MadeRun {
        MadeRun::healthy_on(Accelerator::Tcg)
    }

    pub(crate) fn healthy_on(accelerator: Accelerator) -> MadeRun {
        let mut host = vec![environment(Processor::Native)];
        let mut guest = vec![
            environment(accelerator.into()),
            Event::SelfTest { passed: true, detail: "0 of 200 wrong".into() },
        ];
        for at in Place::ALL {
            host.push(Event::Expected { at, trials: trials(at) });
        }
        for (place, events) in [(Place::Host, &mut host), (Place::Guest, &mut guest)] {
            for trial in trials(place) {
                events.extend(finished(&trial, TrialState::Passed, ""));
            }
            let emulated = place == Place::Guest && accelerator == Accelerator::Tcg;
            for rule in thresholds::ALL {
                let clock = rule.clock(place, emulated);
                let bound = rule.at(RuleScene { place, emulated, clock });
                if bound.decides {
                    events.push(measurement(rule, place, emulated, bound.threshold * 1.5));
                }
            }
            events.extend(recorded(place, emulated, 3.0));
        }
        guest.push(Event::Fact {
            trial: "module::loads".into(),
            name: LOAD_CYCLES.into(),
            value: json!(load_cycles(vec![55_000; 300], vec![60_000; 300])),
        });
        host.push(Event::GuestEnded(GuestEnded {
            how: "the guest's command ended with status 0".into(),
            fault: GuestFault::None,
            code: Some(0),
            console_tail: vec![],
            trouble: vec![],
            host_changes: vec![],
            boot_seconds: Some(15.0),
            first_output_seconds: Some(16.0),
            total_seconds: 300.0,
            accelerator,
            evidence: None,
        }));
        MadeRun { host, guest }
    }

    pub(crate) fn verdict(self) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        self.write(dir.path());
        judge::of(&Evidence::read(dir.path()).unwrap())
    }

    pub(crate) fn write(mut self, dir: &Path) {
        for (place, events) in [(Place::Guest, &mut self.guest), (Place::Host, &mut self.host)] {
            let seen = end_of_trail(dir, Place::Guest).unwrap();
            let writer = Writer::open(dir, place).unwrap();
            for mut event in events.drain(..) {
                if let Event::GuestEnded(end) = &mut event {
                    end.evidence.clone_from(&seen);
                }
                writer.write(event).unwrap();
            }
        }
    }
}

pub(crate) fn states(verdict: &Verdict) -> String {
    let all: Vec<String> =
        verdict.criteria.iter().map(|one| format!("{}={}", one.id.id(), one.state)).collect();
    all.join(" ")
}

pub(crate) const PASSED: &str =
    "fuse=PASS baseline=PASS dataset=PASS module=PASS kernel_vs_fuse=PASS";
