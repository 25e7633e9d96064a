//! Measures what one insertion and one search cost, by home and kind of index.

use std::fs;
use std::path::Path;
use std::time::Duration;

use evidence::protocol::PROTOCOL;
use evidence::stats::median;
use homes::fuse::FuseMount;
use homes::kernel::{KernelMount, ModuleFile};
use machine::failure::{Failure, WithContext};
use measure::contender::{Contender, VexfsFile};
use measure::dataset::Dataset;
use measure::home;
use serde::{Deserialize, Serialize};
use vexfs_uapi::{Home, Kind};

use crate::declared;

/// The file in the evidence directory in which a guest leaves its costs.
pub const COSTS_FILE: &str = "costs.json";

/// Rows of the protocol's dimension: few enough that an emulated CPU builds a graph in seconds.
const ROWS: usize = 1_000;
const QUERIES: usize = 50;
const BATCH: usize = 100;
/// Searches that are not counted, before those that are.
const WARM_UPS: usize = 2;
const REPEATS: usize = 15;
/// How often an index is filled, first without counting and then counting. The memory of a daemon
/// slows its first fills, which shows most where storing a row costs much beside indexing it:
/// FUSE's Flat becomes steady after some fifteen fills. Building a graph takes a hundred times as
/// long.
const fn fills(kind: Kind) -> (usize, usize) {
    match kind {
        Kind::Flat => (30, 45),
        Kind::Hnsw => (1, 3),
        _ => (1, 15),
    }
}

/// What one operation costs in one home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// `kernel` or `fuse`.
    pub home: String,
    /// The operation and the kind of index.
    pub operation: String,
    /// Nanoseconds for a row or a query, in the median over repeats.
    pub nanoseconds: f64,
}

/// Measures the module and the FUSE daemon under test. Needs root, and a guest.
///
/// # Errors
/// A home cannot be mounted, or fails at its work.
pub fn measure() -> Result<Vec<Cost>, Failure> {
    let loaded = ModuleFile::of_running_kernel()?.load()?;
    let kernel = KernelMount::new("size=1G")?;
    let fuse = FuseMount::under_test()?;
    let mut costs = of_home(Home::Kernel, kernel.path())?;
    costs.extend(of_home(Home::Fuse, fuse.path())?);
    fuse.unmount()?;
    kernel.unmount()?;
    loaded.unload()?;
    Ok(costs)
}

fn of_home(home: Home, directory: &Path) -> Result<Vec<Cost>, Failure> {
    let home = home::name(home);
    let data = Dataset::generate(PROTOCOL.seed, ROWS, PROTOCOL.dim, QUERIES);
    let mut costs = Vec::new();
    for kind in Kind::ALL {
        let (warm_ups, repeats) = fills(kind);
        let fill = || filled(home, directory, kind, &data).context(format!("{kind:?} in {home}"));
        let (_, mut file) = fill()?;
        let mut insertions = Vec::new();
        for number in 1..warm_ups + repeats {
            drop(file);
            let took;
            (took, file) = fill()?;
            if number >= warm_ups {
                insertions.push(took);
            }
        }
        let mut searches = Vec::new();
        for _ in 0..WARM_UPS + REPEATS {
            let answers = file.search(&data.queries, PROTOCOL.k)?;
            searches.push(answers.times(home)?.iter().sum());
        }
        let mut add = |operation: &str, took: &[Duration], operations: usize| {
            let each: Vec<f64> =
                took.iter().map(|one| one.as_nanos() as f64 / operations as f64).collect();
            let Some(nanoseconds) = median(&each) else { return };
            let operation = format!("{operation}, {kind:?}");
            costs.push(Cost { home: home.to_owned(), operation, nanoseconds });
        };
        add("insertion", &insertions, ROWS);
        add("search", &searches[WARM_UPS..], QUERIES);
    }
    Ok(costs)
}

/// Makes a file with all rows, and returns it with the time that inserting them took.
fn filled(
    home: &str,
    directory: &Path,
    kind: Kind,
    data: &Dataset,
) -> Result<(Duration, VexfsFile), Failure> {
    // efSearch is declared, as in the criteria, so that a graph is walked: by default it may
    // compare every row.
    let declaration = declared::of_rows(kind, data.dim)?;
    let mut file = VexfsFile::create(home, &directory.join("costs.f32"), declaration)?;
    let mut took = Duration::ZERO;
    for (number, rows) in data.base.chunks(BATCH * data.dim).enumerate() {
        took += file.insert((number * BATCH) as u64, rows)?.time(home)?;
    }
    Ok((took, file))
}

/// Writes `costs` into the directory `evidence`.
pub fn write(evidence: &Path, costs: &[Cost]) -> Result<(), Failure> {
    let path = evidence.join(COSTS_FILE);
    fs::write(&path, serde_json::to_vec_pretty(costs)?).context(path.display())
}

/// Reads the costs that a guest has left in the directory `evidence`.
pub fn read(evidence: &Path) -> Result<Vec<Cost>, Failure> {
    let path = evidence.join(COSTS_FILE);
    let bytes = fs::read(&path).context(path.display())?;
    serde_json::from_slice(&bytes).context(path.display())
}
