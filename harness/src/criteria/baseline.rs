//! Criterion 2: FUSE against the competitors, live. [`super::recorded`] has the recorded figures.

use std::path::Path;

use serde_json::json;
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use super::ratio::judge;
use super::recorded::recorded;
use crate::contender::{
    Contender, Driver, Limits, Program, VexfsFile, insertion_rounds, search_rounds,
};
use crate::dataset::{Dataset, compare};
use crate::evidence::{Round, Side};
use crate::failure::{Failure, While};
use crate::fuse::FuseMount;
use crate::oracle::Oracle;
use crate::place::Place;
use crate::protocol::PROTOCOL;
use crate::require;
use crate::requirement::Requirement;
use crate::stats::Ratio;
use crate::thresholds::{self, Rule};
use crate::trial::{Context, Trial};

/// The trials of the criterion.
#[must_use]
pub fn trials() -> Vec<Trial> {
    vec![
        on_fuse("baseline::chromadb", |context, mount| live(context, &Rival::chromadb(), mount))
            .needs(&[Requirement::Competitor("chromadb")]),
        on_fuse("baseline::qdrant", |context, mount| live(context, &Rival::qdrant(), mount))
            .needs(&[Requirement::Competitor("qdrant")]),
        on_fuse("baseline::recorded", recorded),
    ]
}

/// A trial that has the machine, and a freshly mounted FUSE daemon, for itself.
fn on_fuse(name: &str, body: fn(&Context, &Path) -> Result<(), Failure>) -> Trial {
    Trial::new(name, &[Place::Host, Place::Guest], move |context| {
        let mount = FuseMount::reference()?;
        body(context, mount.path())?;
        mount.unmount()
    })
    .needs(&[
        Requirement::DevFuse,
        Requirement::Fusermount,
        Requirement::FuseDaemon,
        Requirement::SoundCpu,
    ])
    .alone()
}

/// A live competitor, and the rules by which FUSE is held against it.
#[derive(Clone)]
pub struct Rival {
    program: Program,
    insertion: &'static Rule,
    flat: &'static Rule,
}

impl Rival {
    /// ChromaDB at `ef_search` 256, where its recall comes near an exact search's; at its default
    /// of 100 it is 0.82.
    #[must_use]
    pub fn chromadb() -> Self {
        Rival {
            program: Program::competitor("chromadb", json!({ "ef_search": 256 })),
            insertion: &thresholds::FUSE_OVER_CHROMADB_INSERTION,
            flat: &thresholds::FUSE_OVER_CHROMADB_FLAT,
        }
    }

    /// Qdrant's engine with its defaults, which answer by brute force at this size.
    #[must_use]
    pub fn qdrant() -> Self {
        Rival {
            program: Program::competitor("qdrant", json!({})),
            insertion: &thresholds::FUSE_OVER_QDRANT_INSERTION,
            flat: &thresholds::FUSE_OVER_QDRANT_FLAT,
        }
    }
}

/// FUSE, mounted at `mount`, against a live competitor: insertion of the protocol's rows, and
/// then search in them.
///
/// # Errors
/// FAIL by a rule that decides here, or work that was not done as claimed.
pub fn live(context: &Context, rival: &Rival, mount: &Path) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    let declaration = Declaration::flat(u32::try_from(PROTOCOL.dim)?);
    let mut driver = Driver::start(&rival.program, &PROTOCOL, Limits::default())?;
    let mut fuse = VexfsFile::create("fuse", &mount.join("base.f32"), declaration)?;
    // Each is judged at once, so that its samples are kept; where the insertion falls short the
    // search is measured all the same.
    let (sides, rounds) = insertion(context, &mut fuse, &mut driver, dataset).when("insertion")?;
    let inserted = judge(context, rival.insertion, PROTOCOL.insertion_batch, sides, rounds);
    let (sides, rounds) = search(&mut fuse, &mut driver, dataset).when("search")?;
    let recalls = (sides.0.recall, sides.1.recall);
    let behind = recalls.0 < recalls.1;
    let searched = judge(context, rival.flat, PROTOCOL.queries, sides, rounds);
    driver.close()?;
    require!(
        !behind,
        "fuse's recall {:?} is below {}'s {:?}, and no ratio counts at a lower recall",
        recalls.0,
        rival.program.name,
        recalls.1
    );
    inserted.and(searched)
}

