//! Takes a sequence of steps through several homes at once and compares after each.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use machine::failure::{Failure, WithContext};

use super::home::Walked;
use super::lacking::{Lacking, compared};
use super::operation::Operation;
use super::outcome::Outcome;

/// How two homes differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The home that is not as the first one is.
    pub home: String,
    /// What is due.
    pub due: String,
    /// What there is instead.
    pub found: String,
    /// What of: the step's name, or `state`.
    pub of: &'static str,
}

impl Difference {
    /// Whether another difference is likely of the same cause.
    pub fn is_like(&self, other: &Difference) -> bool {
        self.home == other.home && self.of == other.of
    }
}

/// What the homes agree on after a step.
pub struct Agreed {
    /// What came of it.
    pub outcome: Outcome,
    /// What can be told of the state.
    pub lines: Vec<String>,
}

impl Agreed {
    /// The state's hash, the same in each run.
    pub fn state(&self) -> u64 {
        hash(&self.lines)
    }
}

/// A hash that is the same in each run.
pub fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The homes; the first is the referee.
pub struct Homes {
    /// All of them.
    pub all: Vec<Box<dyn Walked>>,
    /// Steps done so far.
    pub steps: u64,
    /// What is not compared, because a home lacks it.
    pub left_out: Vec<Lacking>,
}

impl Homes {
    /// These, the referee first.
    pub fn new(all: Vec<Box<dyn Walked>>) -> Homes {
        Homes { all, steps: 0, left_out: Vec::new() }
    }

    /// Begins anew in all of them.
    ///
    /// # Errors
    /// A home that cannot make or remove a directory.
    pub fn begin(&mut self) -> Result<(), Failure> {
        for home in &mut self.all {
            let name = home.name();
            home.begin().context(format!("beginning a walk in {name}"))?;
        }
        Ok(())
    }

    /// Does a step in all of them. Where the referee has no answer, the others must agree.
    ///
    /// # Errors
    /// The first difference.
    pub fn step(&mut self, step: &Operation) -> Result<Agreed, Difference> {
        self.steps += 1;
        let mut outcomes: Vec<(String, Outcome)> =
            self.all.iter_mut().map(|home| (home.name(), home.apply(step))).collect();
        let referee = outcomes[0].1.clone();
        if matches!(referee, Outcome::Free(_)) {
            outcomes.remove(0);
        }
        if let Some((_, due)) = outcomes.first()
            && let Some((home, found)) = outcomes.iter().find(|(_, found)| found != due)
        {
            let (home, due, found) = (home.clone(), due.words(), found.words());
            return Err(Difference { home, due, found, of: step.name() });
        }
        let mut snapshots = self.all.iter_mut().map(|home| (home.name(), home.snapshot()));
        let lines = snapshots.next().map(|(_, lines)| lines).unwrap_or_default();
        for (home, found) in snapshots {
            let (due, found) = (compared(&lines, &self.left_out), compared(&found, &self.left_out));
            if !due.iter().map(|(line, _)| line).eq(found.iter().map(|(line, _)| line)) {
                let only = |of: &[(String, String)], other: &[(String, String)]| {
                    let differs =
                        |line: &String| other.iter().all(|(compared, _)| compared != line);
                    let lines: Vec<&str> = of
                        .iter()
                        .filter(|(line, _)| differs(line))
                        .map(|(_, all)| &**all)
                        .collect();
                    lines.join("\n    ")
                };
                let (due, found) = (only(&due, &found), only(&found, &due));
                return Err(Difference { home, due, found, of: "state" });
            }
        }
        Ok(Agreed { outcome: referee, lines })
    }

    /// Does `steps` in new directories: the number of the step that differs, and how, and what came of
    /// those before it.
    ///
    /// # Errors
    /// A home that cannot begin.
    pub fn run(
        &mut self,
        steps: &[Operation],
    ) -> Result<(Vec<Agreed>, Option<Difference>), Failure> {
        self.begin()?;
        let mut agreed = Vec::new();
        for step in steps {
            match self.step(step) {
                Ok(one) => agreed.push(one),
                Err(difference) => return Ok((agreed, Some(difference))),
            }
        }
        Ok((agreed, None))
    }
}
