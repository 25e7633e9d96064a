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

use super::capacity::fill;
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

fn times_in_nanoseconds(dir: &Path) -> Result<(), Failure> {
    let file = File::create(dir.join("f"))?;
    for time in [
        (1_000_000_000, 123_456_789),
        (2_000_000_000, 999_999_999),
        (0, 0),
        // Before 1970: by a nanosecond, and by one and a half seconds.
        (-1, 999_999_999),
        (-2, 500_000_000),
        // Times that need more than 32 and 33 bits.
        (1 << 32, 1),
        (1 << 33, 1),
    ] {
        let other = (1_234_567_890, 987_654_321);
        set(&file, time, other).context(format!("atime {time:?}"))?;
        require!(times(&file)? == (time, other), "{:?}, set to {time:?}", times(&file)?);
        set(&file, other, time).context(format!("mtime {time:?}"))?;
        require!(times(&file)? == (other, time), "{:?}, set to {time:?}", times(&file)?);
    }
    let bad = set(&file, (0, 1_000_000_000), (0, 0));
    expect_errno(bad, libc::EINVAL, "a second of more than 999,999,999 ns")
}

/// A file system stores these times, or the least or greatest time that it supports.
fn the_least_and_the_greatest_times(dir: &Path) -> Result<(), Failure> {
    // The server of the mount has several threads, and none may die of this.
    const TIMES: usize = 40;
    let path = dir.join("f");
    let file = File::create(&path)?;
    for _ in 0..TIMES {
        for extreme in [i64::MIN, i64::MIN + 1, i64::MAX] {
            set(&file, (extreme, 0), (extreme, 0)).context(format!("times of {extreme} s"))?;
            let ((accessed, _), (modified, _)) = times(&file)?;
            let far = if extreme < 0 {
                accessed.max(modified) <= i64::from(i32::MIN)
            } else {
                accessed.min(modified) >= i64::from(i32::MAX)
            };
            require!(far, "{accessed} s and {modified} s, set to {extreme} s");
        }
    }
    set(&file, (1, 2), (3, 4)).context("common times, after those")?;
    require!(times(&file)? == ((1, 2), (3, 4)), "{:?}, set to 1.2 and 3.4 s", times(&file)?);
    Ok(())
}

fn times_now_and_omitted(dir: &Path) -> Result<(), Failure> {
    const OMIT: Time = (0, UTIME_OMIT);
    const NOW: Time = (0, UTIME_NOW);
    const THEN: Time = (1_000, 1);
    let file = File::create(dir.join("f"))?;
    set(&file, THEN, THEN)?;
    set(&file, OMIT, (2_000, 2))?;
    require!(times(&file)? == (THEN, (2_000, 2)), "UTIME_OMIT of atime: {:?}", times(&file)?);
    set(&file, NOW, OMIT)?;
    let ((accessed, _), modified) = times(&file)?;
    require!(modified == (2_000, 2), "UTIME_OMIT of mtime: {modified:?}");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    require!(now.abs_diff(accessed.cast_unsigned()) < 3_600, "UTIME_NOW is {accessed}, now {now}");
    Ok(())
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

/// Sets all times of `file` except ctime to long ago. Waits until the clock has advanced beyond
/// ctime, and returns ctime.
fn set_back(file: &File) -> Result<Time, Failure> {
    set(file, (1, 1), (1, 1))?;
    let set_at = changed_at(file)?;
    wait_for("the clock of file systems", Duration::from_secs(10), || {
        let now = clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?;
        Ok(((now.tv_sec(), now.tv_nsec()) > set_at).then_some(()))
    })?;
    Ok(set_at)
}

/// Checks that each change updates ctime of `path`, and mtime if `moves_mtime`.
fn check_moves(path: &Path, moves_mtime: bool, changes: &[TimedChange]) -> Result<(), Failure> {
    let file = File::open(path)?;
    for TimedChange { what, before, change } in changes {
        before().context(format!("before {what}"))?;
        let set_at = set_back(&file)?;
        change().context(what)?;
        require!(changed_at(&file)? > set_at, "{what} does not move ctime");
        let (_, modified) = times(&file)?;
        require!((modified != (1, 1)) == moves_mtime, "mtime is {modified:?} after {what}");
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
    let set_at = set_back(&file)?;
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let punched = fallocate(&file, punch, 0, (ROWS * DIM * size_of::<f32>()) as u64);
    if !matches!(punched, Ok(()) | Err(rustix::io::Errno::NOSPC)) {
        punched.context("a hole on a full mount")?;
    }
    let changed = uncached::read(&path)? != dataset::bytes(&data.base);
    require!(changed || punched.is_err(), "a hole was made, and the bytes are as before");
    let moved = (times(&file)?.1 != (1, 1), changed_at(&file)? > set_at);
    require!(
        !changed || moved == (true, true),
        "a hole that ended with {punched:?} changed bytes, and moved mtime: {}, ctime: {}",
        moved.0,
        moved.1
    );
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
            TimedChange { what: "rename", before, change: &|| fs::rename(&path, &third) },
        ],
    )
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
    const OLD: Time = (1_000, 1);
    let (path, subdir, link) = (dir.join("f"), dir.join("subdir"), dir.join("link"));
    fs::write(&path, "content")?;
    fs::create_dir(&subdir)?;
    symlink(&path, &link).context("symlink")?;
    let accessed = |path: &Path| -> io::Result<Time> {
        let metadata = fs::symlink_metadata(path)?;
        Ok((metadata.atime(), metadata.atime_nsec()))
    };
    let moves = |what: &str, path: &Path, read: &dyn Fn() -> Result<(), Failure>| {
        let old = Timespec { tv_sec: OLD.0, tv_nsec: OLD.1 };
        let times = Timestamps { last_access: old, last_modification: old };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        require!(accessed(path)? == OLD, "atime is {:?} when it was set", accessed(path)?);
        read().context(what)?;
        Ok::<bool, Failure>(accessed(path)? != OLD)
    };
    let read = || Ok(fs::read(&path).map(drop)?);
    require!(moves("read", &path, &read)?, "read does not move atime");
    let first = accessed(&path)?;
    read()?;
    require!(accessed(&path)? == first, "a second read moves atime, from {first:?}");
    let without = || {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOATIME).open(&path)?;
        Ok(file.read_exact_at(&mut [0; 7], 0)?)
    };
    require!(!moves("read", &path, &without)?, "read with O_NOATIME moves atime");
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
    Ok(())
}
