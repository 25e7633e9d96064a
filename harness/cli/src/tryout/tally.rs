//! Prints one line for each thing as it is tried, and counts the results.

use console::style;
use machine::failure::Failure;

use super::advice;
use crate::output::outln;

/// How many things are tried of a daemon, and of a module.
const ALL: usize = 10;
/// How many of a failure's last lines are shown; a daemon's output may be long.
const LINES: usize = 8;

/// The results so far.
pub(super) struct Tally {
    of: &'static str,
    /// The command that runs all trials.
    all: String,
    works: usize,
    lacks: Vec<&'static str>,
    not_tried: usize,
    /// The daemon's output as it was last shown, so that it is not shown twice.
    words: String,
}

impl Tally {
    pub(super) fn new(of: &'static str, all: String) -> Tally {
        Tally { of, all, works: 0, lacks: Vec::new(), not_tried: 0, words: String::new() }
    }

    fn number(&self) -> usize {
        self.works + self.lacks.len() + self.not_tried + 1
    }

    /// Counts and prints a thing that works; `more` may add how.
    pub(super) fn works(&mut self, title: &'static str, more: &str) {
        let colon = if more.is_empty() { "" } else { ": " };
        outln!("{:>3} {:<9} {title}{colon}{more}", self.number(), style("works").green());
        self.works += 1;
    }

    /// Counts and prints a thing that does not work, and why; `advice` says which line of
    /// `vexfs.toml` to change, if that would help.
    pub(super) fn lacks(&mut self, title: &'static str, failure: &Failure, advice: Option<String>) {
        let message = failure.to_string();
        let (first, words) = message.split_once('\n').unwrap_or((&message, ""));
        let told = !words.is_empty() && words == self.words;
        let before = if told { " as before" } else { "" };
        outln!("{:>3} {:<9} {title}: {first}{before}", self.number(), style("lacks").red().bold());
        if !told {
            let all: Vec<&str> = words.lines().collect();
            for line in &all[all.len().saturating_sub(LINES)..] {
                outln!("{:13} | {line}", "");
            }
        }
        if let Some(advice) = advice {
            outln!("{:13} -> {advice}", "");
        }
        self.lacks.push(title);
        self.words = words.to_owned();
    }

    /// Counts and prints all remaining things as not tried, and why.
    pub(super) fn rest_not_tried(&mut self, why: &str) {
        let first = self.number();
        if first > ALL {
            return;
        }
        outln!("{first} to {ALL} {}: {why}", style("not tried").yellow());
        self.not_tried += ALL + 1 - first;
    }

    /// Counts and prints a thing that was not tried, and why.
    pub(super) fn not_tried(&mut self, title: &'static str, why: &str) {
        outln!("{:>3} {:<9} {title}: {why}", self.number(), style("not tried").yellow());
        self.not_tried += 1;
    }

    /// Whether all things work.
    pub(super) fn all_work(&self) -> bool {
        self.works == ALL
    }

    /// Prints the last line: how many things work, and what to do next.
    pub(super) fn conclude(&self) {
        outln!(
            "{}: {} of {ALL} work; {}",
            self.of,
            self.works,
            advice::next(!self.all_work(), &self.all)
        );
    }
}
