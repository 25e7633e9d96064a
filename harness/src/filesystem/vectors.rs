//! Vector files: the contract's ioctls, whatever home serves them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};
use vexfs_uapi::{Hit, MAX_DIM};

use super::Operation;
use super::data::expect_errno;
use crate::dataset::{self, Dataset};
use crate::failure::{Failure, While};
use crate::oracle::Oracle;
use crate::require;

pub(super) const OPERATIONS: &[Operation] = &[
    Operation { name: "attach_and_search_exactly", check: attach_and_search_exactly },
    Operation { name: "batches_are_answered_as_one_by_one", check: batches_are_answered },
    Operation { name: "appended_rows_are_found", check: appended_rows_are_found },
    Operation { name: "truncated_rows_are_not_found", check: truncated_rows_are_not_found },
    Operation { name: "overwritten_rows_are_found", check: overwritten_rows_are_found },
    Operation { name: "stats_count", check: stats_count },
    Operation { name: "nan_is_refused", check: nan_is_refused },
    Operation { name: "bad_requests_are_refused", check: bad_requests_are_refused },
];

const DIM: usize = 24;
const ROWS: usize = 700;
const K: u32 = 10;

/// 700 rows and 20 queries of 24 components.
fn small() -> Dataset {
    Dataset::generate(7, ROWS, DIM, 20)
}

fn declaration() -> Declaration {
    Declaration::flat(DIM as u32)
}

/// A vector file with the rows given, and an index.
fn indexed(dir: &Path, rows: &[f32]) -> Result<File, Failure> {
    let path = dir.join("base.f32");
    fs::write(&path, dataset::bytes(rows))?;
    let file = OpenOptions::new().read(true).append(true).open(&path)?;
    let count = attach(&file, &declaration()).when("ATTACH")?;
    require!(count as usize == rows.len() / DIM, "{count} rows of {}", rows.len() / DIM);
    Ok(file)
}

/// The `k` rows nearest to `query` by the index in slot 0.
pub(super) fn nearest(file: &File, query: &[f32], k: u32) -> Result<Vec<Hit>, Failure> {
    let mut searcher = Searcher::new(u32::try_from(query.len())?, k, 0)?;
    Ok(searcher.search(file, query).when("SEARCH")?.to_vec())
}

fn attach_and_search_exactly(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let oracle = Oracle::new(&data, &data.queries, K as usize);
    for (number, query) in data.queries.chunks_exact(DIM).enumerate() {
        let hits = nearest(&file, query, K)?;
        let ids: Vec<u64> = hits.iter().map(|hit| hit.row).collect();
        let distances: Vec<f32> = hits.iter().map(|hit| f32::from_bits(hit.distance)).collect();
        let recall = oracle.recall(number, &ids);
        require!(recall == 1.0, "query {number}: recall {recall} of an exact index");
        oracle.check_distances(number, &ids, &distances)?;
        require!(distances.is_sorted(), "query {number}: not nearest first");
    }
    detach(&file, 0).when("DETACH")?;
    let mut searcher = Searcher::new(DIM as u32, K, 0)?;
    let detached = searcher.search(&file, &data.queries[..DIM]).map(<[Hit]>::len);
    expect_errno(detached, libc::ENOENT, "a search after DETACH")
}

fn batches_are_answered(dir: &Path) -> Result<(), Failure> {
    // So many that one request does not carry them.
    let data = Dataset::generate(7, ROWS, DIM, 200);
    let file = indexed(dir, &data.base)?;
    let before = stats(&file, 0)?;
    let mut searcher = Searcher::new(DIM as u32, K, 0)?;
    let mut answers = Vec::new();
    searcher.search_batch(&file, &data.queries, |hits| answers.push(hits.to_vec()))?;
    let after = stats(&file, 0)?;
    require!(answers.len() == 200, "{} answers to 200 queries", answers.len());
    let counted = (after.searches - before.searches, after.distances - before.distances);
    require!(counted == (200, 200 * ROWS as u64), "200 queries are counted as {counted:?}");
    for (query, hits) in data.queries.chunks_exact(DIM).zip(&answers) {
        require!(*hits == nearest(&file, query, K)?, "a batch has another answer: {hits:?}");
    }
    let mut bad = data.queries[..3 * DIM].to_vec();
    bad[2 * DIM] = f32::NAN;
    let refused = searcher.search_batch(&file, &bad, |_| ());
    expect_errno(refused, libc::EINVAL, "a batch with a query that is not finite")?;
    require!(stats(&file, 0)?.searches == after.searches + 200, "a refused batch is counted");
    Ok(())
}

