//! Reads the evidence of the kernel with sanitizers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use evidence::criterion::Criterion;
use evidence::guest::GuestLaunch;
use evidence::place::Place;

use crate::trails::Evidence;
use crate::trial_end::TrialEnd;

/// The guest's own /proc/config.gz, unpacked.
const CONFIGURATION: &str = "kernel.config";
/// The list of trials that this lane had to run, which nextest wrote before they began.
pub(super) const TO_RUN: &str = "to-run.txt";

/// Evidence of the module's trials on such a kernel.
pub struct Sanitized {
    pub(super) evidence: Evidence,
    /// How its guest was launched, if that is known.
    pub(super) launch: Option<GuestLaunch>,
    /// The kernel's configuration; empty if it was not kept.
    pub(super) configuration: String,
    /// Trials that were to run; empty if there is no list of them.
    pub(super) to_run: BTreeSet<String>,
}

impl Sanitized {
    /// Reads `dir`; `None` if there is no evidence.
    pub(super) fn read(dir: &Path) -> Option<Sanitized> {
        let evidence = Evidence::read(dir).ok()?;
        let configuration = fs::read_to_string(dir.join(CONFIGURATION)).unwrap_or_default();
        let mut to_run = listed(&fs::read_to_string(dir.join(TO_RUN)).unwrap_or_default());
        // Without a list, take the manifest's trials, although the lane leaves some of them out.
        if to_run.is_empty() {
            to_run.extend(of_module(evidence.expected(Place::Guest).iter().cloned()));
        }
        Some(Sanitized { evidence, launch: GuestLaunch::read(dir).ok(), configuration, to_run })
    }

    /// How the trials ended: those that were to run, and all others.
    pub(super) fn trial_ends(&self) -> BTreeMap<&str, &TrialEnd> {
        let to_run = self.to_run.iter().map(|trial| (trial.as_str(), &TrialEnd::NotRun));
        to_run.chain(self.evidence.trial_ends(Criterion::Module, Place::Guest)).collect()
    }
}

/// The module's trials in nextest's list, where each line has the program's name before the trial.
pub(super) fn listed(text: &str) -> BTreeSet<String> {
    of_module(text.split_whitespace().map(str::to_owned)).collect()
}

pub(super) fn of_module(trials: impl IntoIterator<Item = String>) -> impl Iterator<Item = String> {
    trials.into_iter().filter(|trial| Criterion::of_trial(trial) == Some(Criterion::Module))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nextest_lists_is_understood() {
        let text = "vexfs-validation::module module::append\n\
                    vexfs-validation::module module::fuzzed_requests\n";
        assert_eq!(
            listed(text).into_iter().collect::<Vec<_>>(),
            ["module::append", "module::fuzzed_requests"]
        );
        assert!(listed("").is_empty());
    }
}
