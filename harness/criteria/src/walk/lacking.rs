//! What a file system may lack because only the contract requires it. A walk goes on without it, so
//! that it still finds what is broken, and says in the end what is lacking.

use homes::filesystem::asked::{
    Asked, DIRECTORY_LINKS, HOLES, NAMES, OTHER_ALLOCATIONS, PUNCHES, RENAME_FLAGS, REQUESTS,
    USER_XATTRS, XATTRS,
};
use machine::failure::Failure;

use super::choose::Walk;
use super::compare::{Difference, Homes};
use super::operation::{Operation, Target};

/// Something that only the contract requires and that a walk meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// ATTACH and the other requests.
    Requests,
    /// Extended attributes.
    Xattrs,
    /// The refusal of extended attributes outside `user.*`.
    OtherXattrs,
    /// Link counts of directories.
    DirectoryLinks,
    /// FALLOC_FL_PUNCH_HOLE.
    PunchedHoles,
    /// The refusal of other modes of fallocate(2).
    OtherAllocations,
    /// RENAME_NOREPLACE and RENAME_EXCHANGE.
    RenameFlags,
    /// SEEK_DATA and SEEK_HOLE to the page.
    Holes,
    /// The refusal of names of more than 255 bytes.
    LongNames,
}

/// What each file and directory shows of itself, whatever the step was.
const OF_STATE: [Lacking; 3] = [Lacking::Requests, Lacking::Xattrs, Lacking::DirectoryLinks];

/// How a healthy file system refuses what it does not know. Flags may also be EINVAL.
const UNKNOWN: [&str; 2] = ["EOPNOTSUPP", "ENOSYS"];

impl Lacking {
    /// The requirement of docs/contract.md.
    pub fn asked(self) -> Asked {
        match self {
            Lacking::Requests => REQUESTS,
            Lacking::Xattrs => XATTRS,
            Lacking::OtherXattrs => USER_XATTRS,
            Lacking::DirectoryLinks => DIRECTORY_LINKS,
            Lacking::PunchedHoles => PUNCHES,
            Lacking::OtherAllocations => OTHER_ALLOCATIONS,
            Lacking::RenameFlags => RENAME_FLAGS,
            Lacking::Holes => HOLES,
            Lacking::LongNames => NAMES,
        }
    }

    /// Whether a walk without it leaves out `step`.
    pub fn leaves_out(self, step: &Operation) -> bool {
        match self {
            Lacking::Requests => super::home::is_request(step),
            Lacking::Xattrs => step.name().ends_with("xattr"),
            Lacking::OtherXattrs => xattr_name(step).is_some_and(is_other),
            Lacking::DirectoryLinks => false,
            Lacking::PunchedHoles => matches!(step, Operation::Fallocate { mode: 2 | 3, .. }),
            Lacking::OtherAllocations => matches!(step, Operation::Fallocate { mode: 4.., .. }),
            Lacking::RenameFlags => matches!(step, Operation::Rename { flags: 1.., .. }),
            Lacking::Holes => matches!(step, Operation::Seek { .. }),
            Lacking::LongNames => paths(step).iter().any(|path| has_long_name(path)),
        }
    }

    /// A line of a snapshot as it is compared without this; `None` if it is not compared.
    fn blurred(self, line: String) -> Option<String> {
        match self {
            Lacking::Requests if line.ends_with(": ENOTTY") && line.contains(" index ") => None,
            Lacking::Xattrs => UNKNOWN
                .iter()
                .find_map(|errno| {
                    Some(format!(
                        "{}xattrs []",
                        line.strip_suffix(&format!("xattrs list {errno}"))?
                    ))
                })
                .or(Some(line)),
            Lacking::DirectoryLinks => Some(without_links(&line).unwrap_or(line)),
            _ => Some(line),
        }
    }

    /// What `difference`, which came with `step`, shows to be lacking. Empty if it shows a fault.
    pub fn shown_by(step: &Operation, difference: &Difference) -> Vec<Lacking> {
        let found = difference.found.as_str();
        if difference.of == "state" {
            return match shown_by_state(difference) {
                shown if shown.is_empty() && moves_no_time(step, difference) => {
                    vec![Lacking::PunchedHoles]
                }
                shown => shown,
            };
        }
        let unknown = UNKNOWN.contains(&found);
        let done = found.starts_with("done");
        let lacking = match step {
            _ if Lacking::LongNames.leaves_out(step) && (done || found == "ENOENT") => {
                Lacking::LongNames
            }
            _ if Lacking::Requests.leaves_out(step) && found == "ENOTTY" => Lacking::Requests,
            _ if Lacking::OtherXattrs.leaves_out(step) && (done || found == "ENODATA") => {
                Lacking::OtherXattrs
            }
            _ if Lacking::Xattrs.leaves_out(step) && unknown => Lacking::Xattrs,
            _ if Lacking::PunchedHoles.leaves_out(step) && unknown => Lacking::PunchedHoles,
            _ if Lacking::OtherAllocations.leaves_out(step)
                && (done || unknown || found == "EINVAL") =>
            {
                Lacking::OtherAllocations
            }
            _ if Lacking::RenameFlags.leaves_out(step) && (unknown || found == "EINVAL") => {
                Lacking::RenameFlags
            }
            Operation::Seek { hole, .. }
                if unknown || finds_fewer_holes(*hole, &difference.due, found) =>
            {
                Lacking::Holes
            }
            _ => return Vec::new(),
        };
        vec![lacking]
    }
}

