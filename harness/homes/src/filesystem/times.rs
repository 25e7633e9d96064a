//! Times of files: setting them explicitly, and the changes that update them.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use measure::dataset::{self, Dataset};
use nix::time::{ClockId, clock_gettime};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, fallocate, futimens,
    utimensat,
};
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, attach};

use super::asked::{ACCESS_TIMES, RENAME_CTIME, TIMES};
use super::capacity::fill;
use super::contract::{ByContract, Lacking, contract_requires, require_asked};
use super::expect::expect_errno;
use super::mapped::Mapping;
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![
    times_in_nanoseconds,
    the_least_and_the_greatest_times,
    times_now_and_omitted,
    changes_move_mtime_and_ctime,
    changes_move_ctime_only,
    changes_move_the_times_of_directories,
    a_change_in_part_moves_the_times.on("size=2M"),
    reading_moves_atime,
];

/// Seconds and nanoseconds since 1970.
type Time = (i64, i64);

fn set(file: &File, accessed: Time, modified: Time) -> rustix::io::Result<()> {
    let [last_access, last_modification] =
        [accessed, modified].map(|(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec });
    futimens(file, &Timestamps { last_access, last_modification })
}

fn times(file: &File) -> Result<(Time, Time), Failure> {
    let metadata = file.metadata()?;
    let accessed = (metadata.atime(), metadata.atime_nsec());
    Ok((accessed, (metadata.mtime(), metadata.mtime_nsec())))
}

/// The steps, in nanoseconds, in which a file system keeps times. POSIX lets it round them down.
#[derive(Clone, Copy)]
struct Granule(i128);

impl Granule {
    const SECOND: i128 = 1_000_000_000;

    /// Of the file system that has `file`.
    ///
    /// # Errors
    /// If it rounds times up, or by more than two seconds.
    fn of(file: &File) -> Result<Granule, Failure> {
        /// An odd second, so that steps of two seconds show.
        const ASKED: Time = (1_234_567_891, 987_654_321);
        set(file, ASKED, ASKED).context("setting times")?;
        let (accessed, modified) = times(file)?;
        let steps = [1, 100, 1_000, 1_000_000, 10_000_000, Self::SECOND, 2 * Self::SECOND];
        let granule = steps.into_iter().map(Granule).find(|one| one.rounded(ASKED) == modified);
        let Some(granule) = granule else {
            machine::fail!("mtime is {modified:?}, set to {ASKED:?}, which is not rounded down")
        };
        // vfat keeps days only for atime.
        require!(accessed <= ASKED, "atime is {accessed:?}, set to {ASKED:?}");
        Ok(granule)
    }

    /// In seconds.
    fn seconds(self) -> f64 {
        self.0 as f64 / Self::SECOND as f64
    }

    /// `time` as such a file system keeps it.
    fn rounded(self, (seconds, nanoseconds): Time) -> Time {
        let time = i128::from(seconds) * Self::SECOND + i128::from(nanoseconds);
        let kept = time - time.rem_euclid(self.0);
        (kept.div_euclid(Self::SECOND) as i64, kept.rem_euclid(Self::SECOND) as i64)
    }
}

/// The steps, in seconds, in which the file system of `mount` keeps times.
///
/// # Errors
/// If times cannot be set, or are not rounded down.
pub(crate) fn granularity(mount: &Path) -> Result<f64, Failure> {
    let path = mount.join("granularity-of-times");
    let granule = Granule::of(&File::create(&path)?);
    fs::remove_file(&path)?;
    Ok(granule?.seconds())
}

/// Checks that the times of `file` are `accessed` and `modified`. POSIX lets a file system round them
/// down; the contract does not.
fn has_times(
    file: &File,
    granule: Granule,
    (accessed, modified): (Time, Time),
    lacking: &mut Lacking,
) -> Result<(), Failure> {
    let told = times(file)?;
    let rounded = (granule.rounded(accessed), granule.rounded(modified));
    require!(
        told == rounded || told.1 == rounded.1 && told.0 <= accessed && granule.0 > 1,
        "atime and mtime are {told:?}, set to {accessed:?} and {modified:?}"
    );
    let exactly = told == (accessed, modified);
    let message =
        format!("atime and mtime are {told:?}, set to {accessed:?} and {modified:?}: rounded down");
    lacking.note(require_asked(TIMES, exactly, message))
}

