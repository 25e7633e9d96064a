//! The directory of the kernel with sanitizers, read.

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
/// The trials that the lane was to run, as nextest listed them before it began.
pub(super) const TO_RUN: &str = "to-run.txt";

/// Evidence of the module's trials on such a kernel.
pub struct Sanitized {
    pub(super) evidence: Evidence,
    /// How its guest was launched, where that is known.
    pub(super) launch: Option<GuestLaunch>,
    /// The kernel's configuration; empty where it was not kept.
    pub(super) configuration: String,
    /// Trials that were to run; none where nobody wrote them down.
    pub(super) to_run: BTreeSet<String>,
}

impl Sanitized {
    /// `None` where there is no evidence.
    pub(super) fn read(dir: &Path) -> Option<Sanitized> {
        let evidence = Evidence::read(dir).ok()?;
        let configuration = fs::read_to_string(dir.join(CONFIGURATION)).unwrap_or_default();
        let mut to_run = listed(&fs::read_to_string(dir.join(TO_RUN)).unwrap_or_default());
        // The lane leaves some of the manifest's trials out.
        if to_run.is_empty() {
            to_run.extend(of_module(evidence.expected(Place::Guest).iter().cloned()));
        }
        Some(Sanitized { evidence, launch: GuestLaunch::read(dir).ok(), configuration, to_run })
    }

    /// How the trials ended that were to run, and all others.
    pub(super) fn trial_ends(&self) -> BTreeMap<&str, &TrialEnd> {
        let to_run = self.to_run.iter().map(|trial| (trial.as_str(), &TrialEnd::NotRun));
        to_run.chain(self.evidence.trial_ends(Criterion::Module, Place::Guest)).collect()
    }
}

/// The module's trials in what nextest listed, one a line behind its program's name.
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
