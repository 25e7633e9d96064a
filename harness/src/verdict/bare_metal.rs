//! Whether the module may be loaded on bare metal.

use serde::{Deserialize, Serialize};

use super::{CriterionVerdict, State};
use crate::criterion::Criterion;

/// The answer, with its conditions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BareMetal {
    /// `ELIGIBLE` or `NOT ELIGIBLE`.
    pub state: String,
    /// The conditions, each with its evidence or what is missing.
    pub conditions: Vec<Condition>,
}

/// A condition of bare metal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// What is demanded.
    pub demand: String,
    /// Whether the evidence shows it.
    pub met: bool,
    /// The evidence, or what is missing.
    pub because: String,
}

impl BareMetal {
    /// Looks at the four conditions.
    #[must_use]
    pub(super) fn of(criteria: &[CriterionVerdict], accelerator: &str) -> Self {
        let state_of = |criterion: Criterion| {
            criteria
                .iter()
                .find(|one| one.id == criterion)
                .map_or(State::Inconclusive, |one| one.state)
        };
        let passing = criteria.iter().filter(|one| one.state == State::Pass).count();
        let improvement = state_of(Criterion::KernelVsFuse) == State::Pass && accelerator == "kvm";
        let comparable = state_of(Criterion::Dataset) == State::Pass
            && state_of(Criterion::Baseline) == State::Pass;
        let conditions = vec![
            condition(
                "the VM is 100 % successful",
                passing == Criterion::ALL.len(),
                format!("{passing} of {} criteria PASS", Criterion::ALL.len()),
            ),
            condition(
                "the kernel module is measured against FUSE on a CPU that is not emulated (KVM)",
                improvement,
                match accelerator {
                    "tcg" => {
                        "measured under emulation (TCG) only; run it where KVM works".to_owned()
                    }
                    "kvm" => format!("measured on KVM: {}", state_of(Criterion::KernelVsFuse)),
                    _ => "not measured".to_owned(),
                },
            ),
            condition(
                "stability is proven by an extended run on each kernel of the matrix",
                false,
                "this evidence holds no extended run".to_owned(),
            ),
            condition(
                "the results are directly comparable to the competitors'",
                comparable,
                format!(
                    "dataset and protocol: {}, baseline: {}",
                    state_of(Criterion::Dataset),
                    state_of(Criterion::Baseline)
                ),
            ),
        ];
        let eligible = conditions.iter().all(|one| one.met);
        BareMetal {
            state: if eligible { "ELIGIBLE" } else { "NOT ELIGIBLE" }.to_owned(),
            conditions,
        }
    }
}

fn condition(demand: &str, met: bool, because: String) -> Condition {
    Condition { demand: demand.to_owned(), met, because }
}