fn times_in_nanoseconds(dir: &Path) -> Result<(), Failure> {
    const OTHER: Time = (1_234_567_890, 987_654_321);
    let file = File::create(dir.join("f"))?;
    let mut lacking = Lacking::default();
    let granule = Granule::of(&file)?;
    let bad = set(&file, (0, 1_000_000_000), (0, 0));
    expect_errno(bad, libc::EINVAL, "a second of more than 999,999,999 ns")?;
    for time in [(1_000_000_000, 123_456_789), (2_000_000_000, 999_999_999)] {
        set(&file, time, OTHER).context(format!("atime {time:?}"))?;
        has_times(&file, granule, (time, OTHER), &mut lacking)?;
        set(&file, OTHER, time).context(format!("mtime {time:?}"))?;
        has_times(&file, granule, (OTHER, time), &mut lacking)?;
    }
    // POSIX lets a file system refuse times that it cannot keep, or keep the nearest.
    for time in [
        (0, 0),
        // Before 1970: by a nanosecond, and by one and a half seconds.
        (-1, 999_999_999),
        (-2, 500_000_000),
        // Times that need more than 32 and 33 bits.
        (1 << 32, 1),
        (1 << 33, 1),
    ] {
        for (name, accessed, modified) in [("atime", time, OTHER), ("mtime", OTHER, time)] {
            let done = set(&file, accessed, modified).context(format!("{name} {time:?}"));
            lacking.note(done.by_contract(TIMES))?;
            let told = times(&file)?;
            let message = format!("atime and mtime are {told:?} after {name} was set to {time:?}");
            lacking.note(require_asked(TIMES, told == (accessed, modified), message))?;
        }
    }
    lacking.told()
}

/// A file system stores these times, or the least or greatest time that it supports. POSIX does not
/// say which those are.
fn the_least_and_the_greatest_times(dir: &Path) -> Result<(), Failure> {
    // The server of the mount has several threads, and none may die of this.
    const OFTEN: usize = 40;
    let path = dir.join("f");
    let file = File::create(&path)?;
    let mut lacking = Lacking::default();
    let granule = Granule::of(&file)?;
    for _ in 0..OFTEN {
        for extreme in [i64::MIN, i64::MIN + 1, i64::MAX] {
            let done = set(&file, (extreme, 0), (extreme, 0));
            lacking.note(done.context(format!("times of {extreme} s")).by_contract(TIMES))?;
            let ((accessed, _), (modified, _)) = times(&file)?;
            let far = if extreme < 0 {
                accessed.max(modified) <= i64::from(i32::MIN)
            } else {
                accessed.min(modified) >= i64::from(i32::MAX)
            };
            let told = format!("atime is {accessed} s and mtime {modified} s, set to {extreme} s");
            lacking.note(require_asked(TIMES, far, told))?;
        }
    }
    let common = ((1_000_000_001, 2), (1_000_000_003, 4));
    set(&file, common.0, common.1).context("common times, after those")?;
    has_times(&file, granule, common, &mut lacking)?;
    lacking.told()
}

fn times_now_and_omitted(dir: &Path) -> Result<(), Failure> {
    const OMIT: Time = (0, UTIME_OMIT);
    const NOW: Time = (0, UTIME_NOW);
    const THEN: Time = (1_000_000_000, 1);
    const LATER: Time = (1_000_002_000, 2);
    let file = File::create(dir.join("f"))?;
    let mut lacking = Lacking::default();
    let granule = Granule::of(&file)?;
    set(&file, THEN, THEN)?;
    set(&file, OMIT, LATER)?;
    has_times(&file, granule, (THEN, LATER), &mut lacking).context("UTIME_OMIT of atime")?;
    set(&file, NOW, OMIT)?;
    let ((accessed, _), modified) = times(&file)?;
    require!(modified == granule.rounded(LATER), "UTIME_OMIT of mtime: {modified:?}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    require!(
        now.abs_diff(accessed.cast_unsigned()) < 3_600,
        "UTIME_NOW set atime to {accessed}, but the time is {now}"
    );
    lacking.told()
}

/// An action that changes a file or directory, and a preparation that must come before it.
struct TimedChange<'a> {
    what: &'static str,
    before: &'a dyn Fn() -> io::Result<()>,
    change: &'a dyn Fn() -> io::Result<()>,
}

fn nothing() -> io::Result<()> {
    Ok(())
}

fn changed_at(file: &File) -> Result<Time, Failure> {
    let metadata = file.metadata()?;
    Ok((metadata.ctime(), metadata.ctime_nsec()))
}

/// Long ago, but not so long that a file system may be unable to keep it.
const LONG_AGO: Time = (1_000_000_000, 1);

/// A file whose times except ctime were set to [`LONG_AGO`].
struct SetBack {
    /// mtime, as the file system has rounded it.
    modified: Time,
    /// ctime.
    changed: Time,
}