fn appended_rows_are_found(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let mut file = indexed(dir, &data.base[..DIM * 100])?;
    for row in 100..200 {
        let vector = data.row(row);
        // In two halves: a half row is not a row.
        let bytes = dataset::bytes(vector);
        file.write_all(&bytes[..50])?;
        require!(stats(&file, 0)?.rows == row as u64, "half a row counts as one");
        file.write_all(&bytes[50..])?;
        let hits = nearest(&file, vector, 1)?;
        require!(
            hits[0].row == row as u64 && hits[0].distance == 0,
            "row {row} is not found right after its write returned: {hits:?}"
        );
    }
    Ok(())
}

fn truncated_rows_are_not_found(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let length = (10 * DIM * size_of::<f32>() + 7) as u64;
    file.set_len(length)?;
    require!(stats(&file, 0)?.rows == 10, "{} rows of 10 and a bit", stats(&file, 0)?.rows);
    let hits = nearest(&file, data.row(500), K)?;
    require!(hits.iter().all(|hit| hit.row < 10), "a row that was cut off is found");
    Ok(())
}

fn overwritten_rows_are_found(dir: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::FileExt;
    let data = small();
    let file = indexed(dir, &data.base[..DIM * 300])?;
    let writer = OpenOptions::new().write(true).open(dir.join("base.f32"))?;
    let vector = data.row(600);
    writer.write_all_at(dataset::bytes(vector), (17 * DIM * size_of::<f32>()) as u64)?;
    let hits = nearest(&file, vector, 1)?;
    require!(hits[0].row == 17 && hits[0].distance == 0, "row 17 is as it was: {hits:?}");
    let hits = nearest(&file, data.row(17), 1)?;
    require!(hits[0].distance != 0, "what row 17 was is still found");
    Ok(())
}

fn stats_count(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    let before = stats(&file, 0)?;
    for query in data.queries.chunks_exact(DIM) {
        nearest(&file, query, K)?;
    }
    let after = stats(&file, 0)?;
    let (searches, distances) =
        (after.searches - before.searches, after.distances - before.distances);
    require!(
        searches == 20 && distances == 20 * ROWS as u64,
        "20 queries over {ROWS} rows are counted as {searches} and {distances} distances"
    );
    require!(!after.engine().is_empty(), "the engine has no name");
    Ok(())
}

fn nan_is_refused(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let mut file = indexed(dir, &data.base[..DIM * 10])?;
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut row = data.row(20).to_vec();
        row[DIM / 2] = bad;
        let written = file.write_all(dataset::bytes(&row));
        expect_errno(written, libc::EINVAL, "a row that is not finite")?;
        let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
        let found = searcher.search(&file, &row).map(<[Hit]>::len);
        expect_errno(found, libc::EINVAL, "a query that is not finite")?;
    }
    let length = file.metadata()?.len();
    require!(length == (DIM * 10 * 4) as u64, "a refused write left {length} bytes");
    require!(stats(&file, 0)?.rows == 10, "a refused write left {} rows", stats(&file, 0)?.rows);
    Ok(())
}

fn bad_requests_are_refused(dir: &Path) -> Result<(), Failure> {
    let data = small();
    let file = indexed(dir, &data.base)?;
    expect_errno(attach(&file, &declaration()), libc::EEXIST, "a slot in use")?;
    for bad in [
        Declaration { dim: 0, index: 1, ..declaration() },
        Declaration { dim: MAX_DIM + 1, index: 1, ..declaration() },
        Declaration { index: 8, ..declaration() },
    ] {
        expect_errno(attach(&file, &bad), libc::EINVAL, &format!("{bad:?}"))?;
    }
    expect_errno(stats(&file, 3), libc::ENOENT, "STATS of an empty slot")?;
    let mut searcher = Searcher::new(DIM as u32 + 1, K, 0)?;
    let found = searcher.search(&file, &[0.5; DIM + 1]).map(<[Hit]>::len);
    expect_errno(found, libc::EINVAL, "a query of another dimension")?;
    // SAFETY: the number is none of the contract's; its size is 0, so nothing is read or written.
    let unknown = unsafe { libc::ioctl(file.as_raw_fd(), 0x5699_u32 as libc::Ioctl, 0) };
    let unknown = if unknown == -1 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    expect_errno(unknown, libc::ENOTTY, "an unknown ioctl")?;
    let write_only = OpenOptions::new().append(true).open(dir.join("base.f32"))?;
    expect_errno(stats(&write_only, 0), libc::EBADF, "STATS without the right to read")?;
    let read_only = File::open(dir.join("base.f32"))?;
    expect_errno(detach(&read_only, 0), libc::EBADF, "DETACH without the right to write")
}
