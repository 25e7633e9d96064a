//! The trials that a kernel upgrade runs: those of the functional criteria in the guest, without
//! the long ones of `fixtures/gate/left-out.txt`.
//!
//! The file lists what is left out and not what is run, so that a new trial counts until somebody
//! has decided otherwise.

use std::collections::BTreeSet;
use std::fs;

use evidence::criterion::Criterion;
use evidence::place::Place;
use machine::failure::{Failure, WithContext};
use machine::project;
use verdict::FUNCTIONAL;

use crate::expected::Expected;

/// The trials of an upgrade.
pub(super) struct Trials {
    /// What the guest must run, and pass.
    pub(super) expected: Vec<String>,
    /// The same as a nextest filterset.
    pub(super) filter: String,
}

/// Reads them from the checkout.
pub(super) fn trials() -> Result<Trials, Failure> {
    let path = project::root().join("fixtures/gate/left-out.txt");
    let text = fs::read_to_string(&path).context(path.display())?;
    let left_out = left_out(&text).context(path.display())?;
    of(&Expected::load()?, &left_out).context(path.display())
}

/// The names in the file: a line each, behind the seconds that the trial took.
fn left_out(text: &str) -> Result<BTreeSet<String>, Failure> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
            [_, name] => Ok(name.to_owned()),
            _ => Err(Failure::new(format!("{line:?} is not a time and a trial's name"))),
        })
        .collect()
}

fn of(manifest: &Expected, left_out: &BTreeSet<String>) -> Result<Trials, Failure> {
    let is_functional = |trial: &&String| {
        Criterion::of_trial(trial).is_some_and(|criterion| FUNCTIONAL.contains(&criterion))
    };
    let (out, expected): (BTreeSet<String>, Vec<String>) = {
        let all = manifest.of(Place::Guest).iter().filter(is_functional).cloned();
        let (out, expected): (Vec<_>, Vec<_>) = all.partition(|one| left_out.contains(one));
        (out.into_iter().collect(), expected)
    };
    if let Some(unknown) = left_out.difference(&out).next() {
        let why = format!("{unknown} is no trial of the functional criteria in the guest");
        return Err(Failure::new(why));
    }
    let areas: Vec<String> = FUNCTIONAL.iter().map(|one| format!("binary({})", one.id())).collect();
    let mut filter = format!("({})", areas.join(" or "));
    if !out.is_empty() {
        let names: Vec<String> = out.iter().map(|name| format!("test(={name})")).collect();
        filter.push_str(&format!(" and not ({})", names.join(" or ")));
    }
    Ok(Trials { expected, filter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkouts_trials_are_of_both_criteria_and_without_the_long_ones() {
        let Trials { expected, filter } = trials().unwrap();
        for trial in ["fuse::mounts_as_fuse", "module::survives_300_cycles"] {
            assert!(expected.iter().any(|one| one == trial), "{trial}");
            assert!(!filter.contains(&format!("(={trial})")), "{trial}");
        }
        assert!(expected.iter().all(|one| one != "fuse::fuzzed_requests"));
        assert!(filter.contains(" or test(=fuse::fuzzed_requests) or "), "{filter}");
        let functional = |area: &str| expected.iter().filter(|one| one.starts_with(area)).count();
        assert!(functional("fuse::") >= 100 && functional("module::") >= 100);
        assert_eq!(functional(""), functional("fuse::") + functional("module::"));
    }

    #[test]
    fn a_trial_that_is_gone_may_not_stay_in_the_list() {
        let names = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
        let manifest = Expected {
            guest: names(&["baseline::a", "fuse::a", "fuse::new", "module::a"]),
            ..Expected::default()
        };
        let out = |text| of(&manifest, &left_out(text).unwrap());
        let trials = out("# why\n 12 fuse::a\n").unwrap();
        assert_eq!(trials.expected, ["fuse::new", "module::a"]);
        assert_eq!(trials.filter, "(binary(fuse) or binary(module)) and not (test(=fuse::a))");
        assert_eq!(out("").unwrap().filter, "(binary(fuse) or binary(module))");
        for unknown in ["- fuse::gone", "5 baseline::a"] {
            let failure = out(unknown).map(|_| ()).unwrap_err().to_string();
            assert!(failure.contains("is no trial of the functional criteria"), "{failure}");
        }
        left_out("fuse::a").unwrap_err();
    }
}