/// Waits until a file system with this `granule` shows what happens now by a later time than
/// `before`.
fn wait_until_after(before: Time, granule: Granule) -> Result<(), Failure> {
    wait_for("the clock of file systems", Duration::from_secs(10), || {
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
        Ok((granule.rounded((now.tv_sec(), now.tv_nsec())) > before).then_some(()))
    })
}

/// Sets all times of `file` except ctime to long ago. Waits until the clock has advanced so far that
/// a file system with this `granule` shows a change by another ctime.
fn set_back(file: &File, granule: Granule) -> Result<SetBack, Failure> {
    set(file, LONG_AGO, LONG_AGO)?;
    let (_, modified) = times(file)?;
    let due = granule.rounded(LONG_AGO);
    require!(modified == due, "mtime is {modified:?}, set to {LONG_AGO:?}");
    let changed = changed_at(file)?;
    wait_until_after(changed, granule)?;
    Ok(SetBack { modified, changed })
}

/// Checks that each change updates ctime of `path`, and mtime if `moves_mtime`.
fn check_moves(path: &Path, moves_mtime: bool, changes: &[TimedChange]) -> Result<(), Failure> {
    let file = File::open(path)?;
    let granule = Granule::of(&file)?;
    for TimedChange { what, before, change } in changes {
        before().context(format!("before {what}"))?;
        let old = set_back(&file, granule)?;
        change().context(what)?;
        let (_, modified) = times(&file)?;
        require!((modified != old.modified) == moves_mtime, "mtime is {modified:?} after {what}");
        require!(changed_at(&file)? > old.changed, "{what} does not move ctime");
    }
    Ok(())
}

fn changes_move_mtime_and_ctime(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("f");
    fs::write(&path, "content")?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let (before, truncate) = (&nothing, |length| file.set_len(length));
    check_moves(
        &path,
        true,
        &[
            TimedChange { what: "write", before, change: &|| file.write_all_at(b"x", 0) },
            TimedChange { what: "a shorter ftruncate", before, change: &|| truncate(3) },
            TimedChange { what: "a longer ftruncate", before, change: &|| truncate(100) },
            TimedChange { what: "O_TRUNC", before, change: &|| File::create(&path).map(drop) },
        ],
    )
}

/// A hole whose rows find no room in an index ends early, but the part before that is changed.
fn a_change_in_part_moves_the_times(dir: &Path) -> Result<(), Failure> {
    const DIM: usize = 4;
    const ROWS: usize = 16_384;
    let path = dir.join("f");
    let data = Dataset::generate(5, ROWS, DIM, 0);
    fs::write(&path, dataset::bytes(&data.base))?;
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    // All rows of zeros go into one list, which grows.
    let params = [64, 0, 0, 0, 0, 0, 0, 0];
    let declaration = Declaration { kind: Kind::Ivf, params, ..Declaration::flat(DIM as u32) };
    attach(&file, &declaration).context("ATTACH")?;
    fill(&dir.join("filler"))?;
    let old = set_back(&file, Granule::of(&file)?)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let punched = fallocate(&file, punch, 0, (ROWS * DIM * size_of::<f32>()) as u64);
    if !matches!(punched, Ok(()) | Err(rustix::io::Errno::NOSPC)) {
        punched.context("a hole on a full mount")?;
    }
    let changed = uncached::read(&path)? != dataset::bytes(&data.base);
    require!(changed || punched.is_err(), "punching a hole succeeded, but the bytes are unchanged");
    let moved = (times(&file)?.1 != old.modified, changed_at(&file)? > old.changed);
    require!(
        !changed || moved == (true, true),
        "a hole that ended with {punched:?} changed bytes, and moved mtime: {}, ctime: {}",
        moved.0,
        moved.1
    );
    if !changed || punched.is_ok() {
        return Err(Failure::undecided(format!(
            "a hole over rows on a full mount ended with {punched:?}, and changed bytes: {changed}; \
             it should have been made in part"
        )));
    }
    Ok(())
}

fn changes_move_ctime_only(dir: &Path) -> Result<(), Failure> {
    let (path, second, third) = (dir.join("f"), dir.join("second"), dir.join("third"));
    fs::write(&path, "content")?;
    let chmod = || fs::set_permissions(&path, Permissions::from_mode(0o640));
    let before = &nothing;
    check_moves(
        &path,
        false,
        &[
            TimedChange { what: "chmod", before, change: &chmod },
            TimedChange { what: "link", before, change: &|| fs::hard_link(&path, &second) },
            TimedChange { what: "unlink of a link", before, change: &|| fs::remove_file(&second) },
        ],
    )?;
    // For POSIX a rename changes directories, and need not change the file.
    let file = File::open(&path)?;
    let old = set_back(&file, Granule::of(&file)?)?;
    fs::rename(&path, &third).context("rename")?;
    let (_, modified) = times(&file)?;
    require!(modified == old.modified, "mtime is {modified:?} after rename");
    contract_requires!(
        RENAME_CTIME,
        changed_at(&file)? > old.changed,
        "rename does not move ctime"
    );
    Ok(())
}

