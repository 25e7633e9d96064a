//! Judges whether a program's claims can be true.

use std::time::Duration;

use machine::failure::Failure;
use machine::require;

use super::claim::{Claim, ClaimedWork};
use super::pace::{Pace, fastest};
use super::seen::Seen;

/// A program may report the median of its runs. Then half of its operations took at least as long
/// as claimed, and the others any time, so only half of the claimed time has to fit.
const MEDIAN: f64 = 2.0;
/// How many times faster than we measured an index may have been, on each processor. A disturbance
/// during our own measurement must not make an honest program look like a liar.
const FASTER: f64 = 2.0;

/// Compares `claims` with what the home counted and with how long the program ran.
///
/// # Errors
/// Every claim that cannot be true, with the calculation.
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
    let [rows, searches, either] =
        [ClaimedWork::Insertion, ClaimedWork::Search, ClaimedWork::Either].map(claimed);
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
    lies.extend(too_fast(claims, seen, processors));
    require!(lies.is_empty(), "not authentic: {}", lies.join("; and "));
    Ok(())
}

/// The claims that are faster than our measurements allow, each by itself and all together.
fn too_fast(claims: &[Claim], seen: &Seen, processors: usize) -> Vec<String> {
    let mut lies = Vec::new();
    for work in [ClaimedWork::Insertion, ClaimedWork::Search, ClaimedWork::Either] {
        let of_work: Vec<&Claim> = claims.iter().filter(|claim| claim.work == work).collect();
        let each = of_work.chunks(1);
        let together = (of_work.len() > 1).then_some(&of_work[..]);
        lies.extend(each.chain(together).filter_map(|some| faster(work, some, seen, processors)));
    }
    lies
}

/// Explains why `claims` of the same kind of work are too fast together, if they are.
fn faster(work: ClaimedWork, claims: &[&Claim], seen: &Seen, processors: usize) -> Option<String> {
    let (stored, searched): (&[Pace], &[Pace]) = match work {
        ClaimedWork::Insertion => (&seen.inserting, &[]),
        ClaimedWork::Search => (&[], &seen.searching),
        ClaimedWork::Either => (&seen.inserting, &seen.searching),
    };
    let what = match work {
        ClaimedWork::Insertion => "insertion of a row",
        ClaimedWork::Search => "search",
        ClaimedWork::Either => "insertion or search",
    };
    let operations: u64 = claims.iter().map(|claim| claim.operations).sum();
    // Only half of the operations took at least as long as the median.
    let half = (operations as f64 / MEDIAN).ceil() as u64;
    let fastest = fastest(stored.iter().chain(searched), half)?;
    let bound = FASTER * processors as f64 / fastest.seconds.max(1e-9);
    let claimed: f64 = claims.iter().map(|claim| claim.seconds()).sum();
    if operations as f64 / claimed <= bound {
        return None;
    }
    let lines: Vec<String> = claims.iter().map(|claim| format!("{:?}", claim.line)).collect();
    Some(format!(
        "it claims {}: {}; the fastest {what} that we saw on its files took {:?}, and {processors} \
         processors at twice that speed do {} a second ({})",
        lines.join(" and "),
        list(claims.iter().copied()),
        Duration::from_secs_f64(fastest.seconds),
        thousands(bound as u64),
        fastest.indexes.join(", ")
    ))
}

