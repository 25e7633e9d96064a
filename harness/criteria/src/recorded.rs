//! Criterion 2: FUSE against the recorded figures, as far as they are comparable.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use evidence::baselines::{Baselines, MAX_DIM, RatedOperation};
use evidence::clock::Clock;
use evidence::competitor::Competitor;
use evidence::facts::{COMPARED, Compared, NOT_COMPARABLE, PROVENANCE};
use evidence::protocol::PROTOCOL;
use evidence::stats::Outcome;
use evidence::thresholds::{self, RuleScene};
use machine::failure::{Failure, WithContext};
use machine::{project, require};
use measure::contender::{Contender, VexfsFile};
use measure::dataset::{Dataset, compare};
use measure::home;
use measure::rounds::nanoseconds;
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use crate::trial::Context;

// `evidence` checks the figures, and must not depend on the contract, so it repeats this limit.
const _: () = assert!(MAX_DIM == vexfs_uapi::MAX_DIM, "evidence repeats the contract's limit");

/// Inserts into FUSE, mounted at `mount`, at every size for which an insertion was recorded, and
/// compares the rates with the recorded ones. ChromaDB's figures decide; Qdrant's are reported.
/// Figures that are not comparable are recorded with the reason. If the bounds of a ratio lie on
/// both sides of the threshold, the verdict, which recomputes the ratio from the same times, calls
/// it INCONCLUSIVE.
///
/// # Errors
/// The upper bound of a ratio to ChromaDB's recorded insertion is below the threshold. On an
/// emulated CPU that decides nothing, since the figures were recorded on a real one.
pub fn recorded(context: &Context, mount: &Path) -> Result<(), Failure> {
    let baselines = Baselines::load(&project::recorded_figures())?;
    let rule = &thresholds::FUSE_OVER_RECORDED_INSERTION;
    let bound = rule.at(RuleScene {
        place: context.place(),
        emulated: context.emulated(),
        clock: Clock::Wall,
    });
    let mut below = Vec::new();
    for (rows, dim) in sizes(&baselines) {
        let times = insert(mount, rows, dim).context(format!("insertion of {rows} x {dim}"))?;
        for system in Competitor::ALL {
            let Ok(figure) =
                baselines.comparable(system, RatedOperation::Insertion, rows as u64, dim)
            else {
                continue;
            };
            let compared = Compared {
                figure: figure.clone(),
                threshold: bound.threshold,
                decides: figure.decides(bound),
                batch_ns: nanoseconds(&times),
            };
            let ratio = compared.ratio()?;
            println!("FUSE over {figure}, recorded at {} rows/s: {ratio:.2}", figure.value);
            if compared.decides && ratio.outcome(bound.threshold) == Outcome::Fail {
                below.push(format!("{figure}: {:.2}, at most {:.2}", ratio.estimate, ratio.upper));
            }
            context.fact(COMPARED, compared)?;
        }
    }
    context.fact(PROVENANCE, &baselines.provenance)?;
    context.fact(NOT_COMPARABLE, incomparable(&baselines))?;
    require!(
        below.is_empty(),
        "less than {} times a recorded figure: {}",
        bound.threshold,
        below.join("; ")
    );
    Ok(())
}

/// The sizes (rows, components) for which an insertion was recorded.
fn sizes(baselines: &Baselines) -> BTreeSet<(usize, u32)> {
    let insertions =
        baselines.figures.iter().filter(|one| one.operation == RatedOperation::Insertion);
    insertions.map(|figure| (figure.rows as usize, figure.dim)).collect()
}

/// The reasons why the other figures are not compared.
fn incomparable(baselines: &Baselines) -> Vec<String> {
    let searches = baselines.figures.iter().filter(|one| one.operation == RatedOperation::Search);
    let recall = searches.map(|figure| format!("not comparable: {figure}: {}", figure.note));
    let of_protocol =
        [RatedOperation::Insertion, RatedOperation::Search].into_iter().filter_map(|operation| {
            let (rows, dim) = (PROTOCOL.rows as u64, u32::try_from(PROTOCOL.dim).ok()?);
            baselines.comparable(Competitor::Chromadb, operation, rows, dim).err()
        });
    recall.chain(of_protocol).collect()
}

/// Inserts `rows` rows of `dim` components in the protocol's rounds, reads them back and compares
/// them. Returns the times of the measured rounds.
fn insert(mount: &Path, rows: usize, dim: u32) -> Result<Vec<Duration>, Failure> {
    let rounds = PROTOCOL.rounds();
    require!(rows.is_multiple_of(rounds), "{rows} rows do not make {rounds} equal batches");
    let batch = rows / rounds;
    let dataset = Dataset::generate(PROTOCOL.seed, rows, dim as usize, 0);
    let path = mount.join(format!("recorded-{rows}x{dim}.f32"));
    let mut fuse = VexfsFile::create(home::name(Home::Fuse), &path, Declaration::flat(dim))?;
    let mut times = Vec::with_capacity(rounds);
    for (round, batch_rows) in dataset.base.chunks_exact(batch * dataset.dim).enumerate() {
        times.push(fuse.insert((round * batch) as u64, batch_rows)?.time("fuse")?);
    }
    compare(&dataset.base, &fuse.vectors()?, dataset.dim)?;
    let indexed = fuse.stats()?.rows;
    require!(indexed == rows as u64, "{rows} rows were written and {indexed} are indexed");
    times.drain(..PROTOCOL.warmups);
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_figure_is_compared_or_has_its_reason() {
        let baselines = Baselines::load(&project::recorded_figures()).unwrap();
        assert_eq!(
            sizes(&baselines).into_iter().collect::<Vec<_>>(),
            [(1_000, 384), (5_000, 768), (10_000, 1_536)]
        );
        let reasons = incomparable(&baselines);
        let searches = reasons.iter().filter(|reason| reason.contains("recall not measured"));
        assert_eq!(searches.count(), 6);
        assert_eq!(reasons.iter().filter(|reason| reason.contains("10000 x 128")).count(), 2);
    }

    fn compared(batch_ns: Vec<u64>) -> Compared {
        let baselines = Baselines::registered().unwrap();
        let figure = baselines
            .comparable(Competitor::Chromadb, RatedOperation::Insertion, 10_000, 1_536)
            .unwrap();
        Compared { figure: figure.clone(), threshold: 2.2, decides: true, batch_ns }
    }

    #[test]
    fn a_ratio_compares_the_rates() {
        let time = (400.0 / (948.54 * 3.0) * 1e9) as u64;
        let ratio = compared(vec![time; 20]).ratio().unwrap();
        assert!((ratio.estimate - 3.0).abs() < 1e-6, "{ratio:?}");
        assert_eq!(ratio.outcome(2.2), Outcome::Pass);
    }

    #[rstest::rstest]
    #[case::fewer(vec![1_000; 19], "19 batches, where the protocol asks for 20")]
    #[case::more(vec![1_000; 25], "25 batches")]
    #[case::no_time([vec![1_000; 19], vec![0]].concat(), "an impossible time")]
    fn other_batches_are_no_ratio(#[case] batch_ns: Vec<u64>, #[case] words: &str) {
        let message = compared(batch_ns).ratio().unwrap_err().to_string();
        assert!(message.contains(words), "{message}");
    }
}
