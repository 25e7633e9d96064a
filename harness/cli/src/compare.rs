//! `vexfs-validate compare A B`: measures any two contenders by the rule of the criteria.

mod named;
mod named_contender;
mod work;

use std::process::ExitCode;

use clap::Args;
use criteria::ratio::{Forecast, Pass, RatioSubject, measure};
use criteria::trial::take_machine;
use evidence::exit::{self, Exit};
use evidence::protocol::PROTOCOL;
use evidence::stats::{LOOKS, Outcome};
use evidence::thresholds::Bound;
use evidence::{Measurement, Round, Side};
use machine::clock;
use machine::failure::{Failure, WithContext};
use machine::file_lock::Sharing;
use machine::require;
use measure::contender::{Contender, Unseen, insertion_rounds, search_rounds};
use measure::dataset::{self, Dataset};
use measure::oracle::Oracle;
use verdict::{Decision, recall_below};

use self::named::Named;
use self::named_contender::{Four, NamedContender};
use super::output::outln;
use super::stop::Stop;

/// Options of `compare`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Contenders: engine[:KIND], fuse[:KIND], DIR[:KIND] (a directory on a \
                        mounted VexFS, with a / in it), chromadb[:EF_SEARCH][=URL], qdrant[=URL]. KIND is \
                        flat, hnsw, pq, ivf or lsh; URL is a running server's, as \
                        http://127.0.0.1:8000, whose collections of other names stay as they are. \
                        The exit code is 0 if A is faster, 1 if it is not, if its recall is below \
                        B's or if work was not done as claimed, and 3 if that is undecided.")]
pub struct CompareOptions {
    /// The first contender: ratios are A's speed over B's
    a: Named,
    /// The second contender
    b: Named,
    /// How many of the preset looks (20, 60, 200 rounds) may be taken
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=LOOKS.len() as i64))]
    looks: u8,
}

pub(super) fn run(options: &CompareOptions) -> Result<ExitCode, Stop> {
    let setup = |failure: Failure| Stop::new(exit::SETUP, failure);
    let _machine = take_machine(Sharing::Alone).map_err(setup)?;
    let a = NamedContender::new(&options.a).map_err(setup)?;
    let b = NamedContender::new(&options.b).map_err(setup)?;
    let outcome = compare(options, &a, &b);
    let ended = a.end().and(b.end());
    let exit = outcome?;
    ended.map_err(|failure| Stop::new(exit::FAIL, failure))?;
    Ok(exit.into())
}

/// Makes both measurements, and returns the exit code of their worse outcome.
fn compare(
    options: &CompareOptions,
    a: &NamedContender<'_>,
    b: &NamedContender<'_>,
) -> Result<Exit, Stop> {
    let setup = |failure: Failure| Stop::new(exit::SETUP, failure);
    let failed = |failure: Failure| Stop::new(exit::FAIL, failure);
    let bound = Bound { threshold: 1.0, strictly: true, decides: false, reason: "" };
    let clock = clock::here().map_err(setup)?;
    let subject = |rule| RatioSubject { rule, trial: "compare", bound, clock, until: None };
    let looks = usize::from(options.looks);
    let dataset = Dataset::of_protocol().map_err(setup)?;

    let (mut filled, mut made) = (None, false);
    let tell = |forecast: &Forecast| {
        outln!("{forecast}");
        Ok(())
    };
    let measured = measure(&subject("insertion"), PROTOCOL.insertion_batch, looks, &tell, |pass| {
        (filled, made) = (None, false);
        let mut four = Four::new(a, b)?;
        made = true;
        let seen = &mut |rounds: &[Round]| pass.seen(rounds);
        let rounds = insertion_rounds(four.sides(), dataset, &PROTOCOL, seen)?.stored;
        let sides = [
            inserted(a, &mut four.a, dataset).context("A")?,
            inserted(b, &mut four.b, dataset).context("B")?,
        ];
        let [a, b] = sides;
        filled = Some(four);
        Ok(Pass { rounds, disturbed: vec![], a, b })
    });
    // If a contender cannot be made, something is missing on this machine; if it fails later, the
    // contender is at fault.
    let measured = measured.map_err(if made { failed } else { setup })?;
    let insertion = show("insertion", &measured).map_err(failed)?;

    let Some(mut four) = filled else { return Ok(insertion) };
    let oracle = Oracle::new(dataset, &dataset.queries, PROTOCOL.k);
    let mut unseen = Unseen::behind(dataset, 0);
    let measured = measure(&subject("search"), PROTOCOL.queries, looks, &tell, |pass| {
        four.stock(a, b, pass.number)?;
        let before = four.describe()?;
        let seen = &mut |rounds: &[Round]| pass.seen(rounds);
        let done = search_rounds(four.sides(), &oracle, &mut unseen, &PROTOCOL, seen)?;
        let after = four.describe()?;
        let asked = done.asked(&PROTOCOL);
        let sides = [("A", a), ("B", b), ("A's copy", a), ("A's slowed copy", a)];
        for ((whose, named), counted) in sides.into_iter().zip(before.iter().zip(&after)) {
            work::check_searches(named, counted.into(), asked).context(whose)?;
        }
        let [a, b, ..] = after;
        let side = |contender: &dyn Contender, recall, description| Side {
            contender: contender.name().to_owned(),
            recall: Some(recall),
            description,
        };
        let (a, b) = (side(&four.a, done.a.recall(), a), side(&four.b, done.b.recall(), b));
        Ok(Pass { rounds: done.rounds, disturbed: done.disturbed, a, b })
    });
    let measured = measured.map_err(failed)?;
    let search = show("search", &measured).map_err(failed)?;
    for (name, side) in [("A", &measured.a), ("B", &measured.b)] {
        outln!(
            "{name}: {}, {}; recall@{} {:.4}",
            side.contender,
            work::index_used(&side.description),
            PROTOCOL.k,
            side.recall.unwrap_or_default()
        );
    }
    outln!("rounds disturbed and done again: {}", measured.disturbed.len());
    Ok(worse(insertion, search))
}

