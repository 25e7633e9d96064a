//! Draws a step. Names, sizes and numbers are few, so that steps meet one another.

use homes::torture::fuzz::Dice;
use vexfs_uapi::{MAX_DIM, MAX_INDEXES, MAX_K};

use super::operation::{Data, HOW, Operation, Target};

const DIRECTORIES: [&str; 3] = ["d", "e", "d/e"];
const PATHS: [&str; 12] = ["a", "b", "c", "a", "b", "d", "e", "d/a", "d/b", "d/e", "e/a", "d/e/a"];
const TARGETS: [&str; 5] = ["a", "b", "d", "d/a", "missing"];
const OFFSETS: [i64; 9] = [0, 0, 4, 16, 100, 4_095, 4_096, 4_097, 8_192];
const LENGTHS: [usize; 6] = [1, 4, 16, 64, 100, 4_097];
const SIZES: [i64; 9] = [0, 1, 16, 64, 100, 4_096, 4_097, 10_000, -1];
const NAMES: [&str; 5] = ["user.a", "user.b", "user.a", "user.", "a"];
/// Descriptors that may be open at a time.
pub const DESCRIPTORS: usize = 2;
/// Slots for indexes that are used.
pub const SLOTS: u32 = 2;
/// Rows of 4 and of 16 components do not lie across pages, which may change apart.
const DIMS: [u32; 2] = [4, 16];

fn path(dice: &mut Dice) -> String {
    if dice.one_in(60) {
        return "n".repeat(256);
    }
    if dice.one_in(30) {
        return dice.pick(&["missing/a", "a/a", "d/../a"]).to_owned();
    }
    dice.pick(&PATHS).to_owned()
}

fn target(dice: &mut Dice) -> Target {
    if dice.one_in(4) {
        Target::Open(dice.below(DESCRIPTORS as u64) as usize)
    } else {
        Target::Path(path(dice))
    }
}

/// What is out of range lies within a page: FUSE may carry out a write in parts, of which only one
/// is refused then.
fn data(dice: &mut Dice) -> Data {
    match dice.below(8) {
        0 => Data::Infinite,
        1..=3 => Data::Fill(dice.pick(&[0, b'A', b'@']), dice.pick(&LENGTHS)),
        _ => {
            let rows = dice.pick(&[4, 16, 32, 64]);
            Data::Rows((0..rows).map(|_| dice.below(9) as i8 - 4).collect())
        }
    }
}

/// Bytes of a write and where they go.
fn placed(dice: &mut Dice) -> (i64, Data) {
    match data(dice) {
        Data::Infinite => (dice.pick(&[0, 4, 16, 4_096]), Data::Infinite),
        data if dice.one_in(40) => (-1, data),
        data => (dice.pick(&OFFSETS), data),
    }
}

fn row(dice: &mut Dice, dim: u32) -> Vec<i8> {
    (0..dim).map(|_| dice.below(9) as i8 - 4).collect()
}

/// One step.
pub fn draw(dice: &mut Dice) -> Operation {
    let mode = dice.pick(&[0o644, 0o600, 0o755]);
    match dice.below(40) {
        0..=3 => Operation::Open {
            number: dice.below(DESCRIPTORS as u64) as usize,
            path: path(dice),
            how: dice.pick(&HOW),
            mode,
        },
        4 => Operation::Close { number: dice.below(DESCRIPTORS as u64) as usize },
        5 | 6 => Operation::Mkdir {
            path: if dice.one_in(3) { path(dice) } else { dice.pick(&DIRECTORIES).to_owned() },
            mode,
        },
        7 => Operation::Rmdir { path: path(dice) },
        8 | 9 => Operation::Unlink { path: path(dice) },
        10 => Operation::Symlink { target: dice.pick(&TARGETS).to_owned(), path: path(dice) },
        11 => Operation::Readlink { path: path(dice) },
        12 | 13 => Operation::Link { path: path(dice), to: path(dice) },
        // Neither, RENAME_NOREPLACE, RENAME_EXCHANGE, both.
        14..=16 => Operation::Rename {
            path: path(dice),
            to: path(dice),
            flags: dice.pick(&[0, 0, 1, 2, 3]),
        },
        17..=19 => {
            let (at, data) = placed(dice);
            Operation::Write { target: target(dice), at, data }
        }
        // An append may begin anywhere in a page, so it is nothing that can be refused in part.
        20 => Operation::Append { target: target(dice), data: Data::Rows(row(dice, 16)) },
        21 => Operation::Read {
            target: target(dice),
            at: dice.pick(&OFFSETS),
            length: dice.pick(&LENGTHS),
        },
        22 | 23 => Operation::Truncate { target: target(dice), length: dice.pick(&SIZES) },
        // Nothing, KEEP_SIZE, PUNCH_HOLE without and with it, COLLAPSE_RANGE, ZERO_RANGE.
        24 | 25 => Operation::Fallocate {
            target: target(dice),
            mode: dice.pick(&[0, 1, 2, 3, 3, 8, 16]),
            at: dice.pick(&OFFSETS),
            length: dice.pick(&SIZES),
        },
        26 => {
            Operation::Seek { target: target(dice), at: dice.pick(&OFFSETS), hole: dice.one_in(2) }
        }
        27 => Operation::Store {
            target: target(dice),
            at: dice.pick(&OFFSETS) as usize,
            byte: dice.pick(&[0, b'A', b'@']),
            length: dice.pick(&LENGTHS),
        },
        28 => Operation::Chmod {
            target: target(dice),
            mode: dice.pick(&[0o644, 0o600, 0o755, 0o4755, 0o2755, 0o1777]),
        },
        29 => Operation::Chown {
            target: target(dice),
            uid: dice.pick(&[0, 1_000, u32::MAX]),
            gid: dice.pick(&[0, 1_000, u32::MAX]),
        },
        30 => Operation::Utimens {
            target: target(dice),
            accessed: dice.pick(&[0, 1, 1_000_000_000]),
            modified: dice.pick(&[0, 1, 1_000_000_000]),
        },
        31 | 32 => Operation::SetXattr {
            target: target(dice),
            name: dice.pick(&NAMES).to_owned(),
            length: dice.pick(&[0, 1, 100]),
            flags: dice.pick(&[0, 0, 1, 2]),
        },
        33 => Operation::GetXattr { target: target(dice), name: dice.pick(&NAMES).to_owned() },
        34 => Operation::RemoveXattr { target: target(dice), name: dice.pick(&NAMES).to_owned() },
        35 | 36 => Operation::Attach {
            target: target(dice),
            index: if dice.one_in(20) { MAX_INDEXES } else { dice.below(SLOTS.into()) as u32 },
            dim: dice.pick(&[4, 4, 4, 4, 16, 16, 16, 0, MAX_DIM + 1]),
            metric: dice.pick(&[1, 2, 3]),
            kind: dice.pick(&[1, 1, 2, 3, 4, 5]),
        },
        37 => Operation::Detach { target: target(dice), index: dice.below(SLOTS.into()) as u32 },
        _ => {
            let dim = dice.pick(&DIMS);
            let queries = dice.pick(&[1, 1, 3]);
            Operation::Search {
                target: target(dice),
                index: dice.below(SLOTS.into()) as u32,
                dim,
                k: dice.pick(&[1, 3, 3, 10, 0, MAX_K + 1]),
                queries: (0..queries).flat_map(|_| row(dice, dim)).collect(),
            }
        }
    }
}
