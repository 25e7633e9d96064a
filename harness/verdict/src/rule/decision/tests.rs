//! Decisions on made-up rounds.

use evidence::Side;
use evidence::noise::Noise;
use evidence::protocol::{PROTOCOL, controlled_order_of};
use evidence::thresholds::{FUSE_OVER_QDRANT_FLAT, FUSE_OVER_QDRANT_INSERTION};
use serde_json::json;

use super::*;

/// Twenty rounds: A at 1000, B at `b`, the copies at `again` and `slowed`. In every other round the
/// copy is faster by a nanosecond, because measured times are never all equal.
fn decided(b: u64, again: u64, slowed: u64, strictly: bool) -> Decision {
    let controls = Controls {
        again_ns: vec![again],
        slowed_ns: vec![slowed],
        a_unseen_ns: vec![2000, 900, 1100],
        b_unseen_ns: vec![b],
    };
    with_controls(b, &controls, strictly)
}

fn with_controls(b: u64, controls: &Controls, strictly: bool) -> Decision {
    let rounds = (0..PROTOCOL.rounds()).map(|index| Round {
        order: controlled_order_of(index),
        a_ns: vec![1000],
        b_ns: vec![b],
        controls: Some(unlike(index, controls)),
        noise: None,
    });
    Decision::of(&measurement(rounds.collect(), strictly)).unwrap()
}

fn unlike(index: usize, controls: &Controls) -> Controls {
    let faster = |time: &u64| time - index as u64 % 2;
    Controls { again_ns: controls.again_ns.iter().map(faster).collect(), ..controls.clone() }
}

fn measurement(rounds: Vec<Round>, strictly: bool) -> Measurement {
    let side = Side { contender: "x".to_owned(), recall: None, description: json!({}) };
    Measurement {
        trial: "x".to_owned(),
        rule: "x".to_owned(),
        threshold: 1.0,
        strictly,
        decides: true,
        clock: Clock::Wall,
        operations_per_round: 1,
        warmups: PROTOCOL.warmups,
        slowed_by: SLOWED_BY,
        a: side.clone(),
        b: side,
        passes: vec![rounds],
        disturbed: vec![],
        cut_short: None,
    }
}

#[test]
fn what_must_lie_above_is_not_met_by_reaching_it() {
    assert_eq!(decided(1000, 1000, 1050, true).outcome(), Outcome::Inconclusive);
    assert_eq!(decided(1000, 1000, 1050, false).outcome(), Outcome::Pass);
    assert_eq!(decided(1001, 1000, 1050, true).outcome(), Outcome::Pass);
    assert!(!decided(1000, 1000, 1050, false).is_improvement());
    assert!(decided(1001, 1000, 1050, false).is_improvement());
}

#[test]
fn answers_from_memory_decide_nothing() {
    let controls = Controls {
        again_ns: vec![1000],
        slowed_ns: vec![1050],
        a_unseen_ns: vec![4000, 3500, 9000, 3600],
        b_unseen_ns: vec![],
    };
    let decision = with_controls(3000, &controls, false);
    assert_eq!(decision.outcome(), Outcome::Inconclusive);
    let words = "A takes 3.5 times as long (at least 3.5) for queries that it was never asked";
    assert!(decision.to_string().contains(words), "{decision}");
    // One query of four ran at full speed, so the machine was to blame for the others.
    let disturbed = Controls { a_unseen_ns: vec![4000, 1100, 9000, 3600], ..controls };
    assert_eq!(with_controls(3000, &disturbed, false).outcome(), Outcome::Pass);
}

#[rstest::rstest]
#[case::copy_is_slower(3000, 3100, 3255, "with the copy in A's place it is 0.968")]
#[case::copy_is_faster(1500, 500, 525, "with the error turned round 0.7")]
#[case::slow_down_not_seen(3000, 1000, 1000, "slowed down by 5 % was not found (1.00")]
#[case::slowed_down_by_less(3000, 1000, 1020, "slowed down by 5 % was not found (1.0")]
#[case::slowed_down_by_more(3000, 1000, 1090, "which is not 5 %")]
#[case::off_without_room(1015, 1000, 1080, "no room for what that is off by")]
#[case::less_without_room(1010, 1000, 1030, "no room for what that is off by")]
fn a_control_that_contradicts_decides_nothing(
    #[case] b: u64,
    #[case] again: u64,
    #[case] slowed: u64,
    #[case] words: &str,
) {
    let decision = decided(b, again, slowed, false);
    assert_eq!(decision.outcome(), Outcome::Inconclusive);
    assert!(!decision.is_improvement());
    assert!(decision.to_string().contains(words), "{decision}");
}

