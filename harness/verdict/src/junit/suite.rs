//! Tests and their results, as a JUnit file lists them.

/// Tests of one kind that ran in one place.
#[derive(Debug, Clone, Default)]
pub(super) struct Suite {
    pub(super) name: String,
    pub(super) properties: Vec<(&'static str, String)>,
    /// Unix time of its first test.
    pub(super) began_ms: u64,
    pub(super) cases: Vec<Case>,
    /// Remarks on the whole suite.
    pub(super) notes: String,
    /// What could not be read.
    pub(super) errors: String,
}

/// A test and its result.
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
    /// Not run, for an acceptable reason.
    Skipped(String),
    /// The test failed.
    Failure(Bad),
    /// The test did not get as far as a result.
    Error(Bad),
}

/// The report of a test that did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    /// One of a few fixed words, so that CI can group by it.
    pub(super) kind: &'static str,
    pub(super) message: String,
    /// Output, kernel log and console.
    pub(super) details: String,
}
