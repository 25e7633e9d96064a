//! A change of a file, and how it is drawn at random from a seed.

use std::fmt;

use measure::dataset;

use crate::torture::fuzz::Dice;

/// The properties of a file that changes depend on.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Components of a row.
    pub dim: usize,
    /// How many rows the file may have at most.
    pub most_rows: usize,
}

/// How bytes reach the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// One write(2).
    Whole,
    /// In pieces of this many bytes, a write(2) each, as `dd` does.
    Pieces(usize),
    /// Stored through a shared mapping, followed by msync(2); only whole pages that the file
    /// already has.
    Mapped,
}

/// A change.
#[derive(Debug, Clone)]
pub enum Change {
    /// Writes bytes at `at`.
    Write {
        /// The offset.
        at: usize,
        /// The bytes.
        bytes: Vec<u8>,
        /// How they are written.
        way: Way,
    },
    /// truncate(2) to this many bytes.
    SetLen(usize),
    /// Punches a hole of `length` bytes at `at`.
    Punch {
        /// The offset.
        at: usize,
        /// The length.
        length: usize,
    },
}

/// Numbers of rows at which a structure is trained again: 256, and four times as many each time.
const STEPS: [usize; 4] = [256, 1_024, 4_096, 16_384];
const PAGE: usize = 4096;

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Write { at, bytes, way } => {
                write!(f, "write of {} bytes at {at}, {way:?}", bytes.len())
            }
            Change::SetLen(length) => write!(f, "truncate to {length} bytes"),
            Change::Punch { at, length } => write!(f, "hole of {length} bytes at {at}"),
        }
    }
}

impl Change {
    /// Whether the kernel decides in which order and how often the rows change. It may write back a
    /// page of a mapping while it is being stored to, and before the pages in front of it.
    pub fn is_mapped(&self) -> bool {
        matches!(self, Change::Write { way: Way::Mapped, .. })
    }

    /// A random change of a file of `shape` that has `length` bytes.
    pub fn draw(dice: &mut Dice, shape: Shape, length: usize) -> Change {
        let row = shape.dim * size_of::<f32>();
        let rows = length / row;
        let most = shape.most_rows;
        match dice.below(16) {
            // Go to just beyond a training step, or just before one.
            0..=2 => {
                let target = near_step(dice, most);
                if target > rows {
                    Change::rows(dice, shape, rows, target - rows)
                } else {
                    Change::SetLen(target * row)
                }
            }
            3 | 4 => {
                let count = 1 + dice.below(most.saturating_sub(rows).clamp(1, 300) as u64) as usize;
                if rows + count > most {
                    Change::SetLen(rows / 2 * row)
                } else {
                    Change::rows(dice, shape, rows, count)
                }
            }
            5 => Change::SetLen(length.saturating_sub(1 + dice.below(3 * row as u64) as usize)),
            // Write all rows again, in pages or at once.
            6 | 7 if rows > 0 => {
                let bytes = values(dice, rows * shape.dim);
                let way = if dice.one_in(3) { Way::Whole } else { Way::Pieces(PAGE) };
                Change::Write { at: 0, bytes, way }
            }
            8 | 9 if length >= PAGE => {
                let pages = (length / PAGE) as u64;
                let first = dice.below(pages);
                // The kernel may write back one page before the next. A row across both would
                // change twice, and the contract does not say how.
                let most = if PAGE.is_multiple_of(row) { 4 } else { 1 };
                let count = 1 + dice.below((pages - first).min(most));
                let bytes = values(dice, count as usize * PAGE / size_of::<f32>());
                Change::Write { at: first as usize * PAGE, bytes, way: Way::Mapped }
            }
            10 if rows > 2 => {
                let at = dice.below(length as u64) as usize;
                Change::Punch { at, length: 1 + dice.below(4 * row as u64) as usize }
            }
            // A write that must be refused: its last row contains a NaN.
            11 => {
                let count = 1 + dice.below(200) as usize;
                let first = dice.below(rows as u64 + 1) as usize;
                let mut bytes = values(dice, count * shape.dim);
                let last = bytes.len() - size_of::<f32>();
                bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
                Change::Write { at: first * row, bytes, way: Way::Whole }
            }
            // Write beyond the end; the rows in between are zeros.
            12 if rows + 60 < most => {
                let first = rows + dice.below(20) as usize;
                let count = 1 + dice.below(30) as usize;
                Change::rows(dice, shape, first, count)
            }
            // Components that are not whole rows, in small pieces, some of a byte.
            13 if rows > 0 => {
                let component = dice.below((rows * shape.dim) as u64) as usize;
                let count = 1 + dice.below(3 * shape.dim as u64) as usize;
                let count = count.min(rows * shape.dim - component);
                let bytes = values(dice, count);
                let way = Way::Pieces(dice.pick(&[1, 4, 7, 12, 100]));
                Change::Write { at: component * size_of::<f32>(), bytes, way }
            }
            _ if rows > 0 => {
                let first = dice.below(rows as u64) as usize;
                let count = 1 + dice.below((rows - first).min(64) as u64) as usize;
                Change::rows(dice, shape, first, count)
            }
            _ => Change::rows(dice, shape, 0, 300.min(most)),
        }
    }

    /// Writes whole rows, in a random way.
    fn rows(dice: &mut Dice, shape: Shape, first: usize, count: usize) -> Change {
        let row = shape.dim * size_of::<f32>();
        let bytes = values(dice, count * shape.dim);
        let way = match dice.below(4) {
            0 => Way::Pieces(row),
            1 => Way::Pieces(PAGE),
            2 => Way::Pieces(row * (1 + dice.below(50) as usize)),
            _ => Way::Whole,
        };
        Change::Write { at: first * row, bytes, way }
    }
}

/// A number of rows close to a training step that the file may reach.
fn near_step(dice: &mut Dice, most: usize) -> usize {
    let steps: Vec<usize> = STEPS.into_iter().filter(|&step| step + 80 < most).collect();
    if steps.is_empty() {
        return dice.below(most as u64) as usize;
    }
    let step = dice.pick(&steps);
    let by = dice.pick(&[0, 1, 2, 24, 76]);
    if dice.one_in(2) { step + by } else { step - by }
}

/// `count` components, as bytes.
fn values(dice: &mut Dice, count: usize) -> Vec<u8> {
    let values: Vec<f32> = (0..count).map(|_| value(dice)).collect();
    dataset::bytes(&values).to_vec()
}

/// A component in [-1, 1), a multiple of 2^-20, so that rows are hardly ever equal.
fn value(dice: &mut Dice) -> f32 {
    (dice.below(1 << 21) as f32) / (1 << 20) as f32 - 1.0
}

/// A query of `dim` components.
pub fn query(dice: &mut Dice, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| value(dice)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all_and_every_step_is_crossed() {
        let shape = Shape { dim: 3, most_rows: 5_000 };
        let drawn = |seed| {
            let mut dice = Dice::new(seed, 0);
            let mut length = 0;
            let mut lengths = Vec::new();
            for _ in 0..200 {
                length = match Change::draw(&mut dice, shape, length) {
                    Change::Write { at, bytes, .. } => length.max(at + bytes.len()),
                    Change::SetLen(length) => length,
                    Change::Punch { .. } => length,
                };
                lengths.push(length / 12);
            }
            lengths
        };
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
        for step in [256, 1_024, 4_096] {
            let crossed = drawn(3).windows(2).any(|two| two[0] >= step && two[1] < step);
            assert!(crossed, "{step} is never crossed downwards");
        }
        assert!(drawn(3).into_iter().all(|rows| rows <= shape.most_rows + 200));
    }
}
