//! Random changes of a file, with every call that can change bytes. After each change, the answers
//! must be right by brute force, and equal bit for bit to those of the engine in this process,
//! which gets the same changes row by row. It follows that both homes give the same answers. The
//! order in which the kernel writes back a mapping's pages is undefined; if that order could show,
//! both sides build their index again.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use machine::{place, uncached};
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, Kind, Metric};

use crate::filesystem::operation::{Effort, Operation, operations};
use crate::sequence::{Change, InOrder, Shape, apply, query as query_of};
use crate::torture::fuzz::Dice;
use crate::torture::scale;

pub(super) const OPERATIONS: &[Operation] = operations![
    changed_rows_are_answered_exactly_by_flat.effort(Effort::Long),
    changed_rows_are_answered_alike_by_hnsw.effort(Effort::Long),
    changed_rows_are_answered_alike_by_pq.effort(Effort::Long),
    changed_rows_are_answered_alike_by_ivf.effort(Effort::Long),
    changed_rows_are_answered_alike_by_lsh.effort(Effort::Long),
];

/// The seed if none is given.
const SEED: u64 = 19;
const QUERIES: u64 = 3;
const K: u32 = 5;
const PAGE: usize = 4096;
/// Values of efSearch, nprobe or refine, used in turn: the index's own, and the smallest, with
/// which answers reveal most about the state of an index.
const EFFORTS: [u32; 2] = [0, 1];

/// How much is done; an emulated CPU is a hundred times slower.
struct Amount {
    changes: u64,
    /// Maximum number of rows of a file; natively that includes one more training step.
    rows: usize,
    rows_of_graphs: usize,
}

const NATIVE: Amount = Amount { changes: 80, rows: 4_500, rows_of_graphs: 1_400 };
const EMULATED: Amount = Amount { changes: 24, rows: 1_300, rows_of_graphs: 400 };

fn amount() -> Amount {
    if place::hypervisor_vendor().starts_with("TCG") { EMULATED } else { NATIVE }
}

fn changed_rows_are_answered_exactly_by_flat(dir: &Path) -> Result<(), Failure> {
    files(dir, Kind::Flat)
}

fn changed_rows_are_answered_alike_by_hnsw(dir: &Path) -> Result<(), Failure> {
    files(dir, Kind::Hnsw)
}

fn changed_rows_are_answered_alike_by_pq(dir: &Path) -> Result<(), Failure> {
    files(dir, Kind::Pq)
}

fn changed_rows_are_answered_alike_by_ivf(dir: &Path) -> Result<(), Failure> {
    files(dir, Kind::Ivf)
}

fn changed_rows_are_answered_alike_by_lsh(dir: &Path) -> Result<(), Failure> {
    files(dir, Kind::Lsh)
}

/// `VEXFS_VALIDATION_SEQUENCE_SEED` replays a run.
fn seed() -> Result<u64, Failure> {
    match std::env::var("VEXFS_VALIDATION_SEQUENCE_SEED") {
        Err(_) => Ok(SEED),
        Ok(text) => text.parse().context(format!("VEXFS_VALIDATION_SEQUENCE_SEED={text}")),
    }
}

fn files(dir: &Path, kind: Kind) -> Result<(), Failure> {
    let seed = seed()?;
    let Amount { changes, rows, rows_of_graphs } = amount();
    // A narrow graph reveals most about how it was built.
    let (most_rows, params) = match kind {
        Kind::Hnsw => (rows_of_graphs, [4, 20, 0, 0, 0, 0, 0, 0]),
        _ => (rows, [0; 8]),
    };
    for number in 0..u64::from(scale()?) {
        // Rows that fit into pages exactly, and rows that do not. All have at least 8 components: with
        // fewer, PQ and LSH search exactly and are never trained. Of 256 components, all rows are more
        // than the kernel hands to a FUSE daemon in one request.
        for (dim, metric) in
            [(16, Metric::L2), (25, Metric::Cosine), (11, Metric::InnerProduct), (256, Metric::L2)]
        {
            let seed = seed + number;
            let (changes, most_rows) =
                if dim == 256 { (changes / 2, most_rows.min(1_300)) } else { (changes, most_rows) };
            let declaration = Declaration { kind, metric, seed, params, ..Declaration::flat(dim) };
            one_file(dir, declaration, most_rows, changes).context(format!(
                "{kind:?} by {metric:?}, {dim} components (VEXFS_VALIDATION_SEQUENCE_SEED={seed})"
            ))?;
        }
    }
    Ok(())
}

