//! A write to a file with two indexes is killed when one of them has rows that the other has not yet.
//! They are taken back, although a mapping has stored a row beside them that no index takes.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homes::Mounted;
use homes::filesystem::Mapping;
use machine::child::Running;
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use nix::sys::signal::Signal;
use serde_json::json;
use vexfs_uapi::client::{Declaration, Searcher, attach};
use vexfs_uapi::{Home, Kind};

use crate::both_homes;
use crate::trial::{Context, Trial};

/// Rows of the graph, each of which takes long, and their components.
const GRAPH_ROWS: usize = 1_024;
const GRAPH_DIM: usize = 64;
/// Components of the rows of the exact index, which comes first. Four of them change with each row of
/// the graph.
const DIM: usize = 16;
const EXACT: u32 = 0;
const GRAPH: u32 = 1;
const COMPONENTS: usize = GRAPH_ROWS * GRAPH_DIM;
const VALUE: usize = size_of::<f32>();
/// How many writes must be killed on their way, and how many are tried.
const KILLED: usize = 3;
const TRIES: u32 = 12;
/// How long a write may take to begin or, once it is killed, to end, on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The trial, of the module: over FUSE a write owes rows that take long, and has nothing to take back.
pub fn trial() -> Trial {
    let name = "killed_writes_are_taken_back_beside_rows_that_no_index_takes";
    both_homes::trial(Home::Kernel, name, "64M", taken_back).within(Duration::from_secs(600))
}

/// The file's components after the `turn`-th write. No two rows of any turns are equal.
fn values(turn: u32) -> Vec<f32> {
    (0..COMPONENTS).map(|at| at as f32 + turn as f32 / 16.0).collect()
}

fn read(file: &File) -> Result<Vec<f32>, Failure> {
    let mut bytes = vec![0; COMPONENTS * VALUE];
    file.read_exact_at(&mut bytes, 0).context("read")?;
    Ok(bytes.as_chunks().0.iter().map(|value| f32::from_ne_bytes(*value)).collect())
}

fn taken_back(context: &Context, mounted: &Mounted) -> Result<(), Failure> {
    let path = mounted.path().join("base.f32");
    let mut how = OpenOptions::new();
    let file = how.read(true).write(true).create_new(true).open(&path)?;
    file.write_all_at(dataset::bytes(&values(0)), 0).context("writing rows")?;
    attach(&file, &Declaration { index: EXACT, ..Declaration::flat(DIM as u32) })
        .context("ATTACH")?;
    let params = [128, 20_000, 0, 0, 0, 0, 0, 0];
    let graph = Declaration::flat(GRAPH_DIM as u32);
    attach(&file, &Declaration { kind: Kind::Hnsw, index: GRAPH, params, ..graph })
        .context("ATTACH of HNSW")?;
    let mapping = Mapping::shared(&file, COMPONENTS * VALUE).context("mmap")?;
    let mut ends = Vec::new();
    for turn in 1..=TRIES {
        for row in 0..GRAPH_ROWS {
            mapping.store(row * GRAPH_DIM * VALUE, &f32::NAN.to_ne_bytes());
        }
        // It says that there are rows which no index takes.
        let _ = mapping.sync();
        if killed_on_its_way(&file, &path, turn)? {
            ends.push(json!({ "turn": turn, "rows changed": rows_of(turn, &file)? }));
        }
        has_its_rows(&file).context(format!("after the {turn}. write, which was killed"))?;
        if ends.len() == KILLED {
            break;
        }
    }
    let killed = ends.len();
    context.fact("writes killed on their way", ends)?;
    if killed == KILLED {
        return Ok(());
    }
    Err(Failure::undecided(format!("of {TRIES} writes {killed} were killed on their way")))
}

/// Kills a write of all rows once it has changed the first. Returns whether the signal ended it.
fn killed_on_its_way(file: &File, path: &Path, turn: u32) -> Result<bool, Failure> {
    let rows = path.with_extension("new");
    fs::write(&rows, dataset::bytes(&values(turn)))?;
    let (from, to) = (format!("if={}", rows.display()), format!("of={}", path.display()));
    let writer =
        Running::start(Command::new("dd").args([&from, &to]).args(["bs=1M", "conv=notrunc"]))?;
    wait_for("a write to begin", LIMIT, || {
        let mut first = [0; VALUE];
        file.read_exact_at(&mut first, 0).context("read")?;
        let begun = !f32::from_ne_bytes(first).is_nan();
        Ok((begun || writer.ended()?.is_some()).then_some(()))
    })?;
    writer.kill();
    let last = writer.finish(LIMIT)?;
    Ok(last.status.signal() == Some(Signal::SIGKILL as i32))
}

/// How many rows of the graph the file has from that turn.
fn rows_of(turn: u32, file: &File) -> Result<usize, Failure> {
    let (now, written) = (read(file)?, values(turn));
    Ok((0..GRAPH_ROWS).filter(|row| now[row * GRAPH_DIM] == written[row * GRAPH_DIM]).count())
}

/// Each row of the file that an index takes is in the exact index as it is in the file.
fn has_its_rows(file: &File) -> Result<(), Failure> {
    let mut searcher = Searcher::new(DIM as u32, 1, EXACT)?;
    for (row, query) in read(file)?.chunks(DIM).enumerate() {
        if query.iter().any(|value| value.is_nan()) {
            continue;
        }
        let hits = searcher.search(file, query).context("SEARCH")?;
        require!(
            matches!(hits, [hit] if hit.distance == 0 && hit.row == row as u64),
            "row {row} is not found as it is in the file: {hits:?}"
        );
    }
    Ok(())
}
