//! Criterion 5: the kernel module against FUSE, on the same guest, data and queries.
//!
//! Both homes run the same engine, so their answers must be the same bits, and a difference in
//! speed comes from the home alone. STATS proves which home served: the counters of the home that
//! was asked grow by exactly the queries sent.

use std::path::Path;

use evidence::Round;
use evidence::place::Place;
use evidence::protocol::{PROTOCOL, Protocol, of_first_queries};
use evidence::thresholds::{self, Rule};
use homes::fuse::FuseMount;
use homes::is_own;
use homes::kernel::{KernelMount, ModuleFile};
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::contender::{
    Answered, Contender, InProcess, Insertable, Searchable, Stock, Stores, Unseen, VexfsFile,
    insertable, insertion_rounds, search_rounds, searchable,
};
use measure::dataset::Dataset;
use measure::home;
use measure::oracle::Oracle;
use vexfs_uapi::client::Declaration;
use vexfs_uapi::{Home, Kind, Metric};

use crate::declared::of_protocol;
use crate::insertion::{Judged, check_counters, fill_sides, less_favourable, read_back};
use crate::ratio::{Pass, judge, side};
use crate::requirement::Requirement;
use crate::served::{Asked, OfSides, Served};
use crate::trial::{Context, Trial};
use crate::watched::watched;
use crate::{alike, claimed};

/// The trials of the criterion.
#[must_use]
pub fn trials() -> Vec<Trial> {
    let alike = on_both_mounts("kernel_vs_fuse::answers_are_identical", answers_are_identical);
    let every_kind = in_guest("kernel_vs_fuse::every_kind_answers_identically", |context| {
        let expected = with_both_mounts(context, every_kind_answers_identically)?;
        at_each_instruction_set(context, &expected)
    });
    let changes = on_both_mounts(
        "kernel_vs_fuse::changed_rows_are_answered_identically",
        |context, mounts| alike::changed_rows(context, mounts.kernel, mounts.fuse),
    );
    let insertion = on_both_mounts("kernel_vs_fuse::insertion", insertion);
    let claims = on_both_mounts("kernel_vs_fuse::benchmark_claims", |context, mounts| {
        claimed::on_both(context, mounts.kernel, mounts.fuse)
    })
    .needs(&[Requirement::Benchmark]);
    let searches = SEARCHES.map(|(name, kind, rule)| {
        on_both_mounts(name, move |context, mounts| search(context, mounts, kind, rule))
    });
    [alike, every_kind, changes, claims, insertion].into_iter().chain(searches).collect()
}

/// The searches: trial, kind of index and rule.
const SEARCHES: [(&str, Kind, &Rule); 5] = [
    ("kernel_vs_fuse::flat_search", Kind::Flat, &thresholds::KERNEL_OVER_FUSE_FLAT),
    ("kernel_vs_fuse::hnsw_search", Kind::Hnsw, &thresholds::KERNEL_OVER_FUSE_HNSW),
    ("kernel_vs_fuse::pq_search", Kind::Pq, &thresholds::KERNEL_OVER_FUSE_PQ),
    ("kernel_vs_fuse::ivf_search", Kind::Ivf, &thresholds::KERNEL_OVER_FUSE_IVF),
    ("kernel_vs_fuse::lsh_search", Kind::Lsh, &thresholds::KERNEL_OVER_FUSE_LSH),
];

