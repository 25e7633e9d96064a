//! Comparisons with recorded figures, and what keeps a comparison from counting.

use evidence::Event;
use evidence::competitor::Competitor;
use serde_json::json;

use super::*;
use crate::judge::Verdict;
use crate::made::{MadeRun, PASSED, states};

fn with_recorded(change: impl Fn(&mut Compared)) -> Verdict {
    let mut run = MadeRun::healthy();
    for event in &mut run.host {
        if let Event::Fact { name, value, .. } = event
            && name == COMPARED
        {
            let mut compared: Compared = serde_json::from_value(value.clone()).unwrap();
            change(&mut compared);
            *value = json!(compared);
        }
    }
    run.verdict()
}

/// Selects only the figure of 949 rows a second.
fn is_949(one: &Compared) -> bool {
    (one.figure.value, one.figure.rows) == (948.54, 10_000)
}

fn faster(one: &mut Compared, factor: f64) {
    one.batch_ns.iter_mut().for_each(|time| *time = (*time as f64 / factor) as u64);
}

#[rstest::rstest]
#[case::above(2.3 / 3.0, "PASS", "")]
#[case::astride(2.2 / 3.0, "INCONCLUSIVE", "2.200 [2.180, 2.220] against 2.2")]
#[case::below(2.1 / 3.0, "FAIL", "2.100 [2.081, 2.119] against 2.2")]
fn a_recorded_figure_has_bounds_on_one_side_of_the_threshold_or_decides_nothing(
    #[case] factor: f64,
    #[case] state: &str,
    #[case] words: &str,
) {
    let verdict = with_recorded(|one| {
        if is_949(one) {
            faster(one, factor);
        }
    });
    assert_eq!(states(&verdict), PASSED.replace("baseline=PASS", &format!("baseline={state}")));
    let reasons = &verdict.criteria[1].reasons;
    let text: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
    assert_eq!(reasons.len(), usize::from(!words.is_empty()), "{text:?}");
    assert!(words.is_empty() || text[0].contains(words), "{text:?}");
}

#[rstest::rstest]
#[case::fewer_batches(|one: &mut Compared| one.batch_ns.truncate(19), "the protocol asks for 20")]
#[case::other_threshold(|one: &mut Compared| one.threshold = 1.0, "another rule")]
#[case::decides_nothing(|one: &mut Compared| one.decides = false, "another rule")]
#[case::other_figure(|one: &mut Compared| one.figure.value = 94.8, "another figure")]
#[case::of_another_size(|one: &mut Compared| one.figure.rows = 100, "10000 x 1536 (host) was not compared")]
fn a_comparison_must_be_sound(#[case] spoil: fn(&mut Compared), #[case] reason: &str) {
    let verdict = with_recorded(|one| {
        if is_949(one) {
            spoil(one);
        }
    });
    assert_eq!(states(&verdict), PASSED.replace("baseline=PASS", "baseline=INCONCLUSIVE"));
    let reasons = &verdict.criteria[1].reasons;
    assert!(reasons.iter().any(|one| one.text.contains(reason)), "{reasons:?}");
}

#[test]
fn qdrants_recorded_figures_are_reported() {
    let verdict = with_recorded(|one| {
        if one.figure.system == Competitor::Qdrant {
            faster(one, 0.01);
        }
    });
    assert_eq!(states(&verdict), PASSED);
    let recorded = &verdict.criteria[1].recorded;
    let failing = |one: &&JudgedFigure| one.outcome == Outcome::Fail;
    assert_eq!((recorded.iter().filter(failing).count(), recorded.len()), (3, 12));
}

#[test]
fn a_comparison_that_is_missing_is_inconclusive() {
    let mut run = MadeRun::healthy();
    run.host.retain(|event| !matches!(event, Event::Fact { name, .. } if name == COMPARED));
    let verdict = run.verdict();
    assert_eq!(states(&verdict), PASSED.replace("baseline=PASS", "baseline=INCONCLUSIVE"));
    assert_eq!(verdict.criteria[1].reasons.len(), 3);
}
