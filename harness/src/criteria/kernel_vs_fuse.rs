//! Criterion 5: the kernel module against FUSE, on the same guest, data and queries.
//!
//! Both homes run one engine, so their answers must be the same bits, and what is left to compare
//! is the place. STATS proves who served: the counters of the home that was asked move by exactly
//! the queries sent.

use std::path::Path;

use serde_json::json;
use vexfs_uapi::client::Declaration;
use vexfs_uapi::{Home, Kind, Metric, Stats};

use crate::contender::{
    Answered, Contender, InProcess, VexfsFile, insertion_rounds, search_rounds,
};
use crate::criteria::module::watched;
use crate::criteria::ratio::judge;
use crate::dataset::Dataset;
use crate::evidence::Side;
use crate::failure::{Failure, While};
use crate::fuse::FuseMount;
use crate::kernel::{KernelMount, ModuleFile};
use crate::oracle::Oracle;
use crate::place::Place;
use crate::protocol::PROTOCOL;
use crate::require;
use crate::requirement::Requirement;
use crate::thresholds;
use crate::trial::{Context, Trial};

/// What a trial does on both mounts.
type Body = fn(&Context, &Mounts<'_>) -> Result<(), Failure>;

/// The trials of the criterion.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let all: [(&str, Body); 4] = [
        ("kernel_vs_fuse::answers_are_identical", answers_are_identical),
        ("kernel_vs_fuse::every_kind_answers_identically", every_kind_answers_identically),
        ("kernel_vs_fuse::insertion", insertion),
        ("kernel_vs_fuse::flat_search", flat_search),
    ];
    all.into_iter()
        .map(|(name, body)| {
            Trial::new(name, &[Place::Guest], move |context| {
                watched(context, |context| on_both_mounts(context, body))
            })
            .needs(&[
                Requirement::Root,
                Requirement::DevFuse,
                Requirement::FuseDaemon,
                Requirement::ModuleLoading,
                Requirement::Module,
                Requirement::SoundCpu,
            ])
            .alone()
        })
        .collect()
}

/// Loads the module, mounts both homes, and takes everything down again.
fn on_both_mounts(context: &Context, body: Body) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    context.fact("module srcversion", loaded.srcversion()?)?;
    let kernel = KernelMount::new("size=256M")?;
    let fuse = FuseMount::reference()?;
    body(context, &Mounts { kernel: kernel.path(), fuse: fuse.path() })?;
    fuse.unmount()?;
    kernel.unmount()?;
    loaded.unload()
}

/// The directories on which the two homes are mounted.
struct Mounts<'a> {
    kernel: &'a Path,
    fuse: &'a Path,
}

impl Mounts<'_> {
    /// Creates an empty vector file with an index in each home.
    ///
    /// # Errors
    /// A home that refuses, or that is not the one its mount should be.
    fn pair(&self, declaration: Declaration) -> Result<Pair, Failure> {
        let create = |name: &str, dir: &Path, home: Home| {
            let file = VexfsFile::create(name, &dir.join("base.f32"), declaration)?;
            let stats = file.stats()?;
            require!(
                stats.home == home as u32,
                "the mount that should be the {name} says that its home is {}",
                stats.home
            );
            Ok::<_, Failure>(file)
        };
        Ok(Pair {
            kernel: create("kernel", self.kernel, Home::Kernel)?,
            fuse: create("fuse", self.fuse, Home::Fuse)?,
        })
    }

    /// As [`Mounts::pair`], with a Flat index of the protocol's dimension.
    fn flat_pair(&self) -> Result<Pair, Failure> {
        self.pair(Declaration::flat(u32::try_from(PROTOCOL.dim)?))
    }
}

/// A vector file in each home.
struct Pair {
    kernel: VexfsFile,
    fuse: VexfsFile,
}

impl Pair {
    /// Inserts the protocol's base into both.
    ///
    /// # Errors
    /// The first failure.
    fn fill(&mut self, dataset: &Dataset) -> Result<(), Failure> {
        self.kernel.insert(0, &dataset.base).when("kernel")?;
        self.fuse.insert(0, &dataset.base).when("fuse")?;
        Ok(())
    }

    fn stats(&self) -> Result<(Stats, Stats), Failure> {
        Ok((self.kernel.stats()?, self.fuse.stats()?))
    }
}

/// The same answers, bit for bit, from kernel, FUSE and the engine in process.
///
/// # Errors
/// The first difference, or a vector that does not come back as it was written.
fn answers_are_identical(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    let mut pair = mounts.flat_pair()?;
    let dataset = Dataset::of_protocol()?;
    pair.fill(dataset)?;
    let mut in_process = InProcess::new(&Declaration::flat(u32::try_from(PROTOCOL.dim)?))?;
    in_process.insert(0, &dataset.base)?;
    let further = dataset.further_queries(100);
    for queries in [&dataset.queries[..], &further] {
        let answered = |contender: &mut dyn Contender| {
            let last = contender.search(queries, PROTOCOL.k)?.answers;
            Ok::<_, Failure>(Answered { recalls: vec![], last })
        };
        let expected = answered(&mut in_process)?;
        answered(&mut pair.kernel)?.same_as(&expected).when("kernel and in process")?;
        answered(&mut pair.fuse)?.same_as(&expected).when("fuse and in process")?;
    }
    for side in [&mut pair.kernel, &mut pair.fuse] {
        let read = side.vectors()?;
        crate::dataset::compare(&dataset.base, &read, PROTOCOL.dim).when(side.name().to_owned())?;
    }
    context.fact("queries answered alike by kernel, fuse and in process", 200)
}

