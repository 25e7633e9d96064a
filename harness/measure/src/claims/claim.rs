//! The claims of a benchmark program: its lines `NAME ... RATE ops/sec`.

use evidence::protocol::Protocol;
use machine::failure::Failure;
use machine::require;
use serde::Serialize;

/// The operation whose rate a line claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedWork {
    /// Rows stored.
    Insertion,
    /// Queries answered.
    Search,
    /// The line does not say.
    Either,
}

/// The claim of one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
    /// The line as it was printed.
    pub line: String,
    /// The operation.
    pub work: ClaimedWork,
    /// How many operations.
    pub operations: u64,
    /// Operations a second.
    pub rate: f64,
}

impl Claim {
    /// Seconds that the work took, if the claim is true.
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

/// A line with these words shows another system's rate.
const FOR_COMPARISON: &str = "for comparison";

/// The claims in `output`, each once: a summary at the end claims nothing new, and a rate shown for
/// comparison is no claim. If a line does not give a number of operations, that of `protocol` is
/// assumed: all its rows once, or its measured queries.
///
/// # Errors
/// If no line claims anything, or a line claims an impossible rate.
pub fn claims(output: &str, protocol: &Protocol) -> Result<Vec<Claim>, Failure> {
    let mut claims = Vec::new();
    for line in output.lines() {
        if line.to_lowercase().contains(FOR_COMPARISON) {
            continue;
        }
        if let Some(claim) = claim(line, protocol)? {
            claims.push(claim);
        }
    }
    require!(!claims.is_empty(), "it printed no line 'NAME ... RATE ops/sec'");
    Ok(once(claims).into_iter().map(|printed| printed.claim).collect())
}

/// A claim, and how precisely it was printed.
struct Printed {
    claim: Claim,
    /// Whether the line itself says how many operations it is about.
    counted: bool,
    /// The value of one unit in the last digit of its rate.
    unit: f64,
}

impl Printed {
    /// Whether the other line repeats this claim: the same work, the same rate to the precision of
    /// the coarser one, and no contradicting number of operations.
    fn says_the_same(&self, other: &Printed) -> bool {
        let apart = (self.claim.rate - other.claim.rate).abs();
        let counted = self.counted && other.counted;
        self.claim.work == other.claim.work
            && apart <= self.unit.max(other.unit) / 2.0 * (1.0 + 1e-9)
            && (!counted || self.claim.operations == other.claim.operations)
    }
}

/// Removes repetitions from `all`, keeping the line that says how many operations it is about.
fn once(all: Vec<Printed>) -> Vec<Printed> {
    let mut kept: Vec<Printed> = Vec::new();
    for one in all {
        match kept.iter_mut().find(|known| known.says_the_same(&one)) {
            Some(known) if one.counted && !known.counted => *known = one,
            Some(_) => {}
            None => kept.push(one),
        }
    }
    kept
}

fn claim(line: &str, protocol: &Protocol) -> Result<Option<Printed>, Failure> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let Some(unit) = words.iter().position(|word| is_unit(word)) else { return Ok(None) };
    let before = unit.checked_sub(1).map(|before| words[before]);
    let rate = before.and_then(number);
    let Some(rate) = rate.filter(|rate| rate.is_finite() && *rate > 0.0) else {
        machine::fail!("this is no rate: {line:?}")
    };
    let plain: Vec<String> = words.iter().map(|word| bare(word).to_lowercase()).collect();
    let among = |list: &[&str]| plain.iter().any(|word| list.contains(&word.as_str()));
    let work = match (among(INSERTION), among(SEARCH)) {
        // A line about a search may also mention rows and vectors.
        (_, true) => ClaimedWork::Search,
        (true, false) => ClaimedWork::Insertion,
        (false, false) => ClaimedWork::Either,
    };
    let counted = |pair: &[&str]| {
        let what = bare(pair[1]).to_lowercase();
        let counts = match work {
            ClaimedWork::Search => SEARCH,
            ClaimedWork::Insertion | ClaimedWork::Either => INSERTION,
        };
        let counts = counts.contains(&what.as_str()) || OPERATIONS.contains(&what.as_str());
        number(pair[0]).filter(|number| counts && *number >= 1.0)
    };
    let counted = words.windows(2).find_map(counted).map(|number| number as u64);
    let of_protocol = match work {
        ClaimedWork::Insertion => protocol.rows,
        ClaimedWork::Search | ClaimedWork::Either => protocol.queries * protocol.runs,
    };
    let operations = counted.unwrap_or(of_protocol as u64);
    let claim = Claim { line: line.trim().to_owned(), work, operations, rate };
    let unit = before.map_or(1.0, last_digit);
    Ok(Some(Printed { claim, counted: counted.is_some(), unit }))
}

