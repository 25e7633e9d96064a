//! Checks that a contender did the work that it was sent, with the index that was asked for.

use criteria::competitor_index;
use criteria::served::{Asked, Served};
use evidence::protocol::PROTOCOL;
use machine::failure::Failure;
use machine::require;
use serde_json::Value;
use vexfs_uapi::Kind;

use super::named_contender::NamedContender;

/// The counters of a contender that has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    searches: u64,
    /// `None` for the engine in process.
    distances: Option<u64>,
}

impl Counted {
    /// The counters in a description; `None` for a competitor.
    pub(super) fn of(description: &Value) -> Option<Counted> {
        let searches = description["searches"].as_u64()?;
        Some(Counted { searches, distances: description["distances"].as_u64() })
    }
}

/// Checks what a contender counted while it was sent `sent` queries: a VexFS must have served
/// exactly these, with the index that was asked for.
pub(super) fn check_searches(
    contender: &NamedContender<'_>,
    [before, after]: [&Value; 2],
    sent: u64,
) -> Result<(), Failure> {
    check_index(contender, after)?;
    let (Some(kind), Some(before), Some(after)) =
        (contender.kind(), Counted::of(before), Counted::of(after))
    else {
        return Ok(());
    };
    served(kind, before, after, sent)
}

/// Applies the criteria's own check if the contender counts distances, and otherwise compares the
/// number of searches.
fn served(kind: Kind, before: Counted, after: Counted, sent: u64) -> Result<(), Failure> {
    let searches = after.searches.saturating_sub(before.searches);
    let Some((after, before)) = after.distances.zip(before.distances) else {
        require!(
            searches == sent,
            "it was sent {sent} queries, and counts {searches}: not authentic"
        );
        return Ok(());
    };
    let asked = Asked { kind, queries: sent, rows: PROTOCOL.rows, k: PROTOCOL.k };
    Served { searches, distances: after.saturating_sub(before) }.check("it", &asked)
}

/// Checks that a contender holds the protocol's rows in the index that was asked for.
pub(super) fn check_index(
    contender: &NamedContender<'_>,
    description: &Value,
) -> Result<(), Failure> {
    if let Some(program) = contender.program() {
        return competitor_index::check(&program, &description["configuration"], &PROTOCOL);
    }
    let (rows, kind) = (&description["rows"], &description["kind"]);
    let asked = contender.kind().map(|kind| kind as u32);
    require!(
        *rows == PROTOCOL.rows && asked.is_some_and(|asked| *kind == asked),
        "it was given {} rows for an index of kind {asked:?}, and has {rows} in one of kind {kind}: \
         not authentic",
        PROTOCOL.rows
    );
    Ok(())
}

/// The index that answered, as the contender describes it.
pub(super) fn index_used(description: &Value) -> String {
    let configuration = &description["configuration"];
    if configuration["hnsw"].is_object() {
        return format!("HNSW {} over {} rows", configuration["hnsw"], configuration["rows"]);
    }
    if let Some(index) = configuration["index"].as_str() {
        let (indexed, rows) = (&configuration["indexed_vectors"], &configuration["rows"]);
        return format!("{index}, {indexed} of {rows} vectors indexed");
    }
    let kind = description["kind"].as_u64().and_then(|kind| u32::try_from(kind).ok());
    let kind = kind.and_then(|kind| Kind::try_from(kind).ok());
    let home = description["home"].as_str().unwrap_or("unknown");
    let kind = kind.map_or("unknown".to_owned(), |kind| format!("{kind:?}"));
    format!("{kind} index over {} rows, home {home}", description["rows"])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[rstest::rstest]
    #[case::all(Kind::Flat, 10, Some(100_000), true)]
    #[case::fewer_queries(Kind::Flat, 9, Some(100_000), false)]
    #[case::another_index(Kind::Flat, 10, Some(99_999), false)]
    #[case::a_scan_for_a_graph(Kind::Hnsw, 10, Some(100_000), false)]
    #[case::a_graph(Kind::Hnsw, 10, Some(5_000), true)]
    #[case::a_walk_that_named_fewer_than_it_looked_at(Kind::Hnsw, 10, Some(99), false)]
    #[case::none(Kind::Pq, 10, Some(0), false)]
    #[case::some_codes(Kind::Pq, 10, Some(99_999), false)]
    #[case::every_code(Kind::Pq, 10, Some(100_000), true)]
    #[case::some_hashes(Kind::Lsh, 10, Some(5_000), false)]
    #[case::some_lists(Kind::Ivf, 10, Some(5_000), true)]
    #[case::more_than_all_rows(Kind::Ivf, 10, Some(100_001), false)]
    #[case::not_told_and_fewer(Kind::Flat, 9, None, false)]
    #[case::not_told(Kind::Flat, 10, None, true)]
    fn counters_tell_who_did_the_work(
        #[case] kind: Kind,
        #[case] searches: u64,
        #[case] distances: Option<u64>,
        #[case] holds: bool,
    ) {
        let before = Counted { searches: 5, distances: distances.map(|_| 7) };
        let distances = distances.map(|distances| distances + 7);
        let after = Counted { searches: searches + 5, distances };
        assert_eq!(served(kind, before, after, 10).is_ok(), holds);
    }

    /// A contender that counts too few distances, or too many, is refused here as by the criteria.
    #[test]
    fn what_the_criteria_refuse_is_refused() {
        let (sent, rows, k) = (10, PROTOCOL.rows, PROTOCOL.k);
        let (scan, named) = (sent * rows as u64, sent * k as u64);
        let mut refused = 0;
        for kind in Kind::ALL {
            let asked = Asked { kind, queries: sent, rows, k };
            for distances in [0, 1, named - 1, named, scan / 2, scan - 1, scan, scan + 1] {
                let criteria = Served { searches: sent, distances }.check("it", &asked);
                let counted =
                    |searches, distances| Counted { searches, distances: Some(distances) };
                let here = served(kind, counted(5, 7), counted(sent + 5, distances + 7), sent);
                assert_eq!(here.is_ok(), criteria.is_ok(), "{kind:?}, {distances} distances");
                refused += u32::from(distances < named && here.is_err());
            }
        }
        assert_eq!(refused, 15, "no kind of index may count fewer distances than it names");
    }

    #[test]
    fn each_says_its_index() {
        let of = |configuration: Value| index_used(&json!({ "configuration": configuration }));
        let hnsw = of(json!({"rows": 9, "hnsw": {"ef_search": 256}}));
        assert_eq!(hnsw, r#"HNSW {"ef_search":256} over 9 rows"#);
        let brute = of(json!({"rows": 9, "index": "brute force", "indexed_vectors": 0}));
        assert_eq!(brute, "brute force, 0 of 9 vectors indexed");
        let flat = index_used(&json!({"rows": 9, "kind": Kind::Flat as u32, "home": "fuse"}));
        assert_eq!(flat, "Flat index over 9 rows, home fuse");
    }
}
