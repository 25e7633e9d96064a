//! A vector file on a mounted VexFS, whichever home serves it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use machine::failure::{Failure, WithContext};
use machine::{require, uncached};
use serde_json::{Value, json};
use vexfs_uapi::client::{self, Declaration, Searcher};
use vexfs_uapi::{Home, Stats};

use super::interface::{Answer, Answers, Contender, Insertion};
use crate::{dataset, home};

/// A vector file with an index. The index is attached before the first row, so that every row is
/// indexed as it is written. The file is removed on drop.
pub struct VexfsFile {
    name: String,
    path: PathBuf,
    file: File,
    declaration: Declaration,
    rows: u64,
    searcher: Option<(usize, Searcher)>,
    /// Whether the file is removed on drop.
    owned: bool,
}

impl VexfsFile {
    /// Creates `path` on a mounted VexFS and declares its index.
    ///
    /// # Errors
    /// If the file already exists or cannot be created, or its file system refuses the index.
    pub fn create(name: &str, path: &Path, declaration: Declaration) -> Result<Self, Failure> {
        let file = File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(path)
            .context(format!("creating the vector file {}", path.display()))?;
        // Make the guard first, because the rest may fail.
        let contender = VexfsFile {
            name: name.to_owned(),
            path: path.to_owned(),
            file,
            declaration,
            rows: 0,
            searcher: None,
            owned: true,
        };
        client::attach(&contender.file, &declaration)
            .context(format!("VEXFS_IOC_ATTACH on {}", path.display()))?;
        Ok(contender)
    }

    /// The same file through another descriptor; dropping this one does not remove the file.
    pub fn reopen(&self) -> Result<Self, Failure> {
        let file = File::options().read(true).append(true).open(&self.path);
        Ok(VexfsFile {
            name: self.name.clone(),
            path: self.path.clone(),
            file: file.context(format!("opening {} again", self.path.display()))?,
            declaration: self.declaration,
            rows: self.rows,
            searcher: None,
            owned: false,
        })
    }

    /// The counters of its index, from the home that serves it.
    pub fn stats(&self) -> Result<Stats, Failure> {
        client::stats(&self.file, self.declaration.index)
            .context(format!("VEXFS_IOC_STATS on {}", self.path.display()))
    }

    /// The vector file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn dim(&self) -> usize {
        self.declaration.dim as usize
    }
}

impl Contender for VexfsFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&mut self) -> Result<Value, Failure> {
        let stats = self.stats()?;
        let mount = nix::sys::statfs::fstatfs(&self.file).context(self.path.display())?;
        Ok(json!({
            "engine": stats.engine(),
            "home": match Home::try_from(stats.home) {
                Ok(home) => home::name(home).to_owned(),
                Err(number) => format!("unknown ({number})"),
            },
            "file_system_type": format!("{:#x}", mount.filesystem_type().0),
            "rows": stats.rows,
            "searches": stats.searches,
            "distances": stats.distances,
            "memory": stats.memory,
            "dim": stats.dim,
            "metric": stats.metric,
            "kind": stats.kind,
            "simd": stats.simd,
        }))
    }

    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        require!(first_row == self.rows, "{} holds {} rows, not {first_row}", self.name, self.rows);
        let started = Instant::now();
        // A single write(2), if the kernel takes the whole batch.
        let result = self.file.write_all(dataset::bytes(rows));
        let took = started.elapsed();
        result.context(format!("appending to {}", self.path.display()))?;
        self.rows += (rows.len() / self.dim()) as u64;
        Ok(Insertion { took, wall: took })
    }

    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        let bytes =
            uncached::read(&self.path).context(format!("reading {} back", self.path.display()))?;
        dataset::values(&bytes)
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        let Declaration { dim, index, .. } = self.declaration;
        let searcher = match &mut self.searcher {
            Some((its_k, searcher)) if *its_k == k => searcher,
            other => {
                let searcher = Searcher::new(dim, u32::try_from(k)?, index)
                    .context(format!("a request for {k} neighbours"))?;
                &mut other.insert((k, searcher)).1
            }
        };
        let started = Instant::now();
        let mut answers = Vec::with_capacity(queries.len() / dim as usize);
        for query in queries.chunks_exact(dim as usize) {
            let asked = Instant::now();
            let result = searcher.search(&self.file, query);
            let took = asked.elapsed();
            let hits = result.context(format!("VEXFS_IOC_SEARCH on {}", self.path.display()))?;
            answers.push(Answer {
                ids: hits.iter().map(|hit| hit.row).collect(),
                distances: hits.iter().map(|hit| f32::from_bits(hit.distance)).collect(),
                took,
            });
        }
        Ok(Answers { answers, wall: started.elapsed() })
    }
}

impl Drop for VexfsFile {
    fn drop(&mut self) {
        // Best effort: if the mount has gone, so has the file.
        if self.owned {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_system_is_refused_and_left_clean() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.f32");
        let failure = VexfsFile::create("x", &path, Declaration::flat(4)).err().unwrap();
        assert!(failure.to_string().contains("VEXFS_IOC_ATTACH on"), "{failure}");
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(VexfsFile::create("x", file.path(), Declaration::flat(4)).is_err());
        assert!(file.path().exists());
    }
}