/// A trial that loads the module, mounts both homes, and takes everything down again.
fn on_both_mounts(
    name: &str,
    body: impl Fn(&Context, &Mounts<'_>) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    in_guest(name, move |context| with_both_mounts(context, &body))
}

/// A trial that needs both homes and the guest for itself, and watches the kernel's log.
fn in_guest(
    name: &str,
    body: impl Fn(&Context) -> Result<(), Failure> + Send + Sync + 'static,
) -> Trial {
    Trial::new(name, &[Place::Guest], move |context| watched(context, &body))
        .needs(&[
            Requirement::Root,
            Requirement::DevFuse,
            Requirement::FuseDaemon,
            Requirement::ModuleLoading,
            Requirement::Module,
            Requirement::SoundCpu,
        ])
        .alone()
}

/// Loads the module, mounts both homes for `body`, and takes everything down again.
fn with_both_mounts<T>(
    context: &Context,
    body: impl FnOnce(&Context, &Mounts<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    context.fact("module srcversion", loaded.srcversion()?)?;
    let kernel = KernelMount::new("size=1G")?;
    let fuse = FuseMount::under_test()?;
    let done = body(context, &Mounts { kernel: kernel.path(), fuse: fuse.path() })?;
    fuse.unmount()?;
    kernel.unmount()?;
    loaded.unload()?;
    Ok(done)
}

/// The directories on which the two homes are mounted.
struct Mounts<'a> {
    kernel: &'a Path,
    fuse: &'a Path,
}

impl Mounts<'_> {
    /// Creates an empty vector file `name` with an index in a home.
    ///
    /// # Errors
    /// A home that refuses, or that is not the one its mount should be.
    fn file(&self, home: Home, name: &str, declaration: Declaration) -> Result<VexfsFile, Failure> {
        let mount = match home {
            Home::Kernel => self.kernel,
            Home::Fuse => self.fuse,
        };
        let file = VexfsFile::create(home::name(home), &mount.join(name), declaration)?;
        require_home(home, &file)?;
        Ok(file)
    }

    /// An empty index in each home.
    fn pair(&self, declaration: Declaration) -> Result<HomesPair, Failure> {
        let create = |home| self.file(home, "base.f32", declaration);
        Ok(HomesPair { kernel: create(Home::Kernel)?, fuse: create(Home::Fuse)? })
    }
}

impl Mounts<'_> {
    /// Makes files with the protocol's rows for all sides of a search, kernel (A) over FUSE (B).
    ///
    /// # Errors
    /// A home that refuses, or that is not the one its mount should be.
    fn stores(
        &self,
        declaration: Declaration,
        stock: Stock,
        pass: usize,
    ) -> Result<(Searchable, Stores<VexfsFile>), Failure> {
        let mut kernel = Searchable::create(Home::Kernel, self.kernel, declaration, stock)?;
        let mut fuse = searchable(Home::Fuse, self.fuse, "searched", declaration, stock)?;
        for file in kernel.asked().iter().flat_map(|one| one.files) {
            require_home(Home::Kernel, file)?;
        }
        for file in fuse.each() {
            require_home(Home::Fuse, file)?;
        }
        let [a, _, again, slowed] = kernel.to_fill();
        fill_sides([a, Some(&mut fuse), again, slowed], stock, Dataset::of_protocol()?, pass)?;
        Ok((kernel, fuse))
    }
}

fn require_home(home: Home, file: &VexfsFile) -> Result<(), Failure> {
    let found = file.stats()?.home;
    require!(found == home as u32, "STATS reports home {found}, expected {home:?}");
    Ok(())
}

/// A vector file in each home.
struct HomesPair {
    kernel: VexfsFile,
    fuse: VexfsFile,
}

/// Kernel, FUSE and the engine in process must give the same answers, bit for bit.
///
/// # Errors
/// The first difference, or rows that do not come back as they were written.
fn answers_are_identical(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    let declaration = of_protocol(Kind::Flat)?;
    let mut pair = mounts.pair(declaration)?;
    let dataset = Dataset::of_protocol()?;
    let mut in_process = InProcess::new(&declaration)?;
    for contender in [&mut pair.kernel as &mut dyn Contender, &mut pair.fuse, &mut in_process] {
        contender.insert(0, &dataset.base).context(contender.name().to_owned())?;
    }
    let further = dataset.further_queries(100);
    for queries in [&dataset.queries[..], &further] {
        let answered = |contender: &mut dyn Contender| {
            let last = contender.search(queries, PROTOCOL.k)?.answers;
            Ok::<_, Failure>(Answered::of(last))
        };
        let expected = answered(&mut in_process)?;
        answered(&mut pair.kernel)?.same_as(&expected).context("kernel and in process")?;
        answered(&mut pair.fuse)?.same_as(&expected).context("fuse and in process")?;
    }
    for side in [&mut pair.kernel, &mut pair.fuse] {
        let read = side.vectors()?;
        measure::dataset::compare(&dataset.base, &read, PROTOCOL.dim)
            .context(side.name().to_owned())?;
    }
    context.fact("queries answered alike by kernel, fuse and in process", 200)
}

