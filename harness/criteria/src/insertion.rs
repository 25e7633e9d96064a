//! How an insertion is judged, for any two contenders.

use std::thread;

use evidence::Round;
use evidence::protocol::PROTOCOL;
use evidence::stats::Ratio;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::contender::{
    Contender, InsertionRounds, Stock, Stores, VexfsFile, draw_order, fill, fill_stores,
};
use measure::dataset::{Dataset, compare};
use serde_json::json;
use vexfs_uapi::Home;

use crate::trial::Context;

/// The rounds of an insertion that are judged, and what their times cover.
pub(super) struct Judged {
    pub rounds: Vec<Round>,
    pub counted: &'static str,
}

/// Judges by the time that favours A less: until the call of a batch returned, or until the first
/// search after it was answered. So a contender gains nothing by putting work off until the first
/// search. Both times go into the evidence.
pub(super) fn less_favourable(context: &Context, done: InsertionRounds) -> Result<Judged, Failure> {
    let (a_found, b_found) = (done.a_found, done.b_found);
    let (judged, [stored, searchable]) = choose(done)?;
    context.fact(
        "insertion, until the call returned and until the first answer after it",
        json!({
            "until the call returned": stored,
            "until the first answer after the batch": searchable,
            "judged": judged.counted,
            "batches of which A found the last row at once": a_found,
            "batches of which B found the last row at once": b_found,
        }),
    )?;
    Ok(judged)
}

fn choose(done: InsertionRounds) -> Result<(Judged, [Ratio; 2]), Failure> {
    let ratios = [ratio_of(&done.stored)?, ratio_of(&done.searchable)?];
    let [stored, searchable] = &ratios;
    let judged = if searchable.estimate < stored.estimate {
        Judged { rounds: done.searchable, counted: "until the first answer after the batch" }
    } else {
        Judged { rounds: done.stored, counted: "until the call returned" }
    };
    Ok((judged, ratios))
}

fn ratio_of(rounds: &[Round]) -> Result<Ratio, Failure> {
    let logs: Vec<f64> = rounds.iter().skip(PROTOCOL.warmups).map(Round::log_ratio).collect();
    Ratio::of_rounds(&logs)
        .ok_or_else(|| Failure::new(format!("{} rounds are too few for a bound", logs.len())))
}

/// Checks the counters of files that were filled with the protocol's rows, in the expected home.
/// The first file was asked once for each batch, the others never.
pub(super) fn check_counters(home: Home, files: &[VexfsFile]) -> Result<(), Failure> {
    for (number, file) in files.iter().enumerate() {
        let stats = file.stats()?;
        let asked = if number == 0 { PROTOCOL.rounds() as u64 } else { 0 };
        let rows = PROTOCOL.rows as u64;
        require!(
            stats.home == home as u32 && stats.rows == rows && stats.searches == asked,
            "home {home:?} was given {rows} rows and {asked} queries; home {} counts {} and {}: \
             not authentic",
            stats.home,
            stats.rows,
            stats.searches
        );
    }
    Ok(())
}

/// Checks that a contender returns the protocol's rows.
pub(super) fn read_back(contender: &mut dyn Contender, dataset: &Dataset) -> Result<(), Failure> {
    let name = contender.name().to_owned();
    compare(&dataset.base, &contender.vectors()?, PROTOCOL.dim).context(name)
}

/// Fills all contenders in parallel, because an emulated CPU takes minutes to build a graph.
pub(super) fn fill_at_once<'a>(
    all: impl IntoIterator<Item = &'a mut (dyn Contender + Send)>,
    dataset: &Dataset,
) -> Result<(), Failure> {
    thread::scope(|scope| {
        let start = |contender: &'a mut (dyn Contender + Send)| {
            let name = contender.name().to_owned();
            scope.spawn(|| fill(contender, dataset, &PROTOCOL).context(name))
        };
        let started: Vec<_> = all.into_iter().map(start).collect();
        let end = |one: thread::ScopedJoinHandle<'_, _>| {
            one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        // Join all of them, even if some failed.
        let ends: Vec<Result<(), Failure>> = started.into_iter().map(end).collect();
        ends.into_iter().collect()
    })
}

/// Fills the stores of all `sides`, which are numbered as in [`Arm::ALL`](evidence::protocol::Arm):
/// one after the other, or in parallel if each side has only one.
pub(super) fn fill_sides(
    sides: [Option<&mut Stores<VexfsFile>>; 4],
    stock: Stock,
    dataset: &Dataset,
    pass: usize,
) -> Result<(), Failure> {
    if stock == Stock::Many {
        return fill_stores(sides, dataset, &PROTOCOL, draw_order(pass));
    }
    let stores = sides.into_iter().flatten().flat_map(|side| side.each_mut());
    fill_at_once(stores.map(|store| store as &mut (dyn Contender + Send)), dataset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::Order;

    fn rounds(a_ns: u64, b_ns: u64) -> Vec<Round> {
        let (a_ns, b_ns) = (vec![a_ns], vec![b_ns]);
        vec![Round { order: Order::AB, a_ns, b_ns, controls: None, noise: None }; PROTOCOL.rounds()]
    }

    /// A stores twice as fast as B; the first searches take `a_ns` and `b_ns`.
    #[rstest::rstest]
    #[case::a_puts_work_off(5_000, 1_000, "until the first answer after the batch", 0.5)]
    #[case::b_puts_work_off(1_000, 9_000, "until the call returned", 2.0)]
    #[case::no_one_does(100, 100, "until the first answer after the batch", 2_100.0 / 1_100.0)]
    fn work_put_off_counts(
        #[case] a_ns: u64,
        #[case] b_ns: u64,
        #[case] counted: &str,
        #[case] ratio: f64,
    ) {
        let done = InsertionRounds {
            stored: rounds(1_000, 2_000),
            searchable: rounds(1_000 + a_ns, 2_000 + b_ns),
            a_found: 25,
            b_found: 25,
        };
        let (judged, ratios) = choose(done).unwrap();
        assert_eq!(judged.counted, counted);
        let found = ratio_of(&judged.rounds).unwrap().estimate;
        assert!((found - ratio).abs() < 1e-9, "{found} of {ratios:?}");
    }
}