fn one_file(
    dir: &Path,
    declaration: Declaration,
    most_rows: usize,
    changes: u64,
) -> Result<(), Failure> {
    let shape = Shape { dim: declaration.dim as usize, most_rows };
    let mut dice = Dice::new(declaration.seed, u64::from(declaration.dim));
    let mut due = InOrder::new(&declaration)?;
    let path = dir.join(format!("{:?}-{}.f32", declaration.kind, declaration.dim));
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    attach(&file, &declaration).context("ATTACH")?;
    let searcher = |effort| {
        let searcher = Searcher::new(declaration.dim, K, 0)?;
        Ok::<_, Failure>(searcher.with_param(effort))
    };
    let mut searchers = EFFORTS.map(searcher).into_iter().collect::<Result<Vec<_>, _>>()?;
    for number in 0..changes {
        let change = Change::draw(&mut dice, shape, due.model.bytes().len());
        let rows = due.model.rows();
        let told = format!("change {number} of {rows} rows, {change}");
        let allowed = due.change(&change).context(&told)?;
        // A write to pages that the page cache does not have comes in other parts, and a row across
        // two of them changes twice. What is refused may then be done in part.
        if allowed && PAGE.is_multiple_of(due.model.row_bytes()) && dice.one_in(2) {
            uncached::open(&path).context("dropping the file from the page cache")?;
        }
        let done = apply(&file, &change).context(&told)?;
        require!(done == allowed, "{told}: {}, which is wrong", outcome(done));
        same_bytes(&file, due.model.bytes()).context(&told)?;
        let indexed = stats(&file, 0).context("STATS")?.rows;
        let rows = due.model.rows();
        require!(indexed == rows as u64, "{told}: {indexed} rows are indexed, expected {rows}");
        // An index of the same rows added in another order may give different answers that are just
        // as good.
        let mut other_order = change.is_mapped() && declaration.kind != Kind::Flat;
        for effort in (0..QUERIES).flat_map(|_| EFFORTS) {
            let query = query_of(&mut dice, shape.dim);
            let hits = searchers[effort as usize].search(&file, &query).context(&told)?;
            let exact = declaration.kind == Kind::Flat;
            due.model.check(&query, K as usize, exact, hits).context(&told)?;
            let mut hits = hits.to_vec();
            let mut expected = due.search(&query, K, effort)?;
            if hits != expected && std::mem::take(&mut other_order) {
                detach(&file, 0).context("DETACH")?;
                attach(&file, &declaration).context("ATTACH")?;
                due.attach_anew()?;
                hits = searchers[effort as usize].search(&file, &query).context(&told)?.to_vec();
                expected = due.search(&query, K, effort)?;
            }
            require!(
                hits == expected,
                "{told}: a search (param {effort}) is answered differently from the engine that \
                 gets the rows one by one: {} instead of {}",
                in_words(&hits),
                in_words(&expected)
            );
        }
    }
    std::fs::remove_file(&path).context("unlink")
}

/// Rows and distances in words.
fn in_words(hits: &[Hit]) -> String {
    let told = |hit: &Hit| format!("{} at {:?}", hit.row, f32::from_bits(hit.distance));
    hits.iter().map(told).collect::<Vec<_>>().join(", ")
}

fn outcome(done: bool) -> &'static str {
    if done { "done, though a row of it is not finite" } else { "refused (EINVAL)" }
}

fn same_bytes(file: &std::fs::File, due: &[u8]) -> Result<(), Failure> {
    let mut read = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut read, 0).context("read")?;
    require!(read.len() == due.len(), "the file has {} bytes, expected {}", read.len(), due.len());
    let wrong = read.iter().zip(due).position(|(a, b)| a != b);
    require!(wrong.is_none(), "byte {} of the file is wrong", wrong.unwrap_or_default());
    Ok(())
}