/// Describes a contender after insertion, and checks that it holds the protocol's rows in the index
/// that was asked for, and counted one query after each batch.
fn inserted(
    named: &NamedContender<'_>,
    contender: &mut dyn Contender,
    dataset: &Dataset,
) -> Result<Side, Failure> {
    let description = contender.describe()?;
    work::check_index(named, &description)?;
    let searches = &description["searches"];
    require!(
        searches.is_null() || *searches == PROTOCOL.rounds(),
        "it was sent {} queries, and counts {searches}: not authentic",
        PROTOCOL.rounds()
    );
    if named.gives_rows_back() {
        dataset::compare(&dataset.base, &contender.vectors()?, PROTOCOL.dim)?;
    }
    Ok(Side { contender: contender.name().to_owned(), recall: None, description })
}

/// Prints the result of a measurement, and returns its exit code.
fn show(what: &str, measured: &Measurement) -> Result<Exit, Failure> {
    let decision = Decision::of(measured).map_err(Failure::new).context(what)?;
    let (said, exit) = said(&decision, recall_below(measured));
    outln!("{what}, A over B: {said}");
    Ok(exit)
}

/// The words and exit code of a decision. At a lower recall no ratio counts.
fn said(decision: &Decision, below: Option<String>) -> (String, Exit) {
    if let Some(why) = below {
        let ratio = decision.ratio;
        let said = format!("{ratio} after {} rounds counts for nothing: {why}", ratio.rounds);
        return (said, exit::FAIL);
    }
    let exit = match decision.outcome() {
        Outcome::Pass => exit::SUCCESS,
        Outcome::Fail => exit::FAIL,
        Outcome::Inconclusive => exit::INCONCLUSIVE,
    };
    (decision.to_string(), exit)
}

/// The worse of two: FAIL, then INCONCLUSIVE, then success.
fn worse(one: Exit, other: Exit) -> Exit {
    [exit::FAIL, exit::INCONCLUSIVE]
        .into_iter()
        .find(|&exit| one == exit || other == exit)
        .unwrap_or(exit::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_end_counts() {
        assert_eq!(worse(exit::SUCCESS, exit::SUCCESS), exit::SUCCESS);
        assert_eq!(worse(exit::SUCCESS, exit::INCONCLUSIVE), exit::INCONCLUSIVE);
        assert_eq!(worse(exit::INCONCLUSIVE, exit::FAIL), exit::FAIL);
        assert_eq!(worse(exit::FAIL, exit::SUCCESS), exit::FAIL);
    }
}
