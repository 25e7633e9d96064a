//! Tests and what became of them, as a JUnit file has them.

/// Tests of one kind that ran in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) properties: Vec<(&'static str, String)>,
    /// Unix time of its first test.
    pub(super) began_ms: u64,
    pub(super) cases: Vec<Case>,
    /// What there is to say of all of it.
    pub(super) notes: String,
    /// What could not be read.
    pub(super) errors: String,
}

/// A test and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) class: String,
    pub(super) name: String,
    pub(super) seconds: f64,
    pub(super) outcome: CaseResult,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CaseResult {
    Passed,
    /// Not run, and rightly so; the reason.
    Skipped(String),
    /// It did not hold.
    Failure(Bad),
    /// It was not seen to hold.
    Error(Bad),
}

/// What a test that did not pass reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    /// One of a few fixed words, so that CI can group by it.
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// Output, kernel log and console.
    pub(super) details: String,
}