type Measured = ((Side, Side), Vec<Round>);

fn insertion(
    context: &Context,
    fuse: &mut VexfsFile,
    driver: &mut Driver,
    dataset: &Dataset,
) -> Result<Measured, Failure> {
    let done = insertion_rounds(fuse, driver, dataset, &PROTOCOL)?;
    let batches = PROTOCOL.rounds();
    require!(
        done.a_found == batches,
        "of {batches} batches fuse found {} at once: a search sees every row whose write returned",
        done.a_found
    );
    let stats = fuse.stats()?;
    let (rows, asked) = (PROTOCOL.rows as u64, batches as u64);
    require!(
        stats.home == Home::Fuse as u32 && stats.rows == rows && stats.searches == asked,
        "fuse was given {rows} rows and {asked} queries; home {} counts {} and {}: not authentic",
        stats.home,
        stats.rows,
        stats.searches
    );
    for contender in [&mut *fuse as &mut dyn Contender, driver] {
        let name = contender.name().to_owned();
        compare(&dataset.base, &contender.vectors()?, PROTOCOL.dim).when(name)?;
    }

    // Whichever figure favours the competitor is judged; the other stands beside it.
    let stored = ratio_of(&done.stored)?;
    let searchable = ratio_of(&done.searchable)?;
    let (counted, rounds) = if searchable.estimate < stored.estimate {
        ("until the first answer after the batch", done.searchable)
    } else {
        ("until the call returned", done.stored)
    };
    context.fact(
        "insertion, until the call returned and until the first answer after it",
        json!({
            "until the call returned": stored,
            "until the first answer after the batch": searchable,
            "judged": counted,
            "batches of which the competitor found the last row at once": done.b_found,
        }),
    )?;
    Ok(((side(fuse, None, counted)?, side(driver, None, counted)?), rounds))
}

fn search(
    fuse: &mut VexfsFile,
    driver: &mut Driver,
    dataset: &Dataset,
) -> Result<Measured, Failure> {
    let oracle = Oracle::new(dataset, &dataset.queries, PROTOCOL.k);
    let before = fuse.stats()?;
    let done = search_rounds(fuse, driver, &oracle, &PROTOCOL)?;
    let after = fuse.stats()?;
    let sent = (PROTOCOL.rounds() * PROTOCOL.queries) as u64;
    let (served, distances) =
        (after.searches - before.searches, after.distances - before.distances);
    require!(
        served == sent && distances == sent * PROTOCOL.rows as u64,
        "fuse was sent {sent} queries over {} rows, and counts {served} and {distances} \
         distances: not authentic",
        PROTOCOL.rows
    );
    let counted = "each search call";
    let a = side(fuse, Some(done.a.recall()), counted)?;
    let b = side(driver, Some(done.b.recall()), counted)?;
    Ok(((a, b), done.rounds))
}

fn side(
    contender: &mut dyn Contender,
    recall: Option<f64>,
    counted: &str,
) -> Result<Side, Failure> {
    Ok(Side {
        contender: contender.name().to_owned(),
        recall,
        description: json!({
            "contender": contender.describe()?,
            "protocol": PROTOCOL,
            "time": counted,
        }),
    })
}

fn ratio_of(rounds: &[Round]) -> Result<Ratio, Failure> {
    let logs: Vec<f64> = rounds.iter().skip(PROTOCOL.warmups).map(Round::log_ratio).collect();
    Ratio::of_rounds(&logs)
        .ok_or_else(|| Failure::new(format!("{} rounds are too few for a bound", logs.len())))
}
