//! A small vector file, and checks of its answers.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use measure::oracle::Oracle;
use vexfs_uapi::Hit;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

pub(super) const DIM: usize = 24;
pub(super) const ROWS: usize = 700;
pub(super) const K: u32 = 10;
/// Bytes in a row.
pub(super) const ROW: usize = DIM * size_of::<f32>();

/// 700 rows and 20 queries of 24 components.
pub(super) fn small() -> Dataset {
    Dataset::generate(7, ROWS, DIM, 20)
}

pub(super) fn declaration() -> Declaration {
    Declaration::flat(DIM as u32)
}

/// A new vector file `base.f32` with the given rows.
pub(super) fn vector_file(dir: &Path, rows: &[f32]) -> Result<File, Failure> {
    let path = dir.join("base.f32");
    fs::write(&path, dataset::bytes(rows))?;
    Ok(OpenOptions::new().read(true).write(true).open(&path)?)
}

/// A vector file with the given rows, and an exact index in slot 0.
pub(super) fn indexed(dir: &Path, rows: &[f32]) -> Result<File, Failure> {
    let file = vector_file(dir, rows)?;
    let count = attach(&file, &declaration()).context("ATTACH")?;
    require!(
        count as usize == rows.len() / DIM,
        "{count} rows are indexed, expected {}",
        rows.len() / DIM
    );
    Ok(file)
}

pub(super) fn write_row(file: &File, row: usize, vector: &[f32]) -> Result<(), Failure> {
    file.write_all_at(dataset::bytes(vector), (row * ROW) as u64)
        .context(format!("writing row {row}"))
}

/// The `k` rows nearest to a query, found with slot 0.
pub(in crate::filesystem) fn nearest(
    file: &File,
    query: &[f32],
    k: u32,
) -> Result<Vec<Hit>, Failure> {
    nearest_by(file, 0, query, k)
}

pub(super) fn nearest_by(
    file: &File,
    slot: u32,
    query: &[f32],
    k: u32,
) -> Result<Vec<Hit>, Failure> {
    let mut searcher = Searcher::new(DIM as u32, k, slot)?;
    Ok(searcher.search(file, query).context("SEARCH")?.to_vec())
}

/// Checks with slot 0 that row `row` is `vector`.
pub(super) fn expect_row(file: &File, row: usize, vector: &[f32]) -> Result<(), Failure> {
    let hits = nearest(file, vector, 1)?;
    let found = matches!(hits[..], [hit] if hit.row == row as u64 && hit.distance == 0);
    require!(found, "row {row} is not found as it was written: {hits:?}");
    Ok(())
}

/// Checks that the index in `slot` answers for the rows that the file holds now: with true
/// distances, and exactly if `exact`.
pub(super) fn expect_current(file: &File, slot: u32, exact: bool) -> Result<(), Failure> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len())?];
    file.read_exact_at(&mut bytes, 0)?;
    let whole = bytes.len() / ROW;
    let indexed = stats(file, slot).context("STATS")?.rows;
    require!(indexed == whole as u64, "{indexed} rows are indexed, the file has {whole}");
    let mut data = small();
    data.base = dataset::values(&bytes[..whole * ROW])?;
    let k = (K as usize).min(whole);
    if k == 0 {
        let hits = nearest_by(file, slot, &data.queries[..DIM], K)?;
        require!(hits.is_empty(), "a search of a file without rows finds {hits:?}");
        return Ok(());
    }
    let oracle = Oracle::new(&data, &data.queries, k);
    for (number, query) in data.queries.chunks_exact(DIM).enumerate() {
        let hits = nearest_by(file, slot, query, K)?;
        let ids: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
        let distances: Vec<f32> = hits.iter().map(|hit| f32::from_bits(hit.distance)).collect();
        oracle.check_distances(number, &ids, &distances)?;
        if exact {
            let recall = oracle.recall(number, &ids);
            require!(
                recall == 1.0,
                "query {number}: recall {recall} of an exact index, expected 1"
            );
        }
    }
    Ok(())
}