#[rstest::rstest]
#[case::no_difference(1000, 1050, Outcome::Pass)]
#[case::slowed_by_more_with_room(1000, 1080, Outcome::Pass)]
#[case::slowed_by_less_with_room(1000, 1030, Outcome::Pass)]
#[case::slower_with_room(1010, 1060, Outcome::Pass)]
#[case::much_slower_with_room(2000, 2100, Outcome::Pass)]
#[case::faster_with_room(500, 525, Outcome::Pass)]
#[case::faster_without(300, 315, Outcome::Inconclusive)]
fn what_a_copy_is_off_by_is_taken_from_the_ratio(
    #[case] again: u64,
    #[case] slowed: u64,
    #[case] outcome: Outcome,
) {
    let decision = decided(3000, again, slowed, false);
    assert_eq!(decision.outcome(), outcome, "{decision}");
    let Calibrated { alone, by_copy, .. } = decision.calibrated;
    assert!((alone.estimate - 3.0).abs() < 1e-9);
    assert!(decision.ratio.lower <= by_copy.lower.min(alone.lower));
}

/// A blurred measurement says so, and still decides if the ratio is far from its threshold.
#[test]
fn a_slow_down_that_is_not_told_apart_is_said_beside_the_ratio() {
    let round = |index: usize| {
        let controls = Controls {
            again_ns: vec![1000],
            slowed_ns: vec![[850, 950, 1150, 1250][index % 4]],
            ..Controls::default()
        };
        Round {
            order: controlled_order_of(index),
            a_ns: vec![1000],
            b_ns: vec![5000],
            controls: Some(unlike(index, &controls)),
            noise: None,
        }
    };
    let rounds = (0..PROTOCOL.rounds()).map(round).collect();
    let decision = Decision::of(&measurement(rounds, true)).unwrap();
    assert_eq!((decision.outcome(), decision.blurs()), (Outcome::Pass, true), "{decision}");
    assert!(decision.to_string().contains("5 % is not told apart here (1.0"), "{decision}");
}

#[test]
fn times_that_were_copied_are_no_control() {
    let mut measurement = closely(20_000);
    for round in measurement.passes.iter_mut().flatten() {
        round.controls.as_mut().unwrap().again_ns = round.a_ns.clone();
    }
    let why = Decision::of(&measurement).unwrap_err();
    assert!(why.contains("in 20 of 20 rounds: the control was not run"), "{why}");
    for round in measurement.passes.iter_mut().flatten() {
        round.controls = None;
    }
    let why = Decision::of(&measurement).unwrap_err();
    assert_eq!(why, "a round has no controls: no copy of A was run");
}

/// B takes `b` nanoseconds for every 10,000 of A's.
fn closely(b: u64) -> Measurement {
    let controls =
        Controls { again_ns: vec![10_000], slowed_ns: vec![10_500], ..Controls::default() };
    let round = |index| Round {
        order: controlled_order_of(index),
        a_ns: vec![10_000],
        b_ns: vec![b],
        controls: Some(unlike(index, &controls)),
        noise: None,
    };
    measurement((0..PROTOCOL.rounds()).map(round).collect(), true)
}

#[rstest::rstest]
#[case(Clock::Wall, 10_010, Outcome::Pass)]
#[case(Clock::Instructions, 10_010, Outcome::Inconclusive)]
#[case(Clock::Instructions, 10_030, Outcome::Inconclusive)]
#[case(Clock::Instructions, 9_970, Outcome::Inconclusive)]
#[case(Clock::Instructions, 10_060, Outcome::Pass)]
#[case(Clock::Instructions, 9_940, Outcome::Fail)]
fn what_a_clock_does_not_resolve_decides_nothing(
    #[case] clock: Clock,
    #[case] b: u64,
    #[case] outcome: Outcome,
) {
    let decision = Decision::of(&Measurement { clock, ..closely(b) }).unwrap();
    assert_eq!(decision.outcome(), outcome, "{decision}");
    assert_eq!(decision.is_improvement(), outcome == Outcome::Pass);
}

/// A round in which a task waited for `share` of the time.
fn disturbed(share: Option<f64>) -> Round {
    let waiting_us = share.map(|share| (share * 1e6) as u64);
    let noise = Noise { wall_us: 1_000_000, waiting_us, stolen_us: Some(0) };
    Round { noise: Some(noise), ..closely(20_000).passes[0][0].clone() }
}

#[rstest::rstest]
#[case::disturbed(vec![disturbed(Some(0.3)); 5], Clock::Wall, None)]
#[case::too_many(vec![disturbed(Some(0.3)); 6], Clock::Wall, Some("6 rounds were put aside"))]
#[case::by_instructions(
    vec![disturbed(Some(0.3))], Clock::Instructions, Some("where 0 may be")
)]
#[case::quiet(
    vec![disturbed(Some(0.3)), disturbed(Some(0.2))], Clock::Wall, Some("that was not")
)]
#[case::not_known(vec![disturbed(None)], Clock::Wall, Some("that was not"))]
fn only_what_was_disturbed_is_put_aside(
    #[case] disturbed: Vec<Round>,
    #[case] clock: Clock,
    #[case] why: Option<&str>,
) {
    let decided = Decision::of(&Measurement { disturbed, clock, ..closely(20_000) });
    match (decided, why) {
        (Ok(decision), None) => assert_eq!(decision.outcome(), Outcome::Pass),
        (Err(found), Some(why)) => assert!(found.contains(why), "{found}"),
        (decided, _) => panic!("{decided:?}"),
    }
}

