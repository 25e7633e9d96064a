//! Groups reasons by their cause. When a hundred trials fail for the same reason, a person wants to
//! read that reason once, with the number of trials.

use evidence::place::Place;

use crate::rule::judgement::{OfTrial, Reason, State};

/// How many trials of a cause are named; the others are only counted.
const NAMED: usize = 4;

/// Reasons with the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReasonCause {
    /// The state that each of them alone would lead to.
    pub(crate) state: State,
    /// How many there are.
    pub(crate) count: usize,
    /// What happened, for a person.
    pub(crate) text: String,
}

/// Groups `reasons` by cause: failures first, then the causes that most trials share, otherwise in
/// order.
pub(crate) fn causes<'r>(reasons: impl IntoIterator<Item = &'r Reason>) -> Vec<ReasonCause> {
    let mut groups: Vec<Vec<&Reason>> = Vec::new();
    for reason in reasons {
        let same = |group: &&mut Vec<&Reason>| group.first().is_some_and(|one| alike(one, reason));
        match groups.iter_mut().find(same) {
            Some(group) => group.push(reason),
            None => groups.push(vec![reason]),
        }
    }
    let mut causes: Vec<ReasonCause> = groups.iter().filter_map(|group| cause(group)).collect();
    causes.sort_by_key(|one| (std::cmp::Reverse(one.state), std::cmp::Reverse(one.count)));
    causes
}

fn alike(one: &Reason, other: &Reason) -> bool {
    match (&one.of, &other.of) {
        (Some(a), Some(b)) => one.state == other.state && a.what == b.what && key(a) == key(b),
        _ => one == other,
    }
}

fn cause(group: &[&Reason]) -> Option<ReasonCause> {
    let first = group.first()?;
    let text = match (&first.of, group.len()) {
        (Some(of), count @ 2..) => {
            let trials: Vec<(&str, Place)> = group
                .iter()
                .filter_map(|one| one.of.as_ref().map(|of| (of.trial.as_str(), of.place)))
                .collect();
            let why = key(of);
            let colon = if why.is_empty() { "" } else { ": " };
            format!("{count} {}{colon}{why} ({})", of.what.of_many(), named(&trials))
        }
        _ => first.text.clone(),
    };
    Some(ReasonCause { state: first.state, count: group.len(), text })
}

/// Names the first trials and counts the rest. The place is named once if all share it.
fn named(trials: &[(&str, Place)]) -> String {
    let places: Vec<Place> = trials.iter().map(|&(_, place)| place).collect();
    let one_place = places.windows(2).all(|pair| pair[0] == pair[1]);
    let name = |&(trial, place): &(&str, Place)| match one_place {
        true => trial.to_owned(),
        false => format!("{trial} in the {place}"),
    };
    let first: Vec<String> = trials.iter().take(NAMED).map(name).collect();
    let more = match trials.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let where_ = match places.first() {
        Some(place) if one_place => format!("{place}: "),
        _ => String::new(),
    };
    format!("{where_}{}{more}", first.join("; "))
}

/// The part of a message that trials with one cause have in common: the first line, without the
/// trial's own name and the names of temporary directories.
fn key(of: &OfTrial) -> String {
    let name = of.trial.rsplit("::").next().unwrap_or_default();
    let line = of.why.lines().next().unwrap_or_default();
    let line = line.strip_prefix(&format!("{name}: ")).unwrap_or(line);
    let line = line.replace(&format!("mkdir {name}"), "mkdir of its directory");
    without_random_parts(&without_place(&line))
}

/// Removes the position in our source code, because a cause may show at two positions.
fn without_place(line: &str) -> String {
    const PLACE: &str = ", at harness/";
    let Some((before, behind)) = line.split_once(PLACE) else { return line.to_owned() };
    format!("{before}{}", behind.trim_start_matches(|glyph: char| glyph != ')'))
}

/// Removes random parts of names: `/tmp/vexfs-fuse-Xa81Kd/mnt` is a different directory in each
/// trial.
fn without_random_parts(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = ["vexfs-fuse-", "vexfs-kernel-", "vexfs-bad-"]
        .iter()
        .filter_map(|prefix| rest.find(prefix).map(|at| at + prefix.len()))
        .min()
    {
        let (before, after) = rest.split_at(at);
        plain.push_str(before);
        plain.push('…');
        rest = after.trim_start_matches(|glyph: char| glyph.is_ascii_alphanumeric());
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::judgement::What;

    fn reason(trial: &str, state: State, what: What, why: &str) -> Reason {
        Reason::of_trial(state, trial, Place::Host, what, why)
    }

    #[test]
    fn what_shares_a_cause_is_one_line_with_its_number() {
        let lacks = |name: &str| {
            let why = format!("{name}: ENOSYS (Function not implemented (os error 38))");
            reason(&format!("fuse::{name}"), State::Fail, What::Failed, &why)
        };
        let not_run = |name: &str| reason(name, State::Inconclusive, What::NotRun, "");
        let plain = Reason {
            state: State::Inconclusive,
            text: "the evidence is damaged: line 3".into(),
            of: None,
        };
        let mut reasons = vec![plain, reason("fuse::x", State::Fail, What::Failed, "x: alone")];
        reasons.extend(["a", "b", "c", "d", "e", "f"].map(lacks));
        reasons.extend(["module::a", "module::b"].map(not_run));
        let texts: Vec<String> = causes(&reasons)
            .into_iter()
            .map(|one| format!("{}: {}", one.state, one.text))
            .collect();
        assert_eq!(
            texts,
            [
                "FAIL: 6 trials failed: ENOSYS (Function not implemented (os error 38)) (host: \
                 fuse::a; fuse::b; fuse::c; fuse::d and 2 more)",
                "FAIL: fuse::x (host) failed: x: alone",
                "INCONCLUSIVE: 2 trials were not run (host: module::a; module::b)",
                "INCONCLUSIVE: the evidence is damaged: line 3",
            ]
        );
    }

    #[test]
    fn a_trials_own_name_and_directory_make_no_other_cause() {
        let of = |trial: &str, why: &str| OfTrial {
            trial: trial.into(),
            place: Place::Guest,
            what: What::Failed,
            why: why.into(),
        };
        let a = of(
            "fuse::a",
            "a: EPERM (mkdir a: no, in /tmp/vexfs-fuse-Ab12Zz/mnt, at harness/x/a.rs:7)\nmore",
        );
        let b = of("fuse::b", "b: EPERM (mkdir b: no, in /tmp/vexfs-fuse-9cXX12/mnt)\nother");
        assert_eq!(key(&a), "EPERM (mkdir of its directory: no, in /tmp/vexfs-fuse-…/mnt)");
        assert_eq!(key(&a), key(&b));
    }
}