/// The lines of a snapshot as they are compared without what is `lacking`, each with what it was.
pub fn compared(lines: &[String], lacking: &[Lacking]) -> Vec<(String, String)> {
    let blurred = |line: &String| {
        let blurred = lacking.iter().try_fold(line.clone(), |line, one| one.blurred(line))?;
        Some((blurred, line.clone()))
    };
    lines.iter().filter_map(blurred).collect()
}

/// Lines of a state that differ in nothing else.
fn shown_by_state(difference: &Difference) -> Vec<Lacking> {
    let lines = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| line.trim_start().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    };
    let (due, found) = (lines(&difference.due), lines(&difference.found));
    // A count other than 1 is a wrong count.
    let counts = |line: &String| without_links(line).is_some() && !line.contains(" links 1 ");
    let shown: Vec<Lacking> = OF_STATE
        .into_iter()
        .filter(|&one| {
            found.iter().any(|line| one.blurred(line.clone()).as_ref() != Some(line))
                && !(one == Lacking::DirectoryLinks && found.iter().any(counts))
        })
        .collect();
    let left = |lines: &[String]| -> Vec<String> {
        compared(lines, &shown).into_iter().map(|(blurred, _)| blurred).collect()
    };
    if left(&due) == left(&found) { shown } else { Vec::new() }
}

/// Whether a hole was punched that did not count as a modification. Nothing but the contract asks for
/// holes, and btrfs does not touch the time of a file where there was nothing to remove.
fn moves_no_time(step: &Operation, difference: &Difference) -> bool {
    let is_untouched = |(due, found): (&str, &str)| {
        let (due, found) = (due.trim_start(), found.trim_start());
        let Some((before, after)) = due.split_once(" modified now ") else { return due == found };
        let rest = found.strip_prefix(before).and_then(|rest| rest.strip_prefix(" modified "));
        rest.and_then(|rest| rest.split_once(' ')).is_some_and(|(_, rest)| rest == after)
    };
    Lacking::PunchedHoles.leaves_out(step)
        && difference.due.lines().count() == difference.found.lines().count()
        && difference.due.lines().zip(difference.found.lines()).all(is_untouched)
}

/// The line of a directory without the count of its links: `PATH MODE links N owner ...`.
fn without_links(line: &str) -> Option<String> {
    let (before, after) = line.split_once(" links ")?;
    let mode = before.rsplit(' ').next()?;
    let is_directory = mode.len() == 5 && mode.starts_with('4');
    let (_, after) = after.split_once(' ')?;
    is_directory.then(|| format!("{before} links - {after}"))
}

/// Whether lseek(2) took a hole for data, which it may do anywhere, and nothing else.
fn finds_fewer_holes(hole: bool, due: &str, found: &str) -> bool {
    let position = |words: &str| words.strip_prefix("done: ")?.parse::<u64>().ok();
    match (position(due), position(found)) {
        (Some(due), Some(found)) if hole => found > due,
        (Some(due), Some(found)) => found < due,
        // There is nothing but a hole from there on.
        (None, Some(_)) => !hole && due == "ENXIO",
        _ => false,
    }
}

fn xattr_name(step: &Operation) -> Option<&str> {
    match step {
        Operation::SetXattr { name, .. }
        | Operation::GetXattr { name, .. }
        | Operation::RemoveXattr { name, .. } => Some(name),
        _ => None,
    }
}

fn is_other(name: &str) -> bool {
    name.strip_prefix("user.").is_none_or(str::is_empty)
}

fn has_long_name(path: &str) -> bool {
    path.split('/').any(|name| name.len() > 255)
}

/// The paths that a step names.
fn paths(step: &Operation) -> Vec<&String> {
    match step {
        Operation::Open { path, .. }
        | Operation::Mkdir { path, .. }
        | Operation::Rmdir { path }
        | Operation::Unlink { path }
        | Operation::Symlink { path, .. }
        | Operation::Readlink { path } => vec![path],
        Operation::Link { path, to } | Operation::Rename { path, to, .. } => vec![path, to],
        _ => match step.target() {
            Some(Target::Path(path)) => vec![path],
            _ => Vec::new(),
        },
    }
}

/// How a walk ended.
pub struct Ended {
    /// The last walk: the one that left out all that is lacking.
    pub walk: Walk,
    /// What is lacking.
    pub lacking: Vec<Lacking>,
    /// A difference that is a fault, and the steps that led to it.
    pub fault: Option<(Vec<Operation>, Difference)>,
}

/// Walks through `homes` until `states` are seen, with extended attributes if `xattrs`. Where they differ in something that only the
/// contract requires, it begins anew without that.
///
/// # Errors
/// A home that cannot begin.
pub fn walk(seed: u64, xattrs: bool, homes: &mut Homes, states: usize) -> Result<Ended, Failure> {
    let mut lacking = Vec::new();
    loop {
        let mut walk = Walk::new(seed);
        walk.left_out.clone_from(&lacking);
        if !xattrs {
            walk.left_out.push(Lacking::Xattrs);
        }
        homes.left_out.clone_from(&lacking);
        let fault = walk.go(homes, states)?;
        let more: Vec<Lacking> = match &fault {
            Some((steps, difference)) => steps
                .last()
                .map(|step| Lacking::shown_by(step, difference))
                .unwrap_or_default()
                .into_iter()
                .filter(|one| !lacking.contains(one))
                .collect(),
            None => Vec::new(),
        };
        if more.is_empty() {
            return Ok(Ended { walk, lacking, fault });
        }
        lacking.extend(more);
    }
}
