//! What makes a module eligible, and what is reported missing for each condition that is not met.

use evidence::guest::Accelerator;
use evidence::processor::Processor;
use evidence::thresholds;
use evidence::{Event, TrialState};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::made::{MadeRun, finished, measurement, recorded};
use crate::soak::tests::{MadeSoak, SRCVERSION};

const SOURCES: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const OTHER_SOURCES: &str = "6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b6b";
const RELEASE: &str = "6.12.117+deb12-amd64";

pub(crate) fn guest_environment(run: &mut MadeRun) -> &mut evidence::Environment {
    let found = run.guest.iter_mut().find_map(|event| match event {
        Event::Environment(one) => Some(one),
        _ => None,
    });
    found.unwrap()
}

/// A run on KVM in which everything was measured and the module is identified.
pub(crate) fn on_kvm() -> MadeRun {
    let mut run = MadeRun::healthy();
    run.guest.retain(|event| !matches!(event, Event::Measurement(_)));
    let measured = thresholds::ALL.iter().map(|rule| measurement(rule, Place::Guest, false, 3.0));
    run.guest.extend(measured);
    for event in &mut run.host {
        if let Event::GuestEnded(end) = event {
            end.accelerator = Accelerator::Kvm;
        }
    }
    let environment = guest_environment(&mut run);
    environment.accelerator = Processor::Kvm;
    environment.kernel_release = RELEASE.into();
    environment.commit = "c0ffee".into();
    environment.programs = [("vexfs.ko".into(), "5ha".into())].into();
    // On an emulated CPU, recorded figures decide nothing.
    let recorded_there = "baseline::recorded";
    run.guest
        .retain(|event| !matches!(event, Event::Fact { trial, .. } if trial == recorded_there));
    run.guest.extend(recorded(Place::Guest, false, 3.0));
    run.guest.push(Event::Fact {
        trial: "module::loads".into(),
        name: MODULE.into(),
        value: json!({"vermagic": RELEASE, "srcversion": SRCVERSION}),
    });
    run
}

/// Removes a fact from both places.
fn forget(run: &mut MadeRun, fact: &str) {
    for events in [&mut run.host, &mut run.guest] {
        events.retain(|event| !matches!(event, Event::Fact { name, .. } if name == fact));
    }
}

fn judged(run: MadeRun, soaks: Vec<Soak>) -> BareMetal {
    let dir = TempDir::new().unwrap();
    run.write(dir.path());
    let mut evidence = Evidence::read(dir.path()).unwrap();
    evidence.soaks = soaks;
    crate::judge::of(&evidence).bare_metal
}

pub(crate) fn named_soaks(soaks: [MadeSoak; 4]) -> Vec<Soak> {
    let names = ["old", "new", "real-time", "newest"];
    names.into_iter().zip(soaks).map(|(name, made)| made.soak(name)).collect()
}

pub(crate) fn soaks() -> [MadeSoak; 4] {
    ["6.1.0-56-amd64", RELEASE, "6.12.117+deb12-rt-amd64", "7.3.4+deb13-amd64"]
        .map(|release| MadeSoak::held(release, ENDURANCE.cycles))
}

#[test]
fn all_four_conditions_make_it_eligible() {
    let bare_metal = judged(on_kvm(), named_soaks(soaks()));
    assert_eq!(bare_metal.state, "ELIGIBLE", "{:#?}", bare_metal.conditions);
    insta::assert_json_snapshot!(bare_metal.conditions);
}

fn another_environment(made: &mut MadeSoak, change: fn(&mut evidence::Environment)) {
    for event in &mut made.guest {
        if let Event::Environment(one) = event {
            change(one);
        }
    }
}

/// Makes `commit` the one that the run and the soak were built from.
fn of_commit(run: &mut MadeRun, made: &mut MadeSoak, commit: &str) {
    guest_environment(run).commit = commit.into();
    for event in &mut made.guest {
        if let Event::Environment(one) = event {
            one.commit = commit.into();
        }
    }
}

/// Makes A as fast as B in every measurement of `rule`.
fn as_fast(run: &mut MadeRun, rule: &str) {
    for event in &mut run.guest {
        if let Event::Measurement(one) = event
            && one.rule == rule
        {
            for round in one.passes.iter_mut().flatten() {
                round.b_ns.clone_from(&round.a_ns);
            }
        }
    }
}

type Spoil = fn(&mut MadeRun, &mut [MadeSoak; 4]);