/// All five kinds by all three metrics: the same answers, bit for bit, from kernel, FUSE and the
/// engine in process at every instruction set that this processor has.
///
/// # Errors
/// The first difference, or an answer of the wrong length.
fn every_kind_answers_identically(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    // Rows enough for structures to be trained, and trained anew by the second batch.
    let data = Dataset::generate(11, 1200, 48, 20);
    let (first, second) = data.base.split_at(700 * data.dim);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine] {
        for kind in [Kind::Flat, Kind::Hnsw, Kind::Pq, Kind::Ivf, Kind::Lsh] {
            let flat = Declaration::flat(u32::try_from(data.dim)?);
            let declaration = Declaration { metric, kind, seed: 3, ..flat };
            let answers = |contender: &mut dyn Contender| {
                contender.insert(0, first)?;
                contender.insert(700, second)?;
                let last = contender.search(&data.queries, PROTOCOL.k)?.answers;
                Ok::<_, Failure>(Answered { recalls: vec![], last })
            };
            let of = |who: &str| format!("{kind:?} by {metric:?}, {who}");
            let Pair { mut kernel, mut fuse } = mounts.pair(declaration)?;
            let expected = answers(&mut kernel).when(of("kernel"))?;
            require!(
                expected.last.iter().all(|answer| answer.ids.len() == PROTOCOL.k),
                "{}: not {} neighbours to each query",
                of("kernel"),
                PROTOCOL.k
            );
            answers(&mut fuse)?.same_as(&expected).when(of("fuse and kernel"))?;
            for level in InProcess::levels() {
                let mut in_process = InProcess::at_level(&declaration, level)?;
                let who = format!("in process with {level:?} and kernel");
                answers(&mut in_process)?.same_as(&expected).when(of(&who))?;
            }
        }
    }
    context.fact("kinds and metrics answered alike by kernel, fuse and in process", 15)
}

/// Rows inserted by write(2), the protocol's batches, kernel over FUSE.
///
/// # Errors
/// FAIL by its rule, or work that was not done as claimed.
fn insertion(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    let mut pair = mounts.flat_pair()?;
    let dataset = Dataset::of_protocol()?;
    let done = insertion_rounds(&mut pair.kernel, &mut pair.fuse, dataset, &PROTOCOL)?;
    let batches = PROTOCOL.rounds();
    require!(
        done.a_found == batches && done.b_found == batches,
        "of {batches} batches the kernel found {} at once, fuse {}: a search sees every row whose \
         write returned",
        done.a_found,
        done.b_found
    );
    for stats in [pair.kernel.stats()?, pair.fuse.stats()?] {
        require!(
            stats.rows == PROTOCOL.rows as u64,
            "home {} indexed {} of {} rows",
            stats.home,
            stats.rows,
            PROTOCOL.rows
        );
    }
    let sides = (side(&mut pair.kernel, None)?, side(&mut pair.fuse, None)?);
    let rule = &thresholds::KERNEL_OVER_FUSE_INSERTION;
    judge(context, rule, PROTOCOL.insertion_batch, sides, done.stored)
}

/// Flat queries, the protocol's rounds, kernel over FUSE.
///
/// # Errors
/// FAIL by its rule, other answers than the other home's, or counters that do not fit.
fn flat_search(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    let mut pair = mounts.flat_pair()?;
    let dataset = Dataset::of_protocol()?;
    pair.fill(dataset)?;
    let oracle = Oracle::new(dataset, &dataset.queries, PROTOCOL.k);
    let before = pair.stats()?;
    let done = search_rounds(&mut pair.kernel, &mut pair.fuse, &oracle, &PROTOCOL)?;
    let after = pair.stats()?;
    let sent = (PROTOCOL.rounds() * PROTOCOL.queries) as u64;
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        let served = after.searches - before.searches;
        let distances = after.distances - before.distances;
        require!(
            served == sent && distances == sent * PROTOCOL.rows as u64,
            "home {} was sent {sent} queries over {} rows, and counts {served} and {distances} \
             distances: not authentic",
            after.home,
            PROTOCOL.rows
        );
    }
    done.a.same_as(&done.b).when("kernel and fuse")?;
    let sides = (
        side(&mut pair.kernel, Some(done.a.recall()))?,
        side(&mut pair.fuse, Some(done.b.recall()))?,
    );
    judge(context, &thresholds::KERNEL_OVER_FUSE_FLAT, PROTOCOL.queries, sides, done.rounds)
}

fn side(contender: &mut VexfsFile, recall: Option<f64>) -> Result<Side, Failure> {
    Ok(Side {
        contender: contender.name().to_owned(),
        recall,
        description: json!({ "vexfs": contender.describe()?, "protocol": PROTOCOL }),
    })
}
