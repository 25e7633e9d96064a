//! What became of the things that were tried: a line each, as it goes.

use console::style;
use machine::failure::Failure;

use super::advice;
use crate::output::outln;

/// How many there are, of each home.
const ALL: usize = 10;
/// Lines of a failure that are shown: what a daemon said may be long.
const LINES: usize = 8;

/// What was tried so far.
pub(super) struct Tally {
    of: &'static str,
    /// What tries all of it.
    all: String,
    works: usize,
    lacks: Vec<&'static str>,
    not_tried: usize,
    /// What the daemon said, when it was last told: its last words are told once.
    words: String,
}

impl Tally {
    pub(super) fn new(of: &'static str, all: String) -> Tally {
        Tally { of, all, works: 0, lacks: Vec::new(), not_tried: 0, words: String::new() }
    }

    fn number(&self) -> usize {
        self.works + self.lacks.len() + self.not_tried + 1
    }

    /// It works; `more` may say how.
    pub(super) fn works(&mut self, title: &'static str, more: &str) {
        let colon = if more.is_empty() { "" } else { ": " };
        outln!("{:>3} {:<9} {title}{colon}{more}", self.number(), style("works").green());
        self.works += 1;
    }

    /// It does not, and why; `advice` says what to change where a line of `vexfs.toml` would.
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

    /// All that is left was not tried, and why.
    pub(super) fn rest_not_tried(&mut self, why: &str) {
        let first = self.number();
        if first > ALL {
            return;
        }
        outln!("{first} to {ALL} {}: {why}", style("not tried").yellow());
        self.not_tried += ALL + 1 - first;
    }

    /// It was not tried, and why.
    pub(super) fn not_tried(&mut self, title: &'static str, why: &str) {
        outln!("{:>3} {:<9} {title}: {why}", self.number(), style("not tried").yellow());
        self.not_tried += 1;
    }

    /// Whether nothing is lacking.
    pub(super) fn all_work(&self) -> bool {
        self.works == ALL
    }

    /// The last line: how many there are, and what to do next.
    pub(super) fn conclude(&self) {
        outln!(
            "{}: {} of {ALL} work; {}",
            self.of,
            self.works,
            advice::next(!self.all_work(), &self.all)
        );
    }
}
