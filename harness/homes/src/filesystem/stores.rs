//! Bytes stored through a mapping are in the file at once and for everybody, and are never lost
//! silently.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use machine::child::Running;
use machine::failure::{Failure, WithContext};
use machine::{part, require, uncached};
use measure::dataset;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use rustix::fs::{SeekFrom, seek};
use serde::{Deserialize, Serialize};
use vexfs_uapi::client::{Declaration, Searcher, attach};

use super::asked::{HOLES, LIMITS};
use super::capacity::fill;
use super::contract::{ByContract, contract_requires};
use super::expect::expect_errno;
use super::mapped::Mapping;
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    stores_into_a_hole_are_data,
    a_refused_write_keeps_what_was_stored,
    a_refused_write_keeps_what_was_synced.on("size=2M"),
    stores_beyond_the_limit_are_not_lost_in_silence.on("size=2M"),
];

/// The name of the part that stores in a process that SIGBUS may kill.
pub const PART: &str = "stores";
const PAGE: usize = 4096;
/// The time limit for a few thousand pages.
const LIMIT: Duration = Duration::from_secs(60);
/// Exit codes of the part: everything was reported as stored, or there was no room.
const STORED: i32 = 0;
const FULL: i32 = 28;

/// The order of the part.
#[derive(Serialize, Deserialize)]
struct StoresOrder {
    path: PathBuf,
    pages: usize,
}

fn new(path: &Path, length: usize) -> Result<File, Failure> {
    let mut how = OpenOptions::new();
    let file = how.read(true).write(true).create_new(true).open(path).context(path.display())?;
    file.set_len(length as u64)?;
    Ok(file)
}

/// `cp` copies what SEEK_DATA finds, so a store into a hole must make it data.
fn stores_into_a_hole_are_data(dir: &Path) -> Result<(), Failure> {
    const AT: usize = 5 * PAGE + 7;
    let file = new(&dir.join("f"), 16 * PAGE)?;
    let mapping = Mapping::shared(&file, 16 * PAGE)?;
    require!(mapping.load(AT, 6) == [0; 6], "a hole is not zeros");
    mapping.store(AT, b"stored");
    let mut read = [0; 6];
    file.read_exact_at(&mut read, AT as u64)?;
    require!(&read == b"stored", "read(2) of what was stored gives {read:?}");
    let data = seek(&file, SeekFrom::Data(0)).context("SEEK_DATA, with a store in a hole")?;
    require!(
        data <= AT as u64,
        "SEEK_DATA finds nothing before byte {data}, but byte {AT} was stored"
    );
    let hole = seek(&file, SeekFrom::Hole(AT as u64)).context("SEEK_HOLE")?;
    require!(hole > AT as u64, "SEEK_HOLE reports a hole at byte {AT}, which was stored");
    drop(mapping);
    Ok(())
}

fn a_refused_write_keeps_what_was_stored(dir: &Path) -> Result<(), Failure> {
    const DIM: usize = 4;
    const ROW: usize = DIM * size_of::<f32>();
    let file = new(&dir.join("f"), 16 * ROW)?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    let mapping = Mapping::shared(&file, 16 * ROW)?;
    let stored = 7_f32.to_le_bytes();
    mapping.store(0, &stored);
    let nan = file.write_all_at(&f32::NAN.to_le_bytes(), 4 * ROW as u64);
    expect_errno(nan, libc::EINVAL, "write of a row that is not finite")?;
    let mut read = [0; 4];
    file.read_exact_at(&mut read, 0)?;
    require!(
        read == stored && mapping.load(0, 4) == stored,
        "a write to row 4 was refused, and what was stored into row 0 is gone: read(2) gives \
         {read:?}, the mapping {:?}",
        mapping.load(0, 4)
    );
    mapping.sync().context("msync")?;
    let read = uncached::read(dir.join("f"))?;
    require!(read[..4] == stored, "what was stored is gone after msync");
    require!(read[4 * ROW..][..4] == [0; 4], "a refused write has changed the file");
    Ok(())
}