/// Enough rows for an index to be trained, and trained again by the second batch.
fn rows_of_every_kind() -> Dataset {
    Dataset::generate(11, 1200, 48, 20)
}

/// All five kinds with all three metrics.
fn every_kind(data: &Dataset) -> Result<Vec<Declaration>, Failure> {
    let flat = Declaration::flat(u32::try_from(data.dim)?);
    let metrics = [Metric::L2, Metric::InnerProduct, Metric::Cosine];
    let all = metrics.into_iter().flat_map(|metric| Kind::ALL.map(|kind| (metric, kind)));
    Ok(all.map(|(metric, kind)| Declaration { metric, kind, seed: 3, ..flat }).collect())
}

/// Writes the rows to an empty index in two batches, and searches.
fn answers(contender: &mut dyn Contender, data: &Dataset) -> Result<Answered, Failure> {
    let (first, second) = data.base.split_at(700 * data.dim);
    contender.insert(0, first)?;
    contender.insert(700, second)?;
    Ok(Answered::of(contender.search(&data.queries, PROTOCOL.k)?.answers))
}

/// With all five kinds and all three metrics, kernel, FUSE and the engine in process must give the
/// same answers, bit for bit; the engine at every instruction set that this processor has. Returns
/// the answers.
///
/// # Errors
/// The first difference, or an answer of the wrong length.
fn every_kind_answers_identically(
    context: &Context,
    mounts: &Mounts<'_>,
) -> Result<Vec<Answered>, Failure> {
    let data = rows_of_every_kind();
    let mut all = Vec::new();
    for declaration in every_kind(&data)? {
        let of = |who: &str| format!("{:?} by {:?}, {who}", declaration.kind, declaration.metric);
        let HomesPair { mut kernel, mut fuse } = mounts.pair(declaration)?;
        let expected = answers(&mut kernel, &data).context(of("kernel"))?;
        require!(
            expected.last.iter().all(|answer| answer.ids.len() == PROTOCOL.k),
            "{}: a query was not answered with {} neighbours",
            of("kernel"),
            PROTOCOL.k
        );
        answers(&mut fuse, &data)?.same_as(&expected).context(of("fuse and kernel"))?;
        for level in InProcess::levels() {
            let mut in_process = InProcess::at_level(&declaration, level)?;
            let who = format!("in process with {level:?} and kernel");
            answers(&mut in_process, &data)?.same_as(&expected).context(of(&who))?;
        }
        all.push(expected);
    }
    context.fact("kinds and metrics answered alike by kernel, fuse and in process", all.len())?;
    Ok(all)
}

/// Loads the module with each instruction set that this processor has: it must give the `expected`
/// answers, bit for bit. Another module than the reference has no such parameter.
///
/// # Errors
/// The first difference, or another instruction set than the one that was asked for.
fn at_each_instruction_set(context: &Context, expected: &[Answered]) -> Result<(), Failure> {
    if is_own(Home::Kernel)? {
        return Ok(());
    }
    let data = rows_of_every_kind();
    for level in InProcess::levels() {
        let level = level as u32;
        let loaded = ModuleFile::of_running_kernel()?.load_with(&format!("simd={level}"))?;
        let mount = KernelMount::new("size=1G")?;
        for (declaration, expected) in every_kind(&data)?.into_iter().zip(expected) {
            let of = format!(
                "{:?} by {:?}, kernel with simd={level} and with the best",
                declaration.kind, declaration.metric
            );
            let path = mount.path().join("base.f32");
            let mut kernel = VexfsFile::create(home::name(Home::Kernel), &path, declaration)?;
            answers(&mut kernel, &data)?.same_as(expected).context(of.clone())?;
            let simd = kernel.stats()?.simd;
            require!(simd == level, "{of}: STATS reports simd={simd}");
        }
        mount.unmount()?;
        loaded.unload()?;
        context
            .fact(&format!("kinds and metrics answered alike with simd={level}"), expected.len())?;
    }
    Ok(())
}

