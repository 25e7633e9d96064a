//! A file grows row by row while a mapping stores beyond its end.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::failure::{Failure, WithContext};
use machine::require;
use measure::dataset;
use vexfs_uapi::Home;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use crate::filesystem::asked::GROWS;
use crate::filesystem::contract::contract_requires;
use crate::filesystem::mapped::Mapping;
use crate::filesystem::operation::{Effort, Operation, operations};
use crate::filesystem::threads::beside;
use crate::own::is_own;

pub(super) const OPERATIONS: &[Operation] =
    operations![stores_behind_the_end_of_a_growing_file_are_no_rows.effort(Effort::Long),];

const DIM: usize = 4;
const ROW: usize = DIM * size_of::<f32>();
const PAGE: usize = 4096;
/// Rows before the file grows; its end is then in the middle of a page.
const BEFORE: usize = 100;
/// Bytes after the file has grown.
const AFTER: usize = 64 * PAGE;
/// How many stores beyond the end of a growing file are enough, and how often it is made to grow to
/// get them.
const ENOUGH: usize = 4;
const TIMES: usize = 20;
/// The last byte of a row whose last component then becomes 2.
const STORED: u8 = 0x40;

/// Offsets at which a mapping stored while the file grew.
#[derive(Default)]
struct Stores {
    /// Offsets that were certainly beyond its end.
    behind: Vec<usize>,
    /// Offsets that were beyond its end or within it.
    unclear: Vec<usize>,
    /// Whether the file may become longer in one step: the kernel does that over FUSE when the
    /// daemon has answered, and so may somebody else's module.
    in_one_step: bool,
}

fn length(file: &File) -> Result<usize, Failure> {
    Ok(usize::try_from(file.metadata()?.len())?)
}

/// Whether a mapping has the page of byte `at`. Over FUSE, the daemon may report a size that the
/// kernel adopts only when it has the answer.
fn has_page(file: &File, at: usize) -> Result<bool, Failure> {
    let first = at - at % PAGE;
    Ok(file.read_at(&mut [0], first as u64).context("read of one byte")? == 1)
}

/// Stores into the last byte of the file's last page, once for each page, as long as the file is
/// `busy` growing.
fn store_behind(file: &File, mapping: &Mapping, busy: &AtomicBool) -> Result<Stores, Failure> {
    let mut stores = Stores::default();
    let mut last = 0;
    while busy.load(Ordering::SeqCst) {
        let at = length(file)? | (PAGE - 1);
        if at == last || at >= AFTER || !has_page(file, at)? {
            continue;
        }
        mapping.store(at, &[STORED]);
        last = at;
        let is_behind = length(file)? <= at;
        if is_behind { stores.behind.push(at) } else { stores.unclear.push(at) }
    }
    Ok(stores)
}

/// Grows a file that has two indexes: each row is then a step of the change, and each step makes
/// the file longer.
fn grow(dir: &Path) -> Result<Stores, Failure> {
    let path = dir.join("f");
    fs::write(&path, dataset::bytes(&[9.0; BEFORE * DIM]))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    for index in [0, 1] {
        attach(&file, &Declaration { index, ..Declaration::flat(DIM as u32) }).context("ATTACH")?;
    }
    let mapping = Mapping::shared(&file, AFTER)?;
    let longer = || file.set_len(AFTER as u64).context("truncate to a larger size");
    let ((), mut stores) = beside(longer, |busy| store_behind(&file, &mapping, busy))?;
    drop(mapping);

    let mut bytes = vec![0; AFTER];
    file.read_exact_at(&mut bytes, 0)?;
    let told = stats(&file, 0).context("STATS")?;
    // Over FUSE, the kernel extends the file over the page with the old end, including everything
    // in that page, when it has the daemon's answer: see docs/contract.md.
    let may_come = told.home == Home::Fuse as u32;
    stores.in_one_step = may_come || is_own(Home::Kernel)?;
    let mut came = false;
    for (at, &byte) in bytes.iter().enumerate().skip(BEFORE * ROW) {
        let granted = stores.unclear.contains(&at) || may_come && at < PAGE && byte == STORED;
        contract_requires!(
            GROWS,
            byte == 0 || granted,
            "byte {at} is {byte:#x}: it was stored behind the end of a file that grew, and came into \
             it"
        );
        came |= byte == STORED;
    }
    for slot in [0, 1] {
        let indexed = stats(&file, slot).context("STATS")?.rows;
        require!(indexed == (AFTER / ROW) as u64, "{indexed} rows are indexed in slot {slot}");
        let mut searcher = Searcher::new(DIM as u32, 1, slot)?;
        let hits = searcher.search(&file, &[0.0, 0.0, 0.0, 2.0]).context("SEARCH")?;
        let [hit] = hits else { machine::fail!("{} hits, expected 1", hits.len()) };
        let due = if came { 0_f32 } else { 4.0 };
        require!(
            hit.distance == due.to_bits(),
            "slot {slot} finds row {} at distance {}; what was stored behind the end became a row \
             of the file: {came}",
            hit.row,
            f32::from_bits(hit.distance)
        );
    }
    fs::remove_file(&path).context("unlink")?;
    Ok(stores)
}

/// Bytes stored beyond the end of a file must be zeros when the file grows over them, even if it
/// grows step by step.
fn stores_behind_the_end_of_a_growing_file_are_no_rows(dir: &Path) -> Result<(), Failure> {
    let (mut all, mut amidst, mut in_one_step) = (0, 0, false);
    for _ in 0..TIMES {
        let stores = grow(dir)?;
        in_one_step = stores.in_one_step;
        all += stores.behind.len();
        // A store into the first page may come before the file has begun to grow.
        amidst += stores.behind.iter().filter(|&&at| at >= PAGE).count();
        if amidst >= ENOUGH {
            break;
        }
    }
    let enough = if in_one_step { all > 0 } else { amidst >= ENOUGH };
    if !enough {
        return Err(Failure::undecided(format!(
            "in {TIMES} tries {all} stores hit bytes behind the end of a growing file, {amidst} of \
             them after it had begun to grow; a verdict needs {ENOUGH} of these"
        )));
    }
    Ok(())
}
