//! A file that grows row by row, while a mapping stores behind its end.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use machine::failure::{Failure, While};
use machine::require;
use measure::dataset;
use vexfs_uapi::client::{Declaration, Searcher, attach, stats};

use crate::filesystem::mapped::Mapping;
use crate::filesystem::operation::{Effort, Operation, operations};
use crate::filesystem::threads::beside;

pub(super) const OPERATIONS: &[Operation] = operations![
    stores_behind_the_end_of_a_growing_file_are_no_rows
        .effort(Effort::Long)
        .by_contract("what is stored behind the end of a file is zeros once it grows"),
];

const DIM: usize = 4;
const ROW: usize = DIM * size_of::<f32>();
const PAGE: usize = 4096;
/// Rows before the file grows; its end is in the middle of a page then.
const BEFORE: usize = 100;
/// Bytes afterwards.
const AFTER: usize = 64 * PAGE;
/// Stores behind the end of a file that is growing already, and how often it is made to grow for them.
const ENOUGH: usize = 4;
const TIMES: usize = 20;
/// The last byte of a row whose last component is 2 then.
const STORED: u8 = 0x40;

/// Where a mapping stored while the file grew.
#[derive(Default)]
struct Stores {
    /// Behind its end, for sure.
    behind: Vec<usize>,
    /// Behind its end or within it.
    unclear: Vec<usize>,
}

fn length(file: &File) -> Result<usize, Failure> {
    Ok(usize::try_from(file.metadata()?.len())?)
}

/// Stores into the last byte of the file's last page, once for each page, as long as it is `busy`
/// growing.
fn store_behind(file: &File, mapping: &Mapping, busy: &AtomicBool) -> Result<Stores, Failure> {
    let mut stores = Stores::default();
    let mut last = 0;
    while busy.load(Ordering::SeqCst) {
        let at = length(file)? | (PAGE - 1);
        // A file that ends with its page has none of the next one, and a store there is a SIGBUS.
        if at == last || length(file)?.is_multiple_of(PAGE) || at >= AFTER {
            continue;
        }
        mapping.store(at, &[STORED]);
        last = at;
        let is_behind = length(file)? <= at;
        if is_behind { stores.behind.push(at) } else { stores.unclear.push(at) }
    }
    Ok(stores)
}

/// With two indexes each row is a piece of the change, and each piece makes the file longer.
fn grow(dir: &Path) -> Result<Stores, Failure> {
    let path = dir.join("f");
    fs::write(&path, dataset::bytes(&[9.0; BEFORE * DIM]))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    for index in [0, 1] {
        attach(&file, &Declaration { index, ..Declaration::flat(DIM as u32) }).when("ATTACH")?;
    }
    let mapping = Mapping::shared(&file, AFTER)?;
    let longer = || file.set_len(AFTER as u64).when("truncate to a larger size");
    let ((), stores) = beside(longer, |busy| store_behind(&file, &mapping, busy))?;
    drop(mapping);

    let mut bytes = vec![0; AFTER];
    file.read_exact_at(&mut bytes, 0)?;
    for (at, &byte) in bytes.iter().enumerate().skip(BEFORE * ROW) {
        require!(
            byte == 0 || stores.unclear.contains(&at),
            "byte {at} is {byte:#x}: it was stored behind the end of a file that grew, and came into \
             it"
        );
    }
    for slot in [0, 1] {
        let indexed = stats(&file, slot).when("STATS")?.rows;
        require!(indexed == (AFTER / ROW) as u64, "{indexed} rows are indexed in slot {slot}");
        let mut searcher = Searcher::new(DIM as u32, 1, slot)?;
        let hits = searcher.search(&file, &[0.0, 0.0, 0.0, 2.0]).when("SEARCH")?;
        let [hit] = hits else { machine::fail!("{} hits", hits.len()) };
        require!(
            hit.distance == 4_f32.to_bits()
                || stores.unclear.contains(&(hit.row as usize * ROW + ROW - 1)),
            "row {} is found, which was stored behind the end of a file that grew: {hit:?}",
            hit.row
        );
    }
    fs::remove_file(&path).when("unlink")?;
    Ok(stores)
}

/// Whatever is stored behind the end of a file is zeros when the file reaches it, also where it
/// reaches that piece by piece.
fn stores_behind_the_end_of_a_growing_file_are_no_rows(dir: &Path) -> Result<(), Failure> {
    let (mut all, mut amidst) = (0, 0);
    for _ in 0..TIMES {
        let stores = grow(dir)?;
        all += stores.behind.len();
        // In its first page it may not have begun to grow.
        amidst += stores.behind.iter().filter(|&&at| at >= PAGE).count();
        if amidst >= ENOUGH {
            break;
        }
    }
    require!(all > 0, "in {TIMES} tries nothing was stored behind the end of a file that grew");
    Ok(())
}