/// Shows how long the claimed work would have taken.
fn list<'a>(claims: impl IntoIterator<Item = &'a Claim>) -> String {
    let claims: Vec<&Claim> = claims.into_iter().collect();
    let each = |claim: &&Claim| {
        let (operations, rate) = (thousands(claim.operations), thousands(claim.rate as u64));
        format!("{operations} ops, at {rate} ops/sec that is {}", seconds(claim.seconds()))
    };
    let all: Vec<String> = claims.iter().map(each).collect();
    let sum: f64 = claims.iter().map(|claim| claim.seconds()).sum();
    match all.len() {
        1 => all.concat(),
        _ => format!("{}; together {}", all.join(", "), seconds(sum)),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        10.0.. => format!("{seconds:.0} s"),
        0.01.. => format!("{seconds:.2} s"),
        _ => format!("{seconds:.1e} s"),
    }
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

    fn claim(work: ClaimedWork, operations: u64, rate: f64) -> Claim {
        Claim { line: format!("X {rate} ops/sec"), work, operations, rate }
    }

    fn seen(rows: u64, searches: u64) -> Seen {
        let pace = |index: &str, operations, seconds| {
            vec![Pace { index: index.to_owned(), operations, seconds }]
        };
        let (searching, inserting) = (pace("a", searches, 1e-4), pace("b", rows, 1e-5));
        Seen { files: 1, rows, searches, searching, inserting, missed: vec![] }
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
        let said =
            said(&[claim(ClaimedWork::Search, 2_000, rate)], &seen(rows, searches), milliseconds);
        assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{said}");
    }

    #[rstest]
    #[case::stored(ClaimedWork::Insertion, 399_000.0, "")]
    #[case::stored_too_fast(
        ClaimedWork::Insertion,
        401_000.0,
        "insertion of a row that we saw on its files took 10µs"
    )]
    #[case::either(ClaimedWork::Either, 399_000.0, "")]
    #[case::either_too_fast(
        ClaimedWork::Either,
        1e12,
        "at 1,000,000,000,000 ops/sec that is 2.0e-9 s"
    )]
    fn rows_and_lines_of_neither_are_held_against_our_speed(
        #[case] work: ClaimedWork,
        #[case] rate: f64,
        #[case] part: &str,
    ) {
        let said = said(&[claim(work, 2_000, rate)], &seen(10_000, 2_000), 400);
        assert!(said.contains(part) && said.is_empty() == part.is_empty(), "{said}");
    }

    #[test]
    fn a_tiny_index_does_not_lend_its_speed() {
        let mut seen = seen(10_000, 2_000);
        seen.searching.push(Pace { index: "tiny".to_owned(), operations: 10, seconds: 1e-6 });
        assert_eq!(said(&[claim(ClaimedWork::Search, 2_000, 40_000.0)], &seen, 400), "");
        let said = said(&[claim(ClaimedWork::Search, 2_000, 41_000.0)], &seen, 400);
        assert!(said.contains("do 40,") && said.contains("a second (tiny, a)"), "{said}");
    }

    #[test]
    fn fast_lines_add_up() {
        let mut seen = seen(10_000, 2_000);
        seen.searching[0].operations = 1_000;
        seen.searching.push(Pace { index: "c".to_owned(), operations: 1_000, seconds: 1e-6 });
        let claims = [1.0, 2.0].map(|more| claim(ClaimedWork::Search, 1_000, 3_000_000.0 + more));
        assert_eq!(said(&claims[..1], &seen, 400), "");
        // The half that a median speaks about may all have been on the fast index, but not more
        // than that.
        assert_eq!(said(&claims, &seen, 400), "");
        seen.searching[1].operations = 500;
        let said = said(&claims, &seen, 400);
        assert!(said.contains("together"), "{said}");
    }

    #[test]
    fn the_sum_is_shown() {
        let claims = [claim(ClaimedWork::Either, 12_000_000, 174_191.0)];
        let said = said(&claims, &seen(20_000_000, 0), 400);
        assert_eq!(
            said,
            "not authentic: it claims 12,000,000 ops, at 174,191 ops/sec that is 69 s; it ran 0.4 s"
        );
    }

    #[test]
    fn lines_add_up() {
        let claims =
            [claim(ClaimedWork::Insertion, 600, 1_000.0), claim(ClaimedWork::Either, 600, 1_000.0)];
        let said = said(&claims, &seen(700, 400), 400);
        assert!(said.contains("1,200 operations, and the home counted 1,100"), "{said}");
        assert!(said.contains("together 1.20 s; it ran 0.4 s"), "{said}");
    }
}
