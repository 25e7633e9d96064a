//! Criterion 3: the same data and protocol as the competitors, bit for bit.
//!
//! A ratio means something only if all contenders have the same rows and get the same queries. So
//! our generator is compared with numpy's, and every contender is asked for its rows back.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use evidence::baselines::Baselines;
use evidence::competitor::Competitor;
use evidence::place::Place;
use evidence::protocol::PROTOCOL;
use homes::fuse::FuseMount;
use homes::kernel::{KernelMount, ModuleFile};
use machine::failure::{Failure, WithContext};
use machine::project;
use machine::require;
use measure::contender::{
    Contender, ContenderProgram, Driver, DriverLimits, InProcess, Process, VexfsFile, fill,
};
use measure::dataset::{BASE_SHA256, Dataset, QUERIES_SHA256, compare, values};
use measure::home;
use serde_json::{Value, json};
use vexfs_uapi::Home;
use vexfs_uapi::client::Declaration;

use super::watched::watched;
use crate::requirement::Requirement;
use crate::trial::{Context, Trial};

/// Queries beyond the protocol's on which the generators are compared.
const FURTHER_QUERIES: usize = 1_000;
/// Importing numpy takes 10 s in an emulated guest.
const NUMPY_LIMIT: Duration = Duration::from_secs(180);

/// The trials of the criterion.
pub fn trials() -> Vec<Trial> {
    const BOTH: &[Place] = &[Place::Host, Place::Guest];
    vec![
        Trial::new("dataset::generator", BOTH, generator),
        Trial::new("dataset::numpy", BOTH, numpy).needs(&[Requirement::Numpy]),
        Trial::new("dataset::recorded_figures", BOTH, recorded_figures),
        Trial::new("dataset::chromadb", BOTH, |context| competitor(context, Competitor::Chromadb))
            .needs(&[Requirement::Competitor(Competitor::Chromadb)]),
        Trial::new("dataset::qdrant", BOTH, |context| competitor(context, Competitor::Qdrant))
            .needs(&[Requirement::Competitor(Competitor::Qdrant)]),
        Trial::new("dataset::fuse", BOTH, fuse).needs(&[
            Requirement::DevFuse,
            Requirement::Fusermount,
            Requirement::FuseDaemon,
        ]),
        Trial::new("dataset::kernel", &[Place::Guest], |context| watched(context, kernel))
            .needs(&[Requirement::Root, Requirement::ModuleLoading, Requirement::Module])
            .alone(),
        // It searches for every row, which takes minutes under emulation; there kernel_vs_fuse
        // compares the engine's answers with those of the homes.
        Trial::new("dataset::in_process", &[Place::Host], in_process),
    ]
}

/// Our generator's data has numpy's digests.
fn generator(context: &Context) -> Result<(), Failure> {
    Dataset::of_protocol()?.check_digests()?;
    context.fact(
        "dataset",
        json!({ "base_sha256": BASE_SHA256, "queries_sha256": QUERIES_SHA256, "protocol": PROTOCOL }),
    )
}

/// Our generator gives the same bits as the installed numpy, further queries included.
fn numpy(context: &Context) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("stream.f32");
    let mut command = Command::new(project::python());
    command
        .arg(project::root().join("fixtures/competitors/numpy_stream.py"))
        .arg(&file)
        .args([PROTOCOL.seed.to_string(), PROTOCOL.dim.to_string()])
        .args([PROTOCOL.rows, PROTOCOL.queries, FURTHER_QUERIES].map(|rows| rows.to_string()))
        .env("HOME", dir.path());
    let mut process = Process::start("numpy", command)?;
    let deadline = Instant::now() + NUMPY_LIMIT;
    let said: Value = serde_json::from_str(&process.read_line(deadline)?)?;
    process.finish(deadline)?;

    let ours =
        [&dataset.base[..], &dataset.queries, &dataset.further_queries(FURTHER_QUERIES)].concat();
    let theirs = values(&std::fs::read(&file).context(file.display())?)?;
    compare(&theirs, &ours, PROTOCOL.dim).context("numpy's stream and ours")?;
    context.fact("numpy", json!({ "version": said["numpy"], "values_compared": ours.len() }))
}

/// The recorded figures exist and are well-formed.
fn recorded_figures(context: &Context) -> Result<(), Failure> {
    context.fact("recorded figures", Baselines::load(&project::recorded_figures())?)
}

/// A competitor repeats the protocol that it was given, and returns the rows as they were inserted.
///
/// # Errors
/// The first difference, or a driver that fails.
pub fn competitor(context: &Context, competitor: Competitor) -> Result<(), Failure> {
    // This fails if the driver repeats another protocol.
    let mut driver = Driver::start(
        &ContenderProgram::competitor(competitor, json!({})),
        &PROTOCOL,
        DriverLimits::default(),
    )?;
    context.fact("protocol repeated", json!({ "contender": competitor, "protocol": PROTOCOL }))?;
    rows_come_back(context, &mut driver)?;
    driver.close()
}

fn fuse(context: &Context) -> Result<(), Failure> {
    let mount = FuseMount::under_test()?;
    vexfs(context, home::name(Home::Fuse), mount.path())?;
    mount.unmount()
}

fn kernel(context: &Context) -> Result<(), Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let mount = KernelMount::new("size=64M")?;
    vexfs(context, home::name(Home::Kernel), mount.path())?;
    mount.unmount()?;
    loaded.unload()
}

/// A vector file on the VexFS mounted at `mount` returns the rows as they were inserted.
///
/// # Errors
/// The first difference, or the errno of a request.
pub fn vexfs(context: &Context, name: &str, mount: &Path) -> Result<(), Failure> {
    let mut file = VexfsFile::create(name, &mount.join("rows.f32"), flat()?)?;
    rows_come_back(context, &mut file)?;
    let indexed = file.stats()?.rows;
    let rows = PROTOCOL.rows as u64;
    require!(indexed == rows, "{name} stored {rows} rows but indexed {indexed}");
    Ok(())
}

/// The engine in process finds every row exactly where it was put.
fn in_process(context: &Context) -> Result<(), Failure> {
    rows_come_back(context, &mut InProcess::new(&flat()?)?)
}

fn flat() -> Result<Declaration, Failure> {
    Ok(Declaration::flat(u32::try_from(PROTOCOL.dim)?))
}

fn rows_come_back(context: &Context, contender: &mut dyn Contender) -> Result<(), Failure> {
    let dataset = Dataset::of_protocol()?;
    fill(contender, dataset, &PROTOCOL)?;
    let name = contender.name().to_owned();
    let read_back = contender.vectors()?;
    compare(&dataset.base, &read_back, PROTOCOL.dim).context(&name)?;
    context.fact(
        "rows read back",
        json!({
            "contender": name,
            "sha256": measure::dataset::digest(&read_back),
            "description": contender.describe()?,
        }),
    )
}
