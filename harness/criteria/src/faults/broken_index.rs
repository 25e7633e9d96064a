//! Indexes that break: the engine finds that one contradicts itself. Each of its calls finds that
//! once, in the module's test build. An ATTACH or SEARCH fails with EIO then; a change of the file
//! may do so, or be done without the index. The log has one line, the index answers nothing else
//! until DETACH, and the file, its neighbours and the mount go on.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use homes::kernel::{KernelLog, KernelMount, fault};
use machine::failure::{Failure, WithContext};
use machine::{fail, require};
use measure::dataset::{self, Dataset};
use serde_json::json;
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, Searcher, attach, detach, stats};

use crate::trial::Context;

const DIM: usize = 16;
const ROW: usize = DIM * size_of::<f32>();
/// Rows before ATTACH, and after the file has grown beyond the first training at 256.
const FEW: usize = 100;
const ROWS: usize = 320;
/// Far more calls of the engine than the steps make.
const MOST: u32 = 2_000;
/// What the module says of an index that breaks.
const LINE: &str = "an index contradicts itself and answers no more";

/// A step of the work: its name, and what it does.
type Step = (&'static str, fn(&File, &Dataset) -> io::Result<()>);

const STEPS: [Step; 6] = [
    ("ATTACH", |file, _| attach(file, &declaration(Kind::Ivf)).map(|_| ())),
    ("a write of new rows", |file, data| {
        file.write_all_at(bytes(data, FEW..ROWS), (FEW * ROW) as u64)
    }),
    ("an overwrite", |file, data| file.write_all_at(bytes(data, 40..60), 0)),
    ("SEARCH", |file, data| found(file, data.row(FEW)).map(|_| ())),
    ("truncate", |file, _| file.set_len((60 * ROW) as u64)),
    ("a SEARCH after it", |file, data| found(file, data.row(FEW)).map(|_| ())),
];

/// The steps that change the file. What follows a short write finds no index to change, and a cut
/// that has begun to lose its rows goes on to its end.
const CHANGES: [&str; 3] = ["a write of new rows", "an overwrite", "truncate"];

fn declaration(kind: Kind) -> Declaration {
    Declaration { kind, ..Declaration::flat(DIM as u32) }
}

fn bytes(data: &Dataset, rows: std::ops::Range<usize>) -> &[u8] {
    &dataset::bytes(&data.base)[rows.start * ROW..rows.end * ROW]
}

/// The row nearest to `query`, and whether it is the same.
fn found(file: &File, query: &[f32]) -> io::Result<Option<(u64, bool)>> {
    let mut searcher = Searcher::new(DIM as u32, 1, 0)?;
    Ok(searcher.search(file, query)?.first().map(|hit| (hit.row, hit.distance == 0)))
}

/// A file of `FEW` rows.
fn file_of(path: &Path, data: &Dataset) -> Result<File, Failure> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all_at(bytes(data, 0..FEW), 0)?;
    Ok(file)
}

/// What became of a pass.
struct Broke {
    /// The step whose request failed.
    step: &'static str,
    /// How many lines of the log say that an index broke.
    lines: usize,
}

pub(super) fn answers_no_more(context: &Context) -> Result<(), Failure> {
    let loaded = fault::test_build()?.load()?;
    let mount = KernelMount::new("size=16M")?;
    let data = Dataset::generate(51, ROWS, DIM, 1);
    let neighbour = file_of(&mount.path().join("neighbour"), &data)?;
    attach(&neighbour, &declaration(Kind::Hnsw)).context("ATTACH of the neighbour")?;
    let mut by_step = BTreeMap::new();
    let mut all = None;
    for nth in 1..=MOST {
        let path = mount.path().join("f");
        let file = file_of(&path, &data)?;
        let told = format!("call {nth} of the engine finds its index broken");
        let Some(broke) = broken_once(&file, &data, nth).context(&told)? else {
            all = Some(nth - 1);
            break;
        };
        // The kernel prints a dozen such lines in five seconds, and then none for a while.
        require!(
            broke.lines == 1 || broke.lines == 0 && nth > 5,
            "{told}: the log says so {} times",
            broke.lines
        );
        *by_step.entry(broke.step).or_insert(0_u32) += 1;
        goes_on(&file, &data).context(&told)?;
        let row = nth as usize % FEW;
        let hit = found(&neighbour, data.row(row)).context("SEARCH of the neighbour")?;
        require!(hit == Some((row as u64, true)), "{told}: the neighbour answers {hit:?}");
        drop(file);
        std::fs::remove_file(&path).context("unlink")?;
    }
    let Some(all) = all else { fail!("the steps make more than {MOST} calls of the engine") };
    context.fact(
        "calls of the engine that found an index broken",
        json!({"all": all, "by step": by_step}),
    )?;
    if let Some((missed, _)) = STEPS.iter().find(|(name, _)| !by_step.contains_key(name)) {
        fail!("no index broke in {missed}: {by_step:?}");
    }
    drop(neighbour);
    mount.unmount()?;
    loaded.unload()
}

/// Goes through the steps until the index breaks, which must be told by the request in which it
/// does. `None` if the steps make fewer than `nth` calls of the engine.
fn broken_once(file: &File, data: &Dataset, nth: u32) -> Result<Option<Broke>, Failure> {
    let mut log = KernelLog::from_now()?;
    fault::break_nth(nth)?;
    for (step, act) in STEPS {
        let outcome = act(file, data);
        if fault::until_break()? > 0 {
            outcome.context(step)?;
            continue;
        }
        let error = outcome.as_ref().err().and_then(io::Error::raw_os_error);
        let is_changed = CHANGES.contains(&step) && outcome.is_ok();
        require!(
            is_changed || error == Some(libc::EIO),
            "{step}, in which the index broke, ended with {outcome:?} instead of EIO"
        );
        let lines = log.read()?.records.iter().filter(|one| one.text.contains(LINE)).count();
        // What ATTACH builds is gone when it fails.
        let after = if step == "ATTACH" { libc::ENOENT } else { libc::EIO };
        for (what, outcome) in [
            ("SEARCH", found(file, data.row(0)).map(|_| ())),
            ("STATS", stats(file, 0).map(|_| ())),
        ] {
            let error = outcome.err().and_then(|error| error.raw_os_error());
            require!(
                error == Some(after),
                "{what} after {step}, in which the index broke, ended with errno {error:?} instead \
                 of {after}"
            );
        }
        return Ok(Some(Broke { step, lines }));
    }
    fault::break_nth(0)?;
    Ok(None)
}

/// The file can be read, changed and indexed anew.
fn goes_on(file: &File, data: &Dataset) -> Result<(), Failure> {
    let length = usize::try_from(file.metadata()?.len())?;
    require!(length.is_multiple_of(ROW), "the file has {length} bytes, which are no whole rows");
    file.read_exact_at(&mut vec![0; length], 0).context("read")?;
    file.set_len((30 * ROW) as u64).context("truncate beside a broken index")?;
    file.write_all_at(bytes(data, 0..FEW), 0).context("write beside a broken index")?;
    match detach(file, 0) {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error).context("DETACH")?,
        _ => {}
    }
    attach(file, &declaration(Kind::Flat)).context("ATTACH anew")?;
    for row in [0, FEW / 2, FEW - 1] {
        let hit = found(file, data.row(row)).context("SEARCH of the new index")?;
        require!(hit == Some((row as u64, true)), "row {row} is answered with {hit:?}");
    }
    Ok(())
}