fn changes_move_the_times_of_directories(dir: &Path) -> Result<(), Failure> {
    let subdir = dir.join("subdir");
    let [a, b, c, d, e] = ["a", "b", "c", "d", "e"].map(|name| subdir.join(name));
    fs::create_dir(&subdir)?;
    let before = &nothing;
    let create = || File::create(&a).map(drop);
    check_moves(
        &subdir,
        true,
        &[
            TimedChange { what: "creating a file", before, change: &create },
            TimedChange { what: "linking it", before, change: &|| fs::hard_link(&a, &b) },
            TimedChange { what: "renaming it", before, change: &|| fs::rename(&b, &c) },
            TimedChange { what: "removing it", before, change: &|| fs::remove_file(&c) },
            TimedChange { what: "mkdir", before, change: &|| fs::create_dir(&d) },
            TimedChange {
                what: "renaming it away",
                before,
                change: &|| fs::rename(&d, dir.join("d")),
            },
            TimedChange {
                what: "rmdir",
                before: &|| fs::create_dir(&e),
                change: &|| fs::remove_dir(&e),
            },
        ],
    )
}

/// Reading updates atime if the file was changed since the last update, as with relatime in
/// mount(8), and not again after that; and not if the file was opened with O_NOATIME.
fn reading_moves_atime(dir: &Path) -> Result<(), Failure> {
    let (path, subdir, link) = (dir.join("f"), dir.join("subdir"), dir.join("link"));
    fs::write(&path, "content")?;
    let granule = Granule::of(&File::open(&path)?)?;
    let mut lacking = Lacking::default();
    fs::create_dir(&subdir)?;
    symlink(&path, &link).context("symlink")?;
    let accessed = |path: &Path| -> io::Result<Time> {
        let metadata = fs::symlink_metadata(path)?;
        Ok((metadata.atime(), metadata.atime_nsec()))
    };
    let moves = |what: &str, path: &Path, read: &dyn Fn() -> Result<(), Failure>| {
        let old = Timespec { tv_sec: LONG_AGO.0, tv_nsec: LONG_AGO.1 };
        let times = Timestamps { last_access: old, last_modification: old };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        let before = accessed(path)?;
        let due = granule.rounded(LONG_AGO);
        require!(before == due, "atime is {before:?} when it was set to {LONG_AGO:?}");
        // With relatime a read moves an atime that is not later than ctime: if this one came in
        // the same tick of the clock, the next one would move it again.
        let set = fs::symlink_metadata(path)?;
        wait_until_after((set.ctime(), set.ctime_nsec()), granule)?;
        read().context(what)?;
        Ok::<bool, Failure>(accessed(path)? != before)
    };
    let read = || Ok(fs::read(&path).map(drop)?);
    require!(moves("read", &path, &read)?, "read does not move atime");
    let first = accessed(&path)?;
    read()?;
    lacking.note(require_asked(
        ACCESS_TIMES,
        accessed(&path)? == first,
        format!("a second read moves atime, from {first:?}"),
    ))?;
    let without = || {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(&path)?;
        Ok(file.read_exact_at(&mut [0; 7], 0)?)
    };
    let moved = moves("read", &path, &without)?;
    lacking.note(require_asked(ACCESS_TIMES, !moved, "read with O_NOATIME moves atime"))?;
    let mapped =
        || Mapping::private(&File::open(&path)?, 7).map(|mapping| drop(mapping.load(0, 7)));
    require!(moves("mmap", &path, &mapped)?, "mmap does not move atime");
    let list = || Ok(fs::read_dir(&subdir)?.try_for_each(|name| name.map(drop))?);
    require!(moves("readdir", &subdir, &list)?, "readdir does not move atime");
    let point = || Ok(fs::read_link(&link).map(drop)?);
    require!(moves("readlink", &link, &point)?, "readlink does not move atime");
    require!(moves("readlink", &link, &point)?, "a second readlink does not move atime");
    let follow = || Ok(fs::metadata(&link).map(drop)?);
    require!(moves("stat", &link, &follow)?, "following a symbolic link does not move its atime");
    lacking.told()
}
