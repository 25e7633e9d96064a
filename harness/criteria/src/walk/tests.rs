//! Differences that are planted are found, and reduced to ten steps at most. Two directories of an
//! ordinary file system, of which one is a liar's: nothing is mounted.

use std::fs;
use std::io;
use std::process::Command;

use nix::errno::Errno;

use super::choose::Walk;
use super::compare::Homes;
use super::home::Walked;
use super::lacking::{Ended, Lacking, walk};
use super::operation::{Data, Operation, Target};
use super::outcome::Outcome;
use super::reduce::reduce;
use super::referee::Referee;
use super::script::script;

/// What a liar does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lie {
    Nothing,
    /// EPERM where RENAME_NOREPLACE finds something.
    Errno,
    /// What is cut off stays part of the size.
    StaleSize,
    /// An exchange loses an extended attribute.
    LostXattr,
    /// A row that is overwritten is searched as it was.
    UnsearchedRow,
}

struct Liar {
    honest: Referee,
    lie: Lie,
    /// Sizes before the last cut.
    stale: bool,
}

impl Liar {
    fn new(directory: &std::path::Path, lie: Lie) -> Liar {
        let mut honest = Referee::new("liar", directory.to_path_buf());
        honest.forgets = lie == Lie::UnsearchedRow;
        Liar { honest, lie, stale: false }
    }
}

impl Walked for Liar {
    fn name(&self) -> String {
        format!("{:?}", self.lie)
    }

    fn begin(&mut self) -> io::Result<()> {
        self.stale = false;
        self.honest.begin()
    }

    fn apply(&mut self, step: &Operation) -> Outcome {
        let outcome = self.honest.apply(step);
        match (self.lie, step) {
            (Lie::Errno, Operation::Rename { flags: 1, .. })
                if outcome == Outcome::Refused(Errno::EEXIST) =>
            {
                Outcome::Refused(Errno::EPERM)
            }
            (Lie::StaleSize, Operation::Truncate { length: 1.., .. }) => {
                self.stale = matches!(outcome, Outcome::Done(_));
                outcome
            }
            (Lie::LostXattr, Operation::Rename { to, .. })
                if matches!(outcome, Outcome::Done(_)) =>
            {
                let target = Target::Path(to.clone());
                let name = "user.a".to_owned();
                self.honest.apply(&Operation::RemoveXattr { target, name });
                outcome
            }
            _ => outcome,
        }
    }

    fn snapshot(&mut self) -> Vec<String> {
        let lines = self.honest.snapshot();
        let told =
            |line: String| if self.stale { line.replace("size 4096", "size 4097") } else { line };
        lines.into_iter().map(told).collect()
    }
}

/// What a walk through an honest directory and a liar's comes to.
fn found(lie: Lie) -> Option<(Vec<Operation>, String)> {
    let rooms = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut homes = Homes::new(vec![
        Box::new(Referee::new("honest", rooms[0].path().to_path_buf())),
        Box::new(Liar::new(rooms[1].path(), lie)),
    ]);
    let mut walk = Walk::new(25);
    let states = if lie == Lie::Nothing { 1_000 } else { 20_000 };
    let (steps, difference) = walk.go(&mut homes, states).unwrap()?;
    let (steps, difference) = reduce(&mut homes, &steps, &difference).unwrap();
    Some((steps, format!("{} {} {}", difference.of, difference.due, difference.found)))
}

#[rstest::rstest]
#[case::errno(Lie::Errno, "rename EEXIST EPERM")]
#[case::stale_size(Lie::StaleSize, "size 4097")]
#[case::lost_xattr(Lie::LostXattr, "user.a=")]
#[case::unsearched_row(Lie::UnsearchedRow, "index")]
fn a_planted_difference_is_found_and_reduced(#[case] lie: Lie, #[case] words: &str) {
    let (steps, told) = found(lie).expect("nothing was found");
    let shown: Vec<String> = steps.iter().map(Operation::json).collect();
    assert!(steps.len() <= 10, "{lie:?} is reduced to {} steps: {shown:#?}", steps.len());
    let words_of_search = lie == Lie::UnsearchedRow && told.starts_with("search");
    assert!(told.contains(words) || words_of_search, "{lie:?}: {told}");
}

