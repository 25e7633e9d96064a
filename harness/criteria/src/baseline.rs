//! Criterion 2: FUSE against the competitors, live. [`super::recorded`] has the recorded figures.

use std::path::Path;

use evidence::Round;
use evidence::competitor::Competitor;
use evidence::place::Place;
use evidence::protocol::{PROTOCOL, of_first_queries};
use evidence::stats::bootstrap_of_mean;
use evidence::thresholds::{self, Rule};
use homes::fuse::FuseMount;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::contender::{
    Contender, ContenderProgram, Driver, DriverLimits, Insertable, Searchable, Stock, Unseen,
    insertion_rounds, search_rounds,
};
use measure::dataset::Dataset;
use measure::oracle::{Oracle, TIE_TOLERANCE};
use serde_json::json;
use vexfs_uapi::client::Declaration;
use vexfs_uapi::{Home, Kind};

use super::competitor_index::{CHROMADB_EF_CONSTRUCTION, CHROMADB_M};
use super::declared::EF_SEARCH;
use super::insertion::{
    Judged, check_counters, fill_at_once, fill_sides, less_favourable, read_back,
};
use super::ratio::{Pass, PassProgress, bound_here, further_queries, judge, side};
use super::recorded::recorded;
use super::served::OfSides;
use super::{claimed, competitor_index};
use crate::requirement::Requirement;
use crate::trial::{Context, Trial};

/// The trials of the criterion.
#[must_use]
pub fn trials() -> Vec<Trial> {
    const BOTH: &[Place] = &[Place::Host, Place::Guest];
    let chromadb = [Requirement::Competitor(Competitor::Chromadb)];
    vec![
        on_fuse("baseline::chromadb", BOTH, |context, mount| {
            live(context, &Rival::chromadb(), mount)
        })
        .needs(&chromadb),
        on_fuse("baseline::chromadb_default", BOTH, |context, mount| {
            live(context, &Rival::chromadb_default(), mount)
        })
        .needs(&chromadb),
        on_fuse("baseline::qdrant", BOTH, |context, mount| live(context, &Rival::qdrant(), mount))
            .needs(&[Requirement::Competitor(Competitor::Qdrant)]),
        on_fuse("baseline::recorded", BOTH, recorded),
        // In the guest, kernel_vs_fuse checks the claims against both homes.
        on_fuse("baseline::benchmark_claims", &[Place::Host], claimed::on_fuse)
            .needs(&[Requirement::Benchmark]),
    ]
}