/// A page that a store into a hole has made must not be treated as made by a later write. If that
/// write finds no room for its last bytes, the data that was stored and synced must stay.
fn a_refused_write_keeps_what_was_synced(dir: &Path) -> Result<(), Failure> {
    const DIM: usize = 16;
    const ROW: usize = DIM * size_of::<f32>();
    let path = dir.join("f");
    let file = new(&path, PAGE)?;
    attach(&file, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    let rows: Vec<f32> = (0..PAGE / ROW).flat_map(|row| [row as f32; DIM]).collect();
    let mapping = Mapping::shared(&file, PAGE)?;
    mapping.store(0, dataset::bytes(&rows));
    mapping.sync().context("msync")?;
    // A file system may well keep all pages that are mapped.
    drop(mapping);
    fill(&dir.join("filler"))?;
    // The last row again, and a row that needs another page.
    let again = [rows[rows.len() - DIM..].to_vec(), vec![1.5; DIM]].concat();
    let written = file.write_at(dataset::bytes(&again), (PAGE - ROW) as u64);
    match written {
        // The last row fits, because it is there.
        Ok(bytes) => contract_requires!(
            LIMITS,
            bytes <= ROW,
            "{bytes} bytes were written on a full mount, which has room for {ROW}"
        ),
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {}
        Err(error) => return Err(error).context("a write on a full mount"),
    }
    let read = uncached::read(&path)?;
    require!(
        read[..PAGE] == *dataset::bytes(&rows),
        "a write behind them found no room, and rows that were stored and synced are gone"
    );
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    let hits = searcher.search(&file, &[5.0; DIM]).context("SEARCH")?;
    let found = matches!(hits, [hit] if hit.row == 5 && hit.distance == 0);
    require!(found, "a row that was stored and synced is not found: {hits:?}");
    Ok(())
}

/// Stores four times as much as fits. The result must be SIGBUS at a store, ENOSPC from close(2),
/// or that everything is there.
fn stores_beyond_the_limit_are_not_lost_in_silence(dir: &Path) -> Result<(), Failure> {
    const PAGES: usize = 2_048;
    let path = dir.join("f");
    drop(new(&path, PAGES * PAGE).context("a hole beyond the limit").by_contract(HOLES)?);
    let order = StoresOrder { path: path.clone(), pages: PAGES };
    let ended = Running::start(&mut part::command(PART, &order)?)?.finish(LIMIT)?;
    let told = match (ended.status.code(), ended.status.signal()) {
        (Some(STORED), _) => {
            let read = uncached::read(&path).context("reading what was stored")?;
            let lost = read.chunks(PAGE).filter(|page| page[0] != 1).count();
            require!(
                lost == 0,
                "munmap and close said that {PAGES} pages were stored on a mount of 512, and {lost} \
                 of them are zeros"
            );
            "done"
        }
        (Some(FULL), _) => "ENOSPC",
        (None, Some(signal)) if signal == Signal::SIGBUS as i32 => "SIGBUS",
        _ => machine::fail!("storing ended with {}: {}", ended.status, ended.tail()),
    };
    // The rest of the mount must be usable again.
    fs::remove_file(&path).context(format!("unlink after {told}"))?;
    fs::write(dir.join("others"), [3; 64]).context(format!("a file after {told}"))
}

/// Stores into every page, and closes the file.
///
/// # Errors
/// Any error other than those of a full mount.
pub fn play(order: &str) -> Result<(), Failure> {
    let order: StoresOrder = serde_json::from_str(order).context("what is to be stored")?;
    let file = OpenOptions::new().read(true).write(true).open(&order.path)?;
    let mapping = Mapping::shared(&file, order.pages * PAGE)?;
    for page in 0..order.pages {
        mapping.store(page * PAGE, &[1]);
    }
    // No msync(2): a program that does not call it must be told as well.
    drop(mapping);
    match nix::unistd::close(file) {
        Err(Errno::ENOSPC) => std::process::exit(FULL),
        other => other.context("close"),
    }
}