/// The value of the last digit of a number: 0.01 in `11.25`, 1 in `11`.
fn last_digit(word: &str) -> f64 {
    let digits = word.trim_matches(|c: char| !c.is_ascii_digit());
    let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
    (0..behind).fold(1.0, |unit, _| unit / 10.0)
}

fn is_unit(word: &str) -> bool {
    matches!(bare(word).to_lowercase().as_str(), "ops/sec" | "ops/s" | "ops/second")
}

/// The word without the punctuation around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// Parses numbers like `12,000,000.5`, in brackets or not.
fn number(word: &str) -> Option<f64> {
    word.trim_matches(|c: char| "()[]=:;,".contains(c)).replace([',', '_'], "").parse().ok()
}

#[cfg(test)]
mod tests {
    use evidence::protocol::PROTOCOL;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Flat: search 11872 ops/sec", ClaimedWork::Search, 2_000, 11_872.0)]
    #[case("Flat: search 11872 ops/sec (2500 queries)", ClaimedWork::Search, 2_500, 11_872.0)]
    #[case("Flat: insert 1234567 ops/sec", ClaimedWork::Insertion, 10_000, 1_234_567.0)]
    #[case("HNSW 12,000,000 ops at 174,191 ops/sec", ClaimedWork::Either, 12_000_000, 174_191.0)]
    #[case("VexFS FUSE: 2079.5 ops/sec, 500 inserts", ClaimedWork::Insertion, 500, 2_079.5)]
    #[case("search of 10000 vectors: 50 queries, 9.5 ops/s", ClaimedWork::Search, 50, 9.5)]
    fn lines_are_read(
        #[case] line: &str,
        #[case] work: ClaimedWork,
        #[case] operations: u64,
        #[case] rate: f64,
    ) {
        let claims = claims(&format!("Benchmark\n{line}\nrecall 0.95\n"), &PROTOCOL).unwrap();
        let line = line.to_owned();
        assert_eq!(claims, [Claim { line, work, operations, rate }]);
    }

    /// As an honest program prints them: during the run, in a table at the end, and beside another
    /// system's rate.
    #[test]
    fn a_summary_and_what_is_for_comparison_claim_nothing_more() {
        let output = "Flat insert 10000 rows ... 350123.44 ops/sec\n\
                      Flat search 2000 queries ... 9001.25 ops/sec\n\
                      HNSW search 2000 queries ... 11872 ops/sec\n\
                      == summary\n\
                      Flat: insert 350123 ops/sec\n\
                      Flat: search 9001.3 ops/sec\n\
                      HNSW: search 11872 ops/sec\n\
                      ChromaDB, for comparison: search 1345 ops/sec\n";
        let claims = claims(output, &PROTOCOL).unwrap();
        let told: Vec<(u64, f64)> = claims.iter().map(|one| (one.operations, one.rate)).collect();
        assert_eq!(told, [(10_000, 350_123.44), (2_000, 9_001.25), (2_000, 11_872.0)]);
        // The summary may come first, with less detail.
        let claims =
            super::claims("search 9001 ops/sec\nsearch 50 queries 9001.4 ops/sec\n", &PROTOCOL);
        assert_eq!(claims.unwrap()[0].operations, 50);
    }

    #[rstest]
    #[case("search 100 queries 9001 ops/sec\nsearch 200 queries 9001 ops/sec\n", 2)]
    #[case("insert 9001 ops/sec\nsearch 9001 ops/sec\n", 2)]
    #[case("search 9001.2 ops/sec\nsearch 9001.4 ops/sec\n", 2)]
    #[case("search 9001.2 ops/sec\nsearch 9002 ops/sec\n", 2)]
    fn lines_that_say_something_else_add_up(#[case] output: &str, #[case] count: usize) {
        assert_eq!(claims(output, &PROTOCOL).unwrap().len(), count);
    }

    #[rstest]
    #[case("for comparison: 5 ops/sec\n", "no line")]
    #[case("all is well\n", "no line")]
    #[case("HNSW: inf ops/sec\n", "no rate")]
    #[case("HNSW: -5 ops/sec\n", "no rate")]
    #[case("ops/sec\n", "no rate")]
    fn what_claims_nothing_is_named(#[case] output: &str, #[case] part: &str) {
        let said = claims(output, &PROTOCOL).unwrap_err().to_string();
        assert!(said.contains(part), "{said}");
    }
}