/// Measures insertion by write(2) in the protocol's batches, kernel over FUSE, by the time that
/// favours the kernel less.
///
/// # Errors
/// The rule FAILs, or a side did not do the work that it claims.
fn insertion(context: &Context, mounts: &Mounts<'_>) -> Result<(), Failure> {
    let declaration = of_protocol(Kind::Flat)?;
    let dataset = Dataset::of_protocol()?;
    judge(context, &thresholds::KERNEL_OVER_FUSE_INSERTION, PROTOCOL.insertion_batch, |pass| {
        let mut kernel = Insertable::create(Home::Kernel, mounts.kernel, declaration)?;
        let mut fuse = insertable(Home::Fuse, mounts.fuse, "base", declaration)?;
        let sides = kernel.against(&mut fuse);
        let done = insertion_rounds(sides, dataset, &PROTOCOL, &mut |rounds| pass.seen(rounds))?;
        let batches = PROTOCOL.rounds();
        require!(
            done.a_found == batches && done.b_found == batches,
            "of {batches} batches the kernel found {} at once, fuse {}: a search must see every \
             row that was written",
            done.a_found,
            done.b_found
        );
        check_counters(Home::Kernel, kernel.measured.each())?;
        check_counters(Home::Fuse, fuse.each())?;
        for contender in [&mut kernel.measured as &mut dyn Contender, &mut fuse] {
            read_back(contender, dataset)?;
        }
        let Judged { rounds, counted } = less_favourable(context, done)?;
        context.fact(
            "insertion, ns of each batch in each file of A and its copies",
            kernel.single_ns(),
        )?;
        let a = side("vexfs", &mut kernel.measured, None, counted, &PROTOCOL)?;
        let b = side("vexfs", &mut fuse, None, counted, &PROTOCOL)?;
        Ok(Pass { rounds, disturbed: vec![], a, b })
    })
}

/// The protocol, or only its first queries in an emulated guest. That is fair here, because no
/// competitor is asked, and both homes get the same queries.
fn protocol(context: &Context) -> Protocol {
    if context.emulated() { of_first_queries() } else { PROTOCOL }
}

/// Measures searches of an index of `kind` over the protocol's rounds, kernel over FUSE.
///
/// # Errors
/// The rule FAILs, the homes' answers differ, or the counters do not match the queries.
fn search(context: &Context, mounts: &Mounts<'_>, kind: Kind, rule: &Rule) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    let protocol = protocol(context);
    let stock = Stock::of(context.emulated());
    let queries = &dataset.queries[..protocol.queries * dataset.dim];
    let oracle = Oracle::new(dataset, queries, PROTOCOL.k);
    let mut unseen = Unseen::behind(dataset, 0);
    let mut held = None;
    judge(context, rule, protocol.queries, |pass| {
        if stock.is_new_each_pass() {
            held = None;
        }
        let (kernel, fuse) = match &mut held {
            Some(sides) => sides,
            none => none.insert(mounts.stores(of_protocol(kind)?, stock, pass.number)?),
        };
        let before = (OfSides::before(kernel)?, Served::by(fuse.each())?);
        let seen = &mut |rounds: &[Round]| pass.seen(rounds);
        let done = search_rounds(kernel.against(fuse), &oracle, &mut unseen, &protocol, seen)?;
        let queries = done.asked(&protocol);
        before.0.check(Home::Kernel, kernel, kind, queries)?;
        let asked = Asked { kind, queries, rows: PROTOCOL.rows, k: PROTOCOL.k };
        Served::by(fuse.each())?.since(before.1).check("FUSE", &asked)?;
        done.a.same_as(&done.b).context("kernel and fuse")?;
        let counted = "each search call";
        Ok(Pass {
            rounds: done.rounds,
            disturbed: done.disturbed,
            a: side("vexfs", &mut kernel.measured, Some(done.a.recall()), counted, &protocol)?,
            b: side("vexfs", fuse, Some(done.b.recall()), counted, &protocol)?,
        })
    })
}
