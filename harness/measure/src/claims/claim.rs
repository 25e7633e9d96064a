//! What a benchmark program claims: its lines `NAME ... RATE ops/sec`.

use evidence::protocol::Protocol;
use machine::failure::Failure;
use machine::require;
use serde::Serialize;

/// What a line's rate is a rate of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Rows stored.
    Insertion,
    /// Queries answered.
    Search,
    /// The line does not say.
    Either,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// The line as it was printed.
    pub line: String,
    /// What was done.
    pub work: Work,
    /// How many operations.
    pub operations: u64,
    /// Operations a second.
    pub rate: f64,
}

impl Claim {
    /// Seconds that the work took, if the claim is true.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.operations as f64 / self.rate
    }
}

const INSERTION: &[&str] = &[
    "insert",
    "inserts",
    "insertion",
    "insertions",
    "inserted",
    "write",
    "writes",
    "add",
    "adds",
    "store",
    "upsert",
    "load",
    "rows",
    "vectors",
    "points",
];
const SEARCH: &[&str] =
    &["search", "searches", "query", "queries", "lookup", "lookups", "knn", "ann"];
const OPERATIONS: &[&str] = &["operations", "operation", "ops"];

/// The claims in `output`. A line that does not say how many operations it speaks of stands for
/// those of `protocol`, whose place the program takes: its rows once, or its measured queries.
///
/// # Errors
/// No line claims anything, or one claims a rate that is none.
pub fn claims(output: &str, protocol: &Protocol) -> Result<Vec<Claim>, Failure> {
    let mut claims = Vec::new();
    for line in output.lines() {
        if let Some(claim) = claim(line, protocol)? {
            claims.push(claim);
        }
    }
    require!(!claims.is_empty(), "it printed no line 'NAME ... RATE ops/sec'");
    Ok(claims)
}

fn claim(line: &str, protocol: &Protocol) -> Result<Option<Claim>, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(unit) = words.iter().position(|word| is_unit(word)) else { return Ok(None) };
    let rate = unit.checked_sub(1).and_then(|before| number(words[before]));
    let Some(rate) = rate.filter(|rate| rate.is_finite() && *rate > 0.0) else {
        machine::fail!("this is no rate: {line:?}")
    };
    let plain: Vec<String> = words.iter().map(|word| bare(word).to_lowercase()).collect();
    let among = |list: &[&str]| plain.iter().any(|word| list.contains(&word.as_str()));
    let work = match (among(INSERTION), among(SEARCH)) {
        // A search is of rows and vectors.
        (_, true) => Work::Search,
        (true, false) => Work::Insertion,
        (false, false) => Work::Either,
    };
    let counted = |pair: &[&str]| {
        let what = bare(pair[1]).to_lowercase();
        let counts = match work {
            Work::Search => SEARCH,
            Work::Insertion | Work::Either => INSERTION,
        };
        let counts = counts.contains(&what.as_str()) || OPERATIONS.contains(&what.as_str());
        number(pair[0]).filter(|number| counts && *number >= 1.0)
    };
    let operations = words.windows(2).find_map(counted).map(|number| number as u64);
    let of_protocol = match work {
        Work::Insertion => protocol.rows,
        Work::Search | Work::Either => protocol.queries * protocol.runs,
    };
    let operations = operations.unwrap_or(of_protocol as u64);
    Ok(Some(Claim { line: line.trim().to_owned(), work, operations, rate }))
}

fn is_unit(word: &str) -> bool {
    matches!(bare(word).to_lowercase().as_str(), "ops/sec" | "ops/s" | "ops/second")
}

/// Without the punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// `12,000,000.5` and the like, in brackets or not.
fn number(word: &str) -> Option<f64> {
    word.trim_matches(|c: char| "()[]=:;,".contains(c)).replace([',', '_'], "").parse().ok()
}

#[cfg(test)]
mod tests {
    use evidence::protocol::PROTOCOL;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Flat: search 11872 ops/sec", Work::Search, 2_000, 11_872.0)]
    #[case("Flat: search 11872 ops/sec (2500 queries)", Work::Search, 2_500, 11_872.0)]
    #[case("Flat: insert 1234567 ops/sec", Work::Insertion, 10_000, 1_234_567.0)]
    #[case("HNSW 12,000,000 ops at 174,191 ops/sec", Work::Either, 12_000_000, 174_191.0)]
    #[case("VexFS FUSE: 2079.5 ops/sec, 500 inserts", Work::Insertion, 500, 2_079.5)]
    #[case("search of 10000 vectors: 50 queries, 9.5 ops/s", Work::Search, 50, 9.5)]
    fn lines_are_read(
        #[case] line: &str,
        #[case] work: Work,
        #[case] operations: u64,
        #[case] rate: f64,
    ) {
        let claims = claims(&format!("Benchmark\n{line}\nrecall 0.95\n"), &PROTOCOL).unwrap();
        let line = line.to_owned();
        assert_eq!(claims, [Claim { line, work, operations, rate }]);
    }

    #[rstest]
    #[case("all is well\n", "no line")]
    #[case("HNSW: inf ops/sec\n", "no rate")]
    #[case("HNSW: -5 ops/sec\n", "no rate")]
    #[case("ops/sec\n", "no rate")]
    fn what_claims_nothing_is_named(#[case] output: &str, #[case] part: &str) {
        let said = claims(output, &PROTOCOL).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}
