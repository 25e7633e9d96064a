//! The counters of the home under test after a program ran.

use machine::failure::{Failure, WithContext};
use machine::require;
use serde::Serialize;
use vexfs_uapi::client;
use vexfs_uapi::{Home, Kind, Stats};

use super::again;
use super::new_files::MadeFiles;
use super::pace::Pace;

/// How many index slots a file has.
const SLOTS: u32 = 8;

/// Counters of the program's files, and how fast their indexes are.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seen {
    /// Vector files with an index.
    pub files: usize,
    /// Rows in these files, counted once for every index on them.
    pub rows: u64,
    /// Queries answered.
    pub searches: u64,
    /// How fast each index answered our own queries.
    pub searching: Vec<Pace>,
    /// How fast we ourselves stored the rows of each file again, part by part.
    pub inserting: Vec<Pace>,
    /// Files that were removed before they could be opened.
    pub missed: Vec<String>,
}

impl Seen {
    /// Reads the counters of each file's indexes, which `home` must serve, and repeats the work
    /// that they count.
    ///
    /// # Errors
    /// If another home answers, or the file system does not know the request.
    pub fn of(made: &MadeFiles, home: Home) -> Result<Seen, Failure> {
        let mut seen = Seen::default();
        for (path, file) in &made.files {
            let mut indexes = Vec::new();
            for slot in 0..SLOTS {
                match client::stats(file, slot) {
                    Ok(stats) => indexes.push(stats),
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                    Err(error) => {
                        return Err(error).context("VEXFS_IOC_STATS on the program's file");
                    }
                }
            }
            let file_name = path.file_name().unwrap_or_default().display().to_string();
            for stats in &indexes {
                require!(
                    stats.home == home as u32,
                    "home {} served it, expected {home:?}",
                    stats.home
                );
                seen.rows += stats.rows;
                seen.searches += stats.searches;
                if stats.rows > 0 {
                    let index = format!("{} of {file_name}", described(stats));
                    seen.searching.push(again::search(file, stats, index)?);
                }
            }
            let all: Vec<String> = indexes.iter().map(described).collect();
            let name = format!("{} of {file_name}", all.join(" and "));
            seen.inserting.extend(again::insertion(file, &indexes, &name)?);
            seen.files += usize::from(!indexes.is_empty());
        }
        seen.missed = made.missed.iter().map(|path| path.display().to_string()).collect();
        Ok(seen)
    }
}

fn described(stats: &Stats) -> String {
    let kind = Kind::try_from(stats.kind).map_or("unknown".to_owned(), |kind| format!("{kind:?}"));
    format!("{kind} index of {} x {}", stats.rows, stats.dim)
}
