//! Reduces a sequence that ends in a difference (delta debugging, Zeller and Hildebrandt, 2002): parts
//! are left out for as long as the difference stays, in new directories each time.

use machine::failure::Failure;

use super::compare::{Difference, Homes};
use super::operation::Operation;

/// Sequences that are tried, at most.
const TRIES: usize = 1_000;

/// The shortest sequence that was found, of which no step can be left out, and its difference.
///
/// # Errors
/// A home that cannot begin.
pub fn reduce(
    homes: &mut Homes,
    steps: &[Operation],
    difference: &Difference,
) -> Result<(Vec<Operation>, Difference), Failure> {
    let (mut shortest, mut shown) = (steps.to_vec(), difference.clone());
    let mut part = shortest.len().div_ceil(2);
    let mut tries = 0;
    while part > 0 && tries < TRIES {
        let mut at = 0;
        let mut shorter = false;
        while at < shortest.len() && tries < TRIES {
            let mut without = shortest.clone();
            without.drain(at..(at + part).min(without.len()));
            tries += 1;
            match homes.run(&without)? {
                (agreed, Some(found)) if found.is_like(&shown) => {
                    without.truncate(agreed.len() + 1);
                    (shortest, shown, shorter) = (without, found, true);
                }
                _ => at += part,
            }
        }
        if !shorter || part > 1 {
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }
    Ok((shortest, shown))
}
