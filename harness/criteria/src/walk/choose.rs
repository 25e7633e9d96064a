//! Chooses where a walk goes: from a state the step that was tried least from it, and anew from the
//! beginnings that were continued least.

use std::collections::{HashMap, HashSet};

use homes::torture::fuzz::Dice;
use machine::failure::Failure;

use super::compare::{Difference, Homes, hash};
use super::coverage::Coverage;
use super::draw::draw;
use super::lacking::Lacking;
use super::operation::Operation;

/// Steps of a sequence, at most: a difference is more easily understood, and the prefixes are replayed.
const LONGEST: usize = 40;
/// Steps that go on from a saved beginning.
const ONWARD: usize = 12;
/// Beginnings that are kept.
const BEGINNINGS: usize = 2_000;
/// Steps of which one is chosen.
const CANDIDATES: usize = 4;

/// A walk so far.
pub struct Walk {
    dice: Dice,
    states: HashSet<u64>,
    tried: HashMap<(u64, u64), u32>,
    done: HashMap<(&'static str, String), u32>,
    beginnings: Vec<(Vec<Operation>, u32)>,
    /// What it met.
    pub coverage: Coverage,
    /// What it does without.
    pub left_out: Vec<Lacking>,
}

impl Walk {
    /// A walk that `seed` decides.
    pub fn new(seed: u64) -> Walk {
        Walk {
            dice: Dice::new(seed, 0),
            states: HashSet::new(),
            tried: HashMap::new(),
            done: HashMap::new(),
            beginnings: vec![(Vec::new(), 0)],
            coverage: Coverage::default(),
            left_out: Vec::new(),
        }
    }

    /// Distinct states that it has seen.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    fn choose(&mut self, state: u64) -> Operation {
        let mut drawn = Vec::with_capacity(CANDIDATES);
        while drawn.len() < CANDIDATES {
            let step = draw(&mut self.dice);
            let left_out = self.left_out.iter().any(|lacking| lacking.leaves_out(&step));
            if !left_out {
                drawn.push(step);
            }
        }
        let least = drawn.into_iter().min_by_key(|step| {
            let tried = self.tried.get(&(state, hash(step))).copied().unwrap_or(0);
            (tried, self.done.get(&(step.name(), step.class())).copied().unwrap_or(0))
        });
        least.expect("there are candidates")
    }

    fn beginning(&mut self) -> Vec<Operation> {
        let drawn: Vec<usize> =
            (0..3).map(|_| self.dice.below(self.beginnings.len() as u64) as usize).collect();
        let least = drawn.into_iter().min_by_key(|&n| self.beginnings[n].1).unwrap_or(0);
        let (steps, continued) = &mut self.beginnings[least];
        *continued += 1;
        steps.clone()
    }

    /// Walks through `homes` until it has seen `states`: the steps that led to a difference, and the
    /// difference.
    ///
    /// # Errors
    /// A home that cannot begin.
    pub fn go(
        &mut self,
        homes: &mut Homes,
        states: usize,
    ) -> Result<Option<(Vec<Operation>, Difference)>, Failure> {
        while self.states.len() < states {
            let mut steps = self.beginning();
            let (agreed, differs) = homes.run(&steps)?;
            if let Some(difference) = differs {
                steps.truncate(agreed.len() + 1);
                return Ok(Some((steps, difference)));
            }
            let mut state = agreed.last().map_or(0, super::compare::Agreed::state);
            for _ in 0..ONWARD {
                let step = self.choose(state);
                *self.tried.entry((state, hash(&step))).or_default() += 1;
                *self.done.entry((step.name(), step.class())).or_default() += 1;
                steps.push(step.clone());
                let agreed = match homes.step(&step) {
                    Ok(agreed) => agreed,
                    Err(difference) => return Ok(Some((steps, difference))),
                };
                self.coverage.met(&step, &agreed.outcome);
                state = agreed.state();
                let new = self.states.insert(state);
                if new && steps.len() + ONWARD <= LONGEST && self.beginnings.len() < BEGINNINGS {
                    self.beginnings.push((steps.clone(), 0));
                }
                if self.states.len() >= states {
                    break;
                }
            }
        }
        Ok(None)
    }
}
