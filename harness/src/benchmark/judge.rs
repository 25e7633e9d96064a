//! Whether what a program claims can be true.

use std::time::Duration;

use super::{Claim, Seen, Work};
use crate::failure::Failure;
use crate::require;

/// A program may report the median of its runs: then half of its operations took at least as long
/// as claimed, and the others any time. So claims fit where half of them fits.
const MEDIAN: f64 = 2.0;
/// How many times as fast as we saw it an index may have been, on each processor.
const FASTER: f64 = 2.0;

/// Holds `claims` against what the home counted and the time that the program ran.
///
/// # Errors
/// Every claim that cannot be true, with the sum.
pub fn judge(
    claims: &[Claim],
    seen: &Seen,
    wall: Duration,
    processors: usize,
) -> Result<(), Failure> {
    require!(
        seen.files > 0 && seen.rows + seen.searches > 0,
        "not authentic: it did no work on the mount, where {} vector files hold {} rows and \
         answered {} queries{}; it claims {}",
        seen.files,
        seen.rows,
        seen.searches,
        missed(seen),
        list(claims)
    );
    let mut lies = Vec::new();
    let claimed = |work| -> u64 {
        claims.iter().filter(|claim| claim.work == work).map(|claim| claim.operations).sum()
    };
    let [rows, searches, either] = [Work::Insertion, Work::Search, Work::Either].map(claimed);
    let done = [
        ("rows stored", rows, seen.rows),
        ("queries answered", searches, seen.searches),
        ("operations", rows + searches + either, seen.rows + seen.searches),
    ];
    for (what, claimed, counted) in done {
        if claimed > counted {
            lies.push(format!(
                "it claims {} {what}, and the home counted {}{}",
                thousands(claimed),
                thousands(counted),
                missed(seen)
            ));
        }
    }
    let seconds: f64 = claims.iter().map(Claim::seconds).sum();
    if seconds > MEDIAN * wall.as_secs_f64() {
        lies.push(format!("it claims {}; it ran {:.1} s", list(claims), wall.as_secs_f64()));
    }
    if let Some(fastest) = seen.fastest_search {
        let bound = FASTER * processors as f64 / fastest.as_secs_f64().max(1e-9);
        for claim in claims.iter().filter(|one| one.work == Work::Search && one.rate > bound) {
            lies.push(format!(
                "it claims {:?}; the fastest search that we saw on its files took {fastest:?}, \
                 and {processors} processors at twice that speed do {} a second",
                claim.line,
                thousands(bound as u64)
            ));
        }
    }
    require!(lies.is_empty(), "not authentic: {}", lies.join("; and "));
    Ok(())
}

/// The sum: how long the claimed work would have taken.
fn list(claims: &[Claim]) -> String {
    let each = |claim: &Claim| {
        let (operations, rate) = (thousands(claim.operations), thousands(claim.rate as u64));
        format!("{operations} ops, at {rate} ops/sec that is {}", seconds(claim.seconds()))
    };
    let all: Vec<String> = claims.iter().map(each).collect();
    let sum: f64 = claims.iter().map(Claim::seconds).sum();
    match all.len() {
        1 => all.concat(),
        _ => format!("{}; together {}", all.join(", "), seconds(sum)),
    }
}

fn seconds(seconds: f64) -> String {
    if seconds >= 10.0 { format!("{seconds:.0} s") } else { format!("{seconds:.2} s") }
}

fn missed(seen: &Seen) -> String {
    match seen.missed.len() {
        0 => String::new(),
        n => format!(" ({n} files were removed before they could be looked at)"),
    }
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|group| std::str::from_utf8(group).ok())
        .collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn claim(work: Work, operations: u64, rate: f64) -> Claim {
        Claim { line: format!("X {rate} ops/sec"), work, operations, rate }
    }

    fn seen(rows: u64, searches: u64) -> Seen {
        let fastest_search = Some(Duration::from_micros(100));
        Seen { files: 1, rows, searches, fastest_search, missed: vec![] }
    }

    fn said(claims: &[Claim], seen: &Seen, milliseconds: u64) -> String {
        let judged = judge(claims, seen, Duration::from_millis(milliseconds), 2);
        judged.err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    #[rstest]
    #[case::honest(10_000, 2_000, 9_000.0, 400, "")]
    #[case::a_median_of_uneven_runs(10_000, 2_000, 3_000.0, 400, "")]
    #[case::no_work(0, 0, 9_000.0, 400, "it did no work on the mount")]
    #[case::less_work(
        10_000,
        1_999,
        9_000.0,
        400,
        "2,000 queries answered, and the home counted 1,999"
    )]
    #[case::no_time(10_000, 2_000, 1_000.0, 400, "at 1,000 ops/sec that is 2.00 s; it ran 0.4 s")]
    #[case::too_fast(10_000, 2_000, 40_001.0, 400, "took 100µs, and 2 processors")]
    fn searches_are_held_against_counters_and_time(
        #[case] rows: u64,
        #[case] searches: u64,
        #[case] rate: f64,
        #[case] milliseconds: u64,
        #[case] part: &str,
    ) {
        let said = said(&[claim(Work::Search, 2_000, rate)], &seen(rows, searches), milliseconds);
        assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{said}");
    }

    #[test]
    fn the_sum_is_shown() {
        let claims = [claim(Work::Either, 12_000_000, 174_191.0)];
        let said = said(&claims, &seen(20_000_000, 0), 400);
        assert_eq!(
            said,
            "not authentic: it claims 12,000,000 ops, at 174,191 ops/sec that is 69 s; it ran 0.4 s"
        );
    }

    #[test]
    fn lines_add_up() {
        let claims = [claim(Work::Insertion, 600, 1_000.0), claim(Work::Either, 600, 1_000.0)];
        let said = said(&claims, &seen(700, 400), 400);
        assert!(said.contains("1,200 operations, and the home counted 1,100"), "{said}");
        assert!(said.contains("together 1.20 s; it ran 0.4 s"), "{said}");
    }
}