/// A trial that runs alone on the machine, on a freshly mounted FUSE daemon.
fn on_fuse(
    name: &str,
    places: &[Place],
    body: fn(&Context, &Path) -> Result<(), Failure>,
) -> Trial {
    Trial::new(name, places, move |context| {
        let mount = FuseMount::under_test()?;
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

/// A live competitor, and the rules that compare FUSE with it.
pub struct Rival {
    program: ContenderProgram,
    insertion: &'static Rule,
    /// The index that FUSE's rows are inserted into.
    inserted: Index,
    searches: Vec<Search>,
}

/// An index on the FUSE side.
#[derive(Clone, Copy)]
struct Index {
    kind: Kind,
    /// Parameters of the kind, see `VEXFS_PARAM_*`.
    params: [u32; 8],
}

impl Index {
    const FLAT: Index = Index { kind: Kind::Flat, params: [0; 8] };
    const PQ: Index = Index { kind: Kind::Pq, params: [0; 8] };
    const HNSW: Index = Index { kind: Kind::Hnsw, params: [0, 0, EF_SEARCH, 0, 0, 0, 0, 0] };
    /// A graph built with ChromaDB's parameters.
    const CHROMADBS_HNSW: Index = Index {
        kind: Kind::Hnsw,
        params: [CHROMADB_M, CHROMADB_EF_CONSTRUCTION, EF_SEARCH, 0, 0, 0, 0, 0],
    };
}

/// A search of FUSE that is compared with the rival's.
struct Search {
    index: Index,
    rule: &'static Rule,
}

impl Rival {
    /// ChromaDB at `ef_search` 256, where its recall comes near an exact search's.
    #[must_use]
    pub fn chromadb() -> Self {
        Rival {
            program: ContenderProgram::competitor(
                Competitor::Chromadb,
                json!({ "ef_search": 256 }),
            ),
            insertion: &thresholds::FUSE_OVER_CHROMADB_INSERTION,
            inserted: Index::FLAT,
            searches: vec![
                Search { index: Index::FLAT, rule: &thresholds::FUSE_OVER_CHROMADB_FLAT },
                Search { index: Index::HNSW, rule: &thresholds::FUSE_OVER_CHROMADB_HNSW },
                Search { index: Index::PQ, rule: &thresholds::FUSE_OVER_CHROMADB_PQ },
            ],
        }
    }

    /// ChromaDB at its default `ef_search` of 100 and a recall of 0.82, compared with a graph that
    /// was built with the same parameters. It needs a store of its own: when `ef_search` is changed
    /// later, ChromaDB reads the new number back, but its answers do not change.
    #[must_use]
    pub fn chromadb_default() -> Self {
        Rival {
            program: ContenderProgram::competitor(
                Competitor::Chromadb,
                json!({ "ef_search": null }),
            ),
            insertion: &thresholds::FUSE_OVER_CHROMADB_DEFAULT_INSERTION,
            inserted: Index::CHROMADBS_HNSW,
            searches: vec![Search {
                index: Index::CHROMADBS_HNSW,
                rule: &thresholds::FUSE_OVER_CHROMADB_DEFAULT,
            }],
        }
    }

    /// Qdrant's engine with its defaults, which search by brute force at this size.
    #[must_use]
    pub fn qdrant() -> Self {
        Rival {
            program: ContenderProgram::competitor(Competitor::Qdrant, json!({})),
            insertion: &thresholds::FUSE_OVER_QDRANT_INSERTION,
            inserted: Index::FLAT,
            searches: vec![Search { index: Index::FLAT, rule: &thresholds::FUSE_OVER_QDRANT_FLAT }],
        }
    }
}

/// Measures FUSE, mounted at `mount`, against a live competitor: insertion of the protocol's rows,
/// and then searches in them.
///
/// # Errors
/// A rule that decides here FAILs, or a side did not do the work that it claims.
pub fn live(context: &Context, rival: &Rival, mount: &Path) -> Result<(), Failure> {
    if context.emulated() && rival.inserted.kind == Kind::Hnsw {
        return searches_alone(context, rival, mount);
    }
    let mut filled = None;
    // The searches are measured even if the insertion falls short.
    let inserted = judge(context, rival.insertion, PROTOCOL.insertion_batch, |pass| {
        let (driver, pass) = insertion(context, rival, mount, pass)?;
        filled = Some(driver);
        Ok(pass)
    });
    let Some(mut driver) = filled else { return inserted };
    let mut outcome = inserted;
    // All searches share these queries, since each of them asks the same rival.
    let mut unseen = Unseen::behind(Dataset::of_protocol()?, further_queries(context));
    for search in &rival.searches {
        let searched = searches(context, search, mount, None, &mut driver, &mut unseen);
        outcome = outcome.and(searched.context(search.rule.title));
    }
    close(rival, driver)?;
    outcome
}

/// Measures the searches alone, on an emulated CPU. There an insertion would build a graph for each
/// of its fifteen files, for a ratio that only counts elsewhere. So one graph is built on each
/// side, all at once, and searched.
fn searches_alone(context: &Context, rival: &Rival, mount: &Path) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    let mut driver = Driver::start(&rival.program, &PROTOCOL, DriverLimits::default())?;
    let mut unseen = Unseen::behind(dataset, further_queries(context));
    for (number, search) in rival.searches.iter().enumerate() {
        let mut fuse = empty_files(context, search, mount)?;
        let rival = (number == 0).then_some(&mut driver as &mut (dyn Contender + Send));
        let stores = fuse.to_fill().into_iter().flatten().flat_map(|side| side.each_mut());
        let stores = stores.map(|store| store as &mut (dyn Contender + Send));
        fill_at_once(rival.into_iter().chain(stores), dataset)?;
        if number == 0 {
            read_back(&mut driver, dataset)?;
        }
        searches(context, search, mount, Some(fuse), &mut driver, &mut unseen)
            .context(search.rule.title)?;
    }
    close(rival, driver)
}

/// Closes the rival, and checks that its index was configured as its rules say.
fn close(rival: &Rival, mut driver: Driver) -> Result<(), Failure> {
    let described = driver.describe()?;
    driver.close()?;
    competitor_index::check(&rival.program, &described["configuration"], &PROTOCOL)
}

/// How many stores FUSE's sides of a search have. A graph gets one: it takes seconds to build, and
/// FUSE has to be twice as fast as the rival, while where a store lies in memory changes its speed
/// by some per cent.
fn stock(context: &Context, search: &Search) -> Stock {
    match Stock::of(context.emulated()) {
        Stock::Many if search.index.kind == Kind::Hnsw => Stock::One,
        stock => stock,
    }
}

fn empty_files(context: &Context, search: &Search, mount: &Path) -> Result<Searchable, Failure> {
    Searchable::create(Home::Fuse, mount, of_protocol(search.index)?, stock(context, search))
}

fn filled_files(
    context: &Context,
    search: &Search,
    mount: &Path,
    pass: usize,
) -> Result<Searchable, Failure> {
    let mut fuse = empty_files(context, search, mount)?;
    fill_sides(fuse.to_fill(), stock(context, search), Dataset::of_protocol()?, pass)?;
    Ok(fuse)
}

/// Inserts the protocol's rows into FUSE and into the rival, both empty before. Returns the rival,
/// filled.
fn insertion(
    context: &Context,
    rival: &Rival,
    mount: &Path,
    pass: &PassProgress<'_>,
) -> Result<(Driver, Pass), Failure> {
    let dataset = Dataset::of_protocol()?;
    let mut driver = Driver::start(&rival.program, &PROTOCOL, DriverLimits::default())?;
    let mut fuse = Insertable::create(Home::Fuse, mount, of_protocol(rival.inserted)?)?;
    let sides = fuse.against(&mut driver);
    let done = insertion_rounds(sides, dataset, &PROTOCOL, &mut |rounds| pass.seen(rounds))?;
    let batches = PROTOCOL.rounds();
    require!(
        done.a_found == batches || rival.inserted.kind != Kind::Flat,
        "fuse found {} of {batches} batches at once: a search must see every row that was written",
        done.a_found
    );
    check_counters(Home::Fuse, fuse.measured.each())?;
    for contender in [&mut fuse.measured as &mut dyn Contender, &mut driver] {
        read_back(contender, dataset)?;
    }
    let Judged { rounds, counted } = less_favourable(context, done)?;
    context
        .fact("insertion, ns of each batch in each file of A and its copies", fuse.single_ns())?;
    let a = side("contender", &mut fuse.measured, None, counted, &PROTOCOL)?;
    let b = side("contender", &mut driver, None, counted, &PROTOCOL)?;
    Ok((driver, Pass { rounds, disturbed: vec![], a, b }))
}

/// Searches in the protocol's rows. The rival holds them already; so does FUSE if its files are
/// `given`.
fn searches(
    context: &Context,
    search: &Search,
    mount: &Path,
    given: Option<Searchable>,
    driver: &mut Driver,
    unseen: &mut Unseen<'_>,
) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    // On an emulated CPU, a ratio that decides nothing there gets fewer queries, to save minutes.
    let brief = context.emulated() && !bound_here(context, search.rule)?.decides;
    let protocol = if brief { of_first_queries() } else { PROTOCOL };
    let queries = &dataset.queries[..protocol.queries * dataset.dim];
    let oracle = Oracle::new(dataset, queries, PROTOCOL.k);
    let is_new_each_pass = stock(context, search).is_new_each_pass();
    let mut held = given;
    let mut recalls = (0.0, 0.0);
    judge(context, search.rule, protocol.queries, |pass| {
        if is_new_each_pass {
            held = None;
        }
        let fuse = match &mut held {
            Some(fuse) => fuse,
            none => none.insert(filled_files(context, search, mount, pass.number)?),
        };
        let before = OfSides::before(fuse)?;
        let seen = &mut |rounds: &[Round]| pass.seen(rounds);
        let done = search_rounds(fuse.against(driver), &oracle, unseen, &protocol, seen)?;
        before.check(Home::Fuse, fuse, search.index.kind, done.asked(&protocol))?;
        recalls = (done.a.recall(), done.b.recall());
        let counted = "each search call";
        let a = side("contender", &mut fuse.measured, Some(recalls.0), counted, &protocol)?;
        let b = side("contender", driver, Some(recalls.1), counted, &protocol)?;
        Ok(Pass { rounds: done.rounds, disturbed: done.disturbed, a, b })
    })?;
    let Some(mut fuse) = held.filter(|_| !brief) else { return Ok(()) };
    let further = dataset.further_queries(further_queries(context));
    let further = Oracle::new(dataset, &further, PROTOCOL.k);
    for contender in [&mut fuse.measured as &mut dyn Contender, driver] {
        recall_with_error(context, search.rule, contender, [&oracle, &further])?;
    }
    let behind = recalls.0 < recalls.1;
    require!(
        !behind,
        "fuse's recall {:.4} is below {}'s {:.4}, and no ratio counts at a lower recall",
        recalls.0,
        driver.name(),
        recalls.1
    );
    Ok(())
}

/// Records recall@k on the protocol's queries and on the further ones, with its bootstrap interval
/// over queries (2.5 % on either side), and for each query how many neighbours were found.
fn recall_with_error(
    context: &Context,
    rule: &Rule,
    contender: &mut dyn Contender,
    oracles: [&Oracle<'_>; 2],
) -> Result<(), Failure> {
    let mut found = Vec::new();
    for oracle in oracles {
        let answers = contender.search(oracle.queries(), PROTOCOL.k)?.answers;
        let each = answers.iter().enumerate();
        let recalls: Vec<f64> = each.map(|(query, one)| oracle.recall(query, &one.ids)).collect();
        let mean = recalls.iter().sum::<f64>() / oracle.len() as f64;
        let neighbours = |recall: &f64| (recall * PROTOCOL.k as f64).round() as u64;
        found.push(json!({
            "queries": oracle.len(),
            "mean": mean,
            "bounds": bootstrap_of_mean(&recalls, 0.025),
            "neighbours found, query by query": recalls.iter().map(neighbours).collect::<Vec<_>>(),
        }));
    }
    let [protocol, further] = &found[..] else { return Ok(()) };
    context.fact(
        "recall@k, and its error over queries",
        json!({
            "rule": rule.id,
            "contender": contender.name(),
            "k": PROTOCOL.k,
            "the protocol's queries": protocol,
            "further queries of the same stream": further,
            "tie tolerance": TIE_TOLERANCE,
        }),
    )
}

fn of_protocol(index: Index) -> Result<Declaration, Failure> {
    let Index { kind, params } = index;
    Ok(Declaration { kind, params, ..Declaration::flat(u32::try_from(PROTOCOL.dim)?) })
}