#[rstest::rstest]
#[case::not_written_down(0.0)]
#[case::another(0.5)]
fn the_slow_down_is_the_registered_one(#[case] slowed_by: f64) {
    let why = Decision::of(&Measurement { slowed_by, ..closely(20_000) }).unwrap_err();
    assert!(why.contains("where 0.05 is registered"), "{why}");
}

/// A hundred queries per round.
fn searched() -> Measurement {
    let controls = Controls {
        again_ns: vec![1000; 100],
        slowed_ns: vec![1050; 100],
        a_unseen_ns: vec![1000; 4],
        b_unseen_ns: vec![3000; 4],
    };
    let round = |index| Round {
        order: controlled_order_of(index),
        a_ns: vec![1000; 100],
        b_ns: vec![3000; 100],
        controls: Some(unlike(index, &controls)),
        noise: None,
    };
    let rounds = (0..PROTOCOL.rounds()).map(round).collect();
    let mut all = Measurement { operations_per_round: 100, ..measurement(rounds, false) };
    (all.a.recall, all.b.recall) = (Some(1.0), Some(1.0));
    all
}

/// Cuts the samples of each side and the unseen queries of all rounds to the given numbers.
fn cut(measurement: &mut Measurement, samples: usize, unseen: usize) {
    for round in measurement.passes.iter_mut().flatten() {
        let controls = round.controls.as_mut().unwrap();
        for times in
            [&mut round.a_ns, &mut round.b_ns, &mut controls.again_ns, &mut controls.slowed_ns]
        {
            times.truncate(samples);
        }
        controls.a_unseen_ns.truncate(unseen);
    }
}

#[rstest::rstest]
#[case::all(|_: &mut Measurement| {}, false, None)]
#[case::no_recall(|one: &mut Measurement| one.a.recall = None, false, Some("recall of a side"))]
#[case::no_other_recall(
    |one: &mut Measurement| one.b.recall = None, false, Some("recall of a side")
)]
#[case::no_recall_and_nothing_unseen(
    |one: &mut Measurement| { one.a.recall = None; cut(one, 100, 0); }, false, Some("recall of a side")
)]
#[case::an_unseen_less(
    |one: &mut Measurement| cut(one, 100, 3), false, Some("open with 4 queries that are new")
)]
#[case::one_sample(
    |one: &mut Measurement| cut(one, 1, 4), false, Some("1 samples of a side, expected 100")
)]
#[case::first_queries(
    |one: &mut Measurement| { one.operations_per_round = 25; cut(one, 25, 4); }, false,
    Some("25 operations a round, where [100]")
)]
#[case::first_queries_where_emulated(
    |one: &mut Measurement| { one.operations_per_round = 25; cut(one, 25, 4); }, true, None
)]
#[case::fewer_where_emulated(
    |one: &mut Measurement| { one.operations_per_round = 24; cut(one, 24, 4); }, true,
    Some("24 operations a round")
)]
fn a_search_shows_all_that_it_is_asked_for(
    #[case] spoil: fn(&mut Measurement),
    #[case] emulated: bool,
    #[case] why: Option<&str>,
) {
    let mut measurement = searched();
    spoil(&mut measurement);
    let found = Decision::by(&FUSE_OVER_QDRANT_FLAT, emulated, &measurement).err();
    assert_eq!(found.is_some(), why.is_some(), "{found:?}");
    assert!(found.unwrap_or_default().contains(why.unwrap_or_default()));
}

#[rstest::rstest]
#[case::one_operation(|_: &mut Measurement| {}, None)]
#[case::of_another_batch(
    |one: &mut Measurement| one.operations_per_round = 40, Some("40 operations a round")
)]
#[case::done_again(
    |one: &mut Measurement| one.disturbed = vec![disturbed(Some(0.3))], Some("stored once")
)]
#[case::a_search(
    |one: &mut Measurement| *one = Measurement { operations_per_round: 400, ..searched() },
    Some("100 samples of a side, expected 1")
)]
fn an_insertion_is_one_operation_a_round(
    #[case] spoil: fn(&mut Measurement),
    #[case] why: Option<&str>,
) {
    let mut measurement = Measurement { operations_per_round: 400, ..closely(20_000) };
    spoil(&mut measurement);
    let found = Decision::by(&FUSE_OVER_QDRANT_INSERTION, false, &measurement).err();
    assert_eq!(found.is_some(), why.is_some(), "{found:?}");
    assert!(found.unwrap_or_default().contains(why.unwrap_or_default()));
}
