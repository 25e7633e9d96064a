//! What an index reports about itself: how well it finds neighbours, and how it searches as a
//! consequence.

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset::{self, Dataset};
use vexfs_uapi::client::{Declaration, attach, detach, stats};
use vexfs_uapi::{
    ABI_VERSION, How, IOC_MAX_SIZE, Kind, Report, STATS_SIZE_0, Stats, Why, ioc_stats_of,
};

use crate::filesystem::operation::{Effort, Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    indexes_tell_how_well_they_find.effort(Effort::Long),
    moved_rows_are_told.effort(Effort::Long),
    stats_are_served_in_any_size,
];

/// Rows in 0..1 without any structure.
fn even(rows: usize, dim: usize) -> Vec<f32> {
    Dataset::generate(11, rows, dim, 1).base
}

/// Columns as in real tables: amounts, shares and flags of different scales. One column outweighs
/// the others, but the others tell which rows are nearest.
fn table(rows: usize) -> Vec<f32> {
    const SCALES: [f32; COLUMNS] =
        [50.0, 1e5, 0.01, 1.0, 20.0, 0.3, 10.0, 1.0, 5.0, 0.1, 1.0, 1.0, 1.0, 1.0];
    let value = |(at, x): (usize, f32)| match at % COLUMNS {
        column @ 0..5 => SCALES[column] * x,
        column @ 5..10 => SCALES[column] * (3.0 * x).exp(),
        _ => f32::from(x > 0.7),
    };
    even(rows, COLUMNS).into_iter().enumerate().map(value).collect()
}

const COLUMNS: usize = 14;

/// Components of long rows, and a number of rows at which searching their codes by default is
/// cheaper than comparing all of the rows.
const LONG: usize = 256;
const WORTH_CODES: usize = 7000;

fn vector_file(path: &Path, rows: &[f32]) -> Result<File, Failure> {
    fs::write(path, dataset::bytes(rows))?;
    Ok(OpenOptions::new().read(true).write(true).open(path)?)
}

/// The report of an index of this kind, with these parameters, over the rows of `file`.
fn told(file: &File, dim: usize, kind: Kind, params: [u32; 8]) -> Result<Report, Failure> {
    let declaration = Declaration { kind, params, ..Declaration::flat(dim as u32) };
    attach(file, &declaration).context(format!("ATTACH {kind:?}"))?;
    let report = stats(file, 0).context("STATS")?.report;
    detach(file, 0)?;
    Ok(report)
}

fn is(report: &Report, search: How, reason: Why) -> bool {
    (report.search, report.reason) == (search as u32, reason as u32)
}

/// The share of the neighbours that it found when it measured itself.
fn measured(report: &Report) -> f64 {
    f64::from(report.measured_found) / f64::from(report.measured_neighbours)
}

fn indexes_tell_how_well_they_find(dir: &Path) -> Result<(), Failure> {
    const ROWS: usize = 4200;
    let rows = even(ROWS, 64);
    let file = vector_file(&dir.join("even.f32"), &rows)?;
    let by_default = |kind| told(&file, 64, kind, [0; 8]);

    let flat = by_default(Kind::Flat)?;
    require!(is(&flat, How::Exact, Why::Kind) && flat.trainings == 0, "flat: {flat:?}");
    let hnsw = by_default(Kind::Hnsw)?;
    // With so few rows, walking the graph is more expensive than comparing all of them.
    require!(is(&hnsw, How::Exact, Why::NoDearer) && hnsw.effort == 0, "even rows, hnsw: {hnsw:?}");
    require!(hnsw.measured_effort > 0 && measured(&hnsw) >= 0.95, "even rows, hnsw: {hnsw:?}");
    // With so few rows, computing a query's tables costs as much as its codes save.
    let pq = by_default(Kind::Pq)?;
    require!(is(&pq, How::Exact, Why::NoDearer), "even rows, pq: {pq:?}");
    let long_rows = vector_file(&dir.join("long.f32"), &even(WORTH_CODES, LONG))?;
    let pq = told(&long_rows, LONG, Kind::Pq, [0; 8])?;
    require!(is(&pq, How::Declared, Why::Enough), "long rows, pq: {pq:?}");
    require!(pq.effort == 12 && pq.measured_effort == 12, "long rows, pq: {pq:?}");
    require!(pq.measured_queries >= 16 && measured(&pq) >= 0.95, "long rows, pq: {pq:?}");
    require!(pq.trained_rows == 4096 && pq.trainings > 0, "long rows, pq: {pq:?}");
    require!(pq.trained_changes as usize == WORTH_CODES - 4096, "long rows, pq: {pq:?}");
    // Hashes of 1,024 bits are longer than codes of 64 bytes.
    let lsh = by_default(Kind::Lsh)?;
    require!(is(&lsh, How::Exact, Why::NoDearer) && lsh.effort == 0, "even rows, lsh: {lsh:?}");
    let ivf = by_default(Kind::Ivf)?;
    require!(is(&ivf, How::Exact, Why::NoDearer), "even rows, ivf: {ivf:?}");
    require!(ivf.measured_effort > 0 && measured(&ivf) >= 0.95, "even rows, ivf: {ivf:?}");

    // A parameter given to ATTACH is obeyed, whatever it finds.
    for (kind, place, effort) in
        [(Kind::Hnsw, 2, 11), (Kind::Pq, 2, 1), (Kind::Ivf, 1, 1), (Kind::Lsh, 1, 1)]
    {
        let mut params = [0; 8];
        params[place] = effort;
        let report = told(&file, 64, kind, params)?;
        let obeyed = is(&report, How::Declared, Why::Asked) && report.effort == effort;
        require!(obeyed, "{kind:?} declared with effort {effort}: {report:?}");
        require!(
            report.measured_queries == 0,
            "{kind:?} declared with effort {effort}: {report:?}"
        );
    }

    let rows = table(ROWS);
    let file = vector_file(&dir.join("table.f32"), &rows)?;
    for kind in [Kind::Pq, Kind::Lsh] {
        let report = told(&file, COLUMNS, kind, [0; 8])?;
        let wider = is(&report, How::Wider, Why::TooLittle) && measured(&report) >= 0.95;
        let exact = is(&report, How::Exact, Why::NoDearer);
        require!(wider && report.effort > 12 || exact, "a table, {kind:?}: {report:?}");
    }
    let ivf = told(&file, COLUMNS, Kind::Ivf, [0; 8])?;
    let finds = measured(&ivf) >= 0.95;
    require!(finds, "a table, ivf: {ivf:?}");
    let pq = told(&file, COLUMNS, Kind::Pq, [0; 8])?;
    require!(pq.measured_queries > 0, "a table, pq: {pq:?}");

    let file = vector_file(&dir.join("few.f32"), &rows[..100 * COLUMNS])?;
    let few = told(&file, COLUMNS, Kind::Pq, [0; 8])?;
    require!(is(&few, How::Exact, Why::Untrained), "100 rows, pq: {few:?}");
    require!(few.training_in == 156 && few.trainings == 0, "100 rows, pq: {few:?}");
    Ok(())
}

