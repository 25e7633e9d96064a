//! The policy that decides whether a trial runs, fails or is skipped.
//!
//! | | requirement met | requirement missing |
//! | --- | --- | --- |
//! | the trial's own place | runs | fails, saying what is missing and what provides it |
//! | another place | skipped, with the reason | skipped, with the reason |

use evidence::place::Place;

use crate::requirement::Missing;

/// What happens to a trial in this place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrialDecision {
    /// It runs.
    Run,
    /// It does not belong here; the reason reaches the person, CI and the evidence.
    Skip(String),
    /// It belongs here and cannot run.
    Fail(String),
}

/// Decides about the trial `name`, which belongs to `places`, in the place `here`. `missing` checks
/// its requirements, and is only called if the trial belongs here.
pub fn decide(
    name: &str,
    here: Place,
    places: &[Place],
    missing: impl FnOnce() -> Vec<Missing>,
) -> TrialDecision {
    if !places.contains(&here) {
        return TrialDecision::Skip(match here {
            Place::Host => format!(
                "belongs to the guest, this is the host; run it there with: vexfs-validate guest \
                 -- cargo nextest run --profile vm -E 'test(={name})'"
            ),
            Place::Guest => "belongs to the host, this is the guest".to_owned(),
        });
    }
    let missing = missing();
    if missing.is_empty() {
        return TrialDecision::Run;
    }
    let list: Vec<String> = missing.iter().map(|one| format!("- {one}")).collect();
    TrialDecision::Fail(format!("the {here} lacks what this trial needs:\n{}", list.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking() -> Vec<Missing> {
        vec![Missing { what: "no /dev/fuse".into(), remedy: "modprobe fuse".into() }]
    }

    #[rstest::rstest]
    #[case::host_on_host(&[Place::Host], Place::Host)]
    #[case::both_in_guest(&[Place::Host, Place::Guest], Place::Guest)]
    fn runs_in_its_own_place(#[case] places: &[Place], #[case] here: Place) {
        assert_eq!(decide("fuse::x", here, places, Vec::new), TrialDecision::Run);
    }

    #[rstest::rstest]
    #[case(&[Place::Guest], Place::Host, "belongs to the guest")]
    #[case(&[Place::Host], Place::Guest, "belongs to the host")]
    fn is_skipped_elsewhere_whatever_is_missing(
        #[case] places: &[Place],
        #[case] here: Place,
        #[case] reason: &str,
    ) {
        let TrialDecision::Skip(why) = decide("fuse::x", here, places, lacking) else {
            panic!("not skipped");
        };
        assert!(why.contains(reason), "{why}");
    }

    #[test]
    fn fails_in_its_own_place_if_something_is_missing() {
        let TrialDecision::Fail(why) = decide("fuse::x", Place::Guest, &[Place::Guest], lacking)
        else {
            panic!("not failed");
        };
        assert!(why.contains("no /dev/fuse; modprobe fuse"), "{why}");
    }
}