#[test]
fn an_honest_directory_is_like_another() {
    assert_eq!(found(Lie::Nothing), None);
}

/// Somebody's file system without the contract's requests, extended attributes, holes to punch and
/// link counts of directories. It may have a fault as well.
struct Stranger(Liar);

impl Walked for Stranger {
    fn name(&self) -> String {
        "stranger".to_owned()
    }

    fn begin(&mut self) -> io::Result<()> {
        self.0.begin()
    }

    fn apply(&mut self, step: &Operation) -> Outcome {
        let unknown = match step {
            _ if super::home::is_request(step) => Errno::ENOTTY,
            _ if step.name().ends_with("xattr") => Errno::EOPNOTSUPP,
            Operation::Fallocate { mode: 3, length: 1.., .. } => Errno::EOPNOTSUPP,
            _ => return self.0.apply(step),
        };
        // Nothing is refused of a file that is not there.
        match step.target().map(|target| self.0.honest.holds(target)) {
            Some(Err(error)) => Outcome::told(Err(error)),
            _ => Outcome::Refused(unknown),
        }
    }

    fn snapshot(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.0.snapshot() {
            let (before, after) = line.split_once(" links ").unwrap_or((&line, ""));
            let mode = before.rsplit(' ').next().unwrap_or_default();
            let is_directory = mode.len() == 5 && mode.starts_with('4');
            let after = after.split_once(' ').unwrap_or(("", after));
            let links = if is_directory { "1" } else { after.0 };
            let told = format!("{before} links {links} {}", after.1);
            lines.push(told.replace("xattrs []", "xattrs list EOPNOTSUPP"));
            if !is_directory && !line.contains(" -> ") {
                let name = line.split(' ').next().unwrap_or_default();
                lines.extend((0..2).map(|slot| format!("{name} index {slot}: ENOTTY")));
            }
        }
        lines
    }
}

/// What a walk through an honest directory and a stranger's with this fault comes to.
fn found_of_a_stranger(lie: Lie) -> Ended {
    let rooms = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut homes = Homes::new(vec![
        Box::new(Referee::new("honest", rooms[0].path().to_path_buf())),
        Box::new(Stranger(Liar::new(rooms[1].path(), lie))),
    ]);
    walk(25, true, &mut homes, if lie == Lie::Nothing { 500 } else { 20_000 }).unwrap()
}

#[test]
fn a_walk_goes_on_without_what_only_the_contract_requires() {
    let ended = found_of_a_stranger(Lie::Nothing);
    assert_eq!(ended.fault, None);
    let due = [Lacking::Requests, Lacking::Xattrs, Lacking::DirectoryLinks, Lacking::PunchedHoles];
    assert!(due.iter().all(|one| ended.lacking.contains(one)), "{:?}", ended.lacking);
    assert_eq!(ended.lacking.len(), due.len(), "{:?}", ended.lacking);
    assert_eq!(ended.walk.states(), 500);
}

#[test]
fn what_is_lacking_hides_no_fault() {
    let (_, difference) = found_of_a_stranger(Lie::StaleSize).fault.unwrap();
    assert!(difference.found.contains("size 4097"), "{difference:?}");
}

#[test]
fn a_hole_need_not_count_as_a_modification_and_must_keep_the_bytes() {
    let line = |modified: &str, bytes: &str| {
        format!("a 100644 links 1 owner 0:0 size 9 modified {modified} accessed now bytes {bytes}")
    };
    let difference = |found: String| super::compare::Difference {
        home: "stranger".to_owned(),
        due: format!("{}\n    {}", line("now", "aa"), line("now", "aa")),
        found: format!("{}\n    {found}", line("7.0", "aa")),
        of: "state",
    };
    let hole = |mode| Operation::Fallocate { target: Target::Open(0), mode, at: 0, length: 1 };
    let (same, lost) = (difference(line("7.0", "aa")), difference(line("7.0", "00")));
    assert_eq!(Lacking::shown_by(&hole(3), &same), [Lacking::PunchedHoles]);
    assert_eq!(Lacking::shown_by(&hole(0), &same), []);
    assert_eq!(Lacking::shown_by(&hole(3), &lost), []);
}