#[rstest::rstest]
#[case::a_failed_trial(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| run.guest.extend(finished("module::loads", TrialState::Failed, "EINVAL")),
    "vm", "module::loads (failed)"
)]
#[case::an_emulated_cpu(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| {
        guest_environment(run).accelerator = Processor::Tcg;
        for event in &mut run.host {
            if let Event::GuestEnded(end) = event { end.accelerator = Accelerator::Tcg; }
        }
    },
    "improvement", "never counts here"
)]
#[case::not_faster(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| as_fast(run, "kernel_over_fuse_insertion"),
    "improvement", "kernel over FUSE, Flat insertion: 1.000"
)]
#[case::no_soak(|_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| soaks[1] = MadeSoak::held("6.1.0-56-amd64", 1), "endurance", "no soak on 6.12")]
#[case::no_soak_on_preempt_rt(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| soaks[2] = MadeSoak::held(RELEASE, ENDURANCE.cycles),
    "endurance", "no soak on 6.12-rt"
)]
#[case::no_soak_on_the_newest(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| soaks[3] = MadeSoak::held(RELEASE, ENDURANCE.cycles),
    "endurance", "no soak on 7.3"
)]
#[case::too_short(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| soaks[0] = MadeSoak::held("6.1.0-56-amd64", 999),
    "endurance", "does not count: 7193 of 7200 s under load; 999 of 1000 cycles"
)]
#[case::another_module(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| for event in &mut soaks[1].guest {
        if let Event::Fact { name, value, .. } = event && name == MODULE {
            *value = json!({"srcversion": "FEDCBA"});
        }
    },
    "endurance", "it is of another module (srcversion FEDCBA"
)]
#[case::another_file(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| another_environment(&mut soaks[1], |one| { one.programs.clear(); }),
    "endurance", "its module file is another than this run's"
)]
#[case::another_commit(
    |_: &mut MadeRun, soaks: &mut [MadeSoak; 4]| another_environment(&mut soaks[0], |one| one.commit = "decaf".into()),
    "endurance", "it is of another commit (decaf, this run's is c0ffee)"
)]
#[case::changes_in_no_commit(
    |run: &mut MadeRun, soaks: &mut [MadeSoak; 4]| of_commit(run, &mut soaks[0], "c0ffee-dirty"),
    "endurance", "commit c0ffee-dirty does not say of which sources"
)]
#[case::no_checkout(
    |run: &mut MadeRun, soaks: &mut [MadeSoak; 4]| of_commit(run, &mut soaks[0], "unknown"),
    "endurance", "commit unknown does not say of which sources"
)]
#[case::no_file(
    |run: &mut MadeRun, soaks: &mut [MadeSoak; 4]| {
        guest_environment(run).programs.clear();
        another_environment(&mut soaks[1], |one| one.programs.clear());
    },
    "endurance", "its module file is another than this run's"
)]
#[case::no_module_named(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| run.guest.retain(|event| !matches!(event, Event::Fact { name, .. } if name == MODULE)),
    "endurance", "this run does not say which module it tested"
)]
#[case::no_qdrant(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| run.guest.retain(|event| !matches!(event, Event::Measurement(one)
        if one.rule.starts_with("fuse_over_qdrant"))),
    "comparable", "Qdrant was not measured"
)]
#[case::nothing_recorded(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| forget(run, COMPARED),
    "comparable", "no recorded figure was compared"
)]
#[case::silent_about_the_rest(
    |run: &mut MadeRun, _: &mut [MadeSoak; 4]| forget(run, NOT_COMPARABLE),
    "comparable", "not shown which recorded figures"
)]
fn each_condition_is_needed(#[case] spoil: Spoil, #[case] id: &str, #[case] words: &str) {
    let (mut run, mut soaks) = (on_kvm(), soaks());
    spoil(&mut run, &mut soaks);
    let bare_metal = judged(run, named_soaks(soaks));
    assert_eq!(bare_metal.state, "NOT ELIGIBLE");
    let condition = bare_metal.conditions.iter().find(|one| one.id == id).unwrap();
    let missing = condition.missing.join("\n");
    assert!(!condition.met && missing.contains(words), "{missing}");
}

/// Somebody's own module on other kernels: the commit of this checkout does not tell of which
/// sources it was built.
#[rstest::rstest]
#[case::the_reference(SRCVERSION, None, None, true)]
#[case::no_srcversion("", None, None, false)]
#[case::own_of_the_same_sources("", Some(SOURCES), Some(SOURCES), true)]
#[case::own_with_a_version(SRCVERSION, Some(SOURCES), Some(SOURCES), true)]
#[case::own_of_other_sources(SRCVERSION, Some(SOURCES), Some(OTHER_SOURCES), false)]
#[case::own_as_a_file(SRCVERSION, Some("missing"), Some("missing"), false)]
#[case::own_against_the_reference(SRCVERSION, Some(SOURCES), None, false)]
#[case::the_reference_against_own(SRCVERSION, None, Some(SOURCES), false)]
fn on_other_kernels_a_module_is_told_by_its_sources(
    #[case] srcversion: &str,
    #[case] ours: Option<&str>,
    #[case] theirs: Option<&str>,
    #[case] is_same: bool,
) {
    let told = |environment: &mut evidence::Environment, sources: Option<&str>| {
        let sources = sources.map(|one| (OWN_MODULE_SOURCES.to_owned(), one.to_owned()));
        environment.programs.extend(sources);
    };
    let identify = |events: &mut Vec<Event>| {
        for event in events {
            if let Event::Fact { name, value, .. } = event
                && name == MODULE
            {
                value["srcversion"] = json!(srcversion);
            }
        }
    };
    let (mut run, mut soaks) = (on_kvm(), soaks());
    told(guest_environment(&mut run), ours);
    identify(&mut run.guest);
    for made in &mut soaks {
        identify(&mut made.guest);
        for event in &mut made.guest {
            if let Event::Environment(one) = event {
                told(one, theirs);
            }
        }
    }
    let bare_metal = judged(run, named_soaks(soaks));
    let condition = bare_metal.conditions.iter().find(|one| one.id == "endurance").unwrap();
    assert_eq!(condition.met, is_same, "{condition:#?}");
    let words = "it may be of another module";
    assert!(is_same || condition.missing.iter().all(|one| one.contains(words)), "{condition:#?}");
}

#[test]
fn a_longer_soak_heals_one_that_was_too_short_but_not_one_that_failed() {
    let mut failed = MadeSoak::held(RELEASE, 3);
    failed.guest.pop();
    failed.guest.extend(finished(
        evidence::facts::SOAK_TRIAL,
        TrialState::Failed,
        "cycle 3: EBUSY",
    ));
    let state = |further: MadeSoak| {
        let mut soaks = named_soaks(soaks());
        soaks.push(further.soak("further"));
        judged(on_kvm(), soaks).state
    };
    assert_eq!(state(MadeSoak::held(RELEASE, 3)), "ELIGIBLE");
    assert_eq!(state(failed), "NOT ELIGIBLE");
}