/// Rows from a different region are appended to those that codes were trained on. The index must be
/// trained again, or search exactly until there are enough of them to make training worth while. It
/// must never continue as before.
fn moved_rows_are_told(dir: &Path) -> Result<(), Failure> {
    const AT_ONCE: usize = 150;
    let rows = even(WORTH_CODES, LONG);
    let file = vector_file(&dir.join("moved.f32"), &rows)?;
    let declaration = Declaration { kind: Kind::Pq, ..Declaration::flat(LONG as u32) };
    attach(&file, &declaration).context("ATTACH")?;
    let before = stats(&file, 0)?.report;
    require!(is(&before, How::Declared, Why::Enough), "before: {before:?}");
    // Close together, and far away from the others.
    let far: Vec<f32> = rows[..AT_ONCE * LONG].iter().map(|x| 100.0 + 1e-3 * x).collect();
    let after = loop {
        let end = file.metadata()?.len();
        file.write_all_at(dataset::bytes(&far), end).context("appending rows")?;
        let now = stats(&file, 0)?;
        let report = now.report;
        if report.trainings > before.trainings {
            break report;
        }
        require!(now.rows < 12_000, "the index is never trained anew: {report:?}");
        let waits = is(&report, How::Exact, Why::Moved) && report.training_in > 0;
        require!(waits || measured(&report) >= 0.95, "rows of another place: {report:?}");
    };
    require!(after.trained_rows > 4096, "trained anew: {after:?}");
    require!(after.reason != Why::Moved as u32, "trained anew: {after:?}");
    Ok(())
}

/// A caller that knows the first version of STATS gets that version, and a caller that knows a
/// later one gets everything that the home knows.
fn stats_are_served_in_any_size(dir: &Path) -> Result<(), Failure> {
    let file = vector_file(&dir.join("base.f32"), &even(20, 4))?;
    attach(&file, &Declaration::flat(4)).context("ATTACH")?;
    let whole = stats(&file, 0).context("STATS")?;
    for size in [STATS_SIZE_0, STATS_SIZE_0 + 12, size_of::<Stats>(), 1000, IOC_MAX_SIZE] {
        let mut memory = vec![0xaa_u8; size];
        memory[..12].fill(0);
        memory[..4].copy_from_slice(&ABI_VERSION.to_ne_bytes());
        let (number, argument) = (ioc_stats_of(size), memory.as_mut_ptr());
        // SAFETY: the memory has as many bytes as the request number says.
        let done = unsafe { libc::ioctl(file.as_raw_fd(), number as libc::Ioctl, argument) };
        require!(done == 0, "{size} bytes: {}", std::io::Error::last_os_error());
        // SAFETY: the struct consists of integers without padding (checked by `vexfs-uapi`'s
        // tests).
        let known = unsafe {
            std::slice::from_raw_parts((&raw const whole).cast::<u8>(), size_of::<Stats>())
        };
        let n = size.min(known.len());
        require!(memory[..n] == known[..n], "STATS of {size} bytes gives another answer");
        require!(
            memory[n..].iter().all(|&byte| byte == 0xaa),
            "STATS of {size} bytes changed memory behind its answer"
        );
    }
    Ok(())
}