#[rstest::rstest]
#[case("done: 4096", "done: 8192", true, true)]
#[case("done: 4096", "done: 0", true, false)]
#[case("done: 4096", "done: 0", false, true)]
#[case("ENXIO", "done: 4096", false, true)]
#[case("done: 0", "ENXIO", false, false)]
#[case("done: 0", "EIO", false, false)]
fn data_may_not_be_taken_for_a_hole(
    #[case] due: &str,
    #[case] found: &str,
    #[case] hole: bool,
    #[case] healthy: bool,
) {
    let step = Operation::Seek { target: Target::Open(0), at: 0, hole };
    let difference = super::compare::Difference {
        home: "stranger".to_owned(),
        due: due.to_owned(),
        found: found.to_owned(),
        of: "seek",
    };
    assert_eq!(Lacking::shown_by(&step, &difference) == [Lacking::Holes], healthy);
}

#[test]
fn a_walk_is_decided_by_its_seed() {
    let (one, other) = (found(Lie::Errno), found(Lie::Errno));
    assert_eq!(one, other);
}

/// The script does what the walk did, and sees the same state.
#[test]
fn the_script_repeats_the_walk() {
    let room = tempfile::tempdir().unwrap();
    let honest = room.path().join("honest");
    fs::create_dir(&honest).unwrap();
    let path = |name: &str| Target::Path(name.to_owned());
    let mut homes = Homes::new(vec![Box::new(Referee::new("honest", honest))]);
    let steps = [
        Operation::Mkdir { path: "d".to_owned(), mode: 0o755 },
        Operation::Open { number: 0, path: "d/a".to_owned(), how: "create", mode: 0o644 },
        Operation::Write { target: path("d/a"), at: 4_097, data: Data::Rows(vec![1, -2]) },
        Operation::SetXattr { target: path("d/a"), name: "user.a".to_owned(), length: 3, flags: 0 },
        Operation::Store { target: path("d/a"), at: 16, byte: 65, length: 4 },
        Operation::Link { path: "d/a".to_owned(), to: "b".to_owned() },
        Operation::Rename { path: "b".to_owned(), to: "d".to_owned(), flags: 1 },
        Operation::Utimens { target: path("b"), accessed: 1, modified: 0 },
        Operation::Fallocate { target: path("b"), mode: 3, at: 0, length: 4_096 },
        Operation::Read { target: Target::Open(0), at: 4_097, length: 100 },
        Operation::Symlink { target: "missing".to_owned(), path: "c".to_owned() },
        Operation::GetXattr { target: path("b"), name: "user.b".to_owned() },
    ];
    let (agreed, differs) = homes.run(&steps).unwrap();
    assert_eq!(differs, None);
    let state = agreed.last().unwrap().lines.join("\n");
    let of = |of, due: &str| super::compare::Difference {
        home: "liar".to_owned(),
        due: due.to_owned(),
        found: String::new(),
        of,
    };
    let run = |text: &str| {
        let file = room.path().join("replay.py");
        fs::write(&file, text).unwrap();
        let there = room.path().join("there");
        fs::create_dir_all(&there).unwrap();
        let done = Command::new("python3").arg(&file).arg(&there).output().unwrap();
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (before, _) = agreed.split_at(steps.len() - 1);
    let (code, said) = run(&script(&steps, before, &of("state", &state)));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&script(&steps, before, &of("get_xattr", "ENOENT")));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("expected ENOENT") && said.contains("ENODATA"), "{said}");
}
