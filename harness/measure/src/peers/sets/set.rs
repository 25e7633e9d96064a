//! Reads the sets that `fixtures/peers/data/make.py` has written.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::protocol::{Metric, PROTOCOL, Protocol};
use machine::failure::{Failure, WithContext};
use machine::{project, require};
use serde::Deserialize;

use crate::dataset::{Dataset, NumpyRandom, digest, values};
use crate::peers::data::QUERIES;

/// Magic number and version of the files that numpy's `save` writes.
const NPY: &[u8] = b"\x93NUMPY\x01\x00";

/// A set that was read.
pub struct Set {
    /// The content of `set.json`.
    pub about: About,
    /// Rows and queries.
    pub dataset: Dataset,
}

/// The content of `set.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    /// Its name, which is also the name of its directory.
    pub name: String,
    /// What the set is, in one line.
    pub about: String,
    /// The natural metric of the data.
    pub metric: Metric,
    /// Rows.
    pub rows: usize,
    /// Components of a row.
    pub dim: usize,
    /// SHA-256 of rows and of queries.
    pub sha256: [String; 2],
}

/// Directory of all sets.
pub fn directory() -> PathBuf {
    project::peers().join("data")
}

/// The sets that exist, smallest first, so that expensive ones come last.
pub fn all() -> Result<Vec<About>, Failure> {
    let directory = directory();
    let mut sets: Vec<About> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| about(&entry.ok()?.path()).ok())
        .collect();
    require!(
        !sets.is_empty(),
        "no set of data is in {}; provide them with: make bench-setup",
        directory.display()
    );
    sets.sort_by_key(|set| (set.rows * set.dim, set.name.clone()));
    Ok(sets)
}

fn about(directory: &Path) -> Result<About, Failure> {
    let file = directory.join("set.json");
    let text = fs::read_to_string(&file)
        .context(format!("{}; provide it with: make bench-setup", file.display()))?;
    serde_json::from_str(&text).context(file.display())
}

impl Set {
    /// Reads the set called `name`.
    ///
    /// # Errors
    /// If it does not exist, or does not match its `set.json`.
    pub fn read(name: &str) -> Result<Self, Failure> {
        Set::of(&directory().join(name))
    }

    fn of(directory: &Path) -> Result<Self, Failure> {
        let about = about(directory)?;
        let read = |file: &str, sha256: &str| -> Result<Vec<f32>, Failure> {
            let path = directory.join(file);
            let values = npy(&path, about.dim)?;
            let found = digest(&values);
            require!(found == sha256, "{}: SHA-256 {found}, not {sha256}", path.display());
            Ok(values)
        };
        let base = read("base.npy", &about.sha256[0])?;
        let queries = read("queries.npy", &about.sha256[1])?;
        require!(
            base.len() == about.rows * about.dim,
            "{}: base.npy does not have the number of rows that set.json gives",
            directory.display()
        );
        require!(
            queries.len() == QUERIES * about.dim,
            "{}: queries.npy does not have {QUERIES} queries",
            about.name
        );
        let dataset = Dataset::new(about.dim, base, queries, NumpyRandom::new(0));
        Ok(Set { about, dataset })
    }

    /// The protocol for drivers that measure on this set.
    pub fn protocol(&self) -> Protocol {
        let About { rows, dim, metric, .. } = self.about;
        Protocol { rows, dim, metric, queries: QUERIES, ..PROTOCOL }
    }

    /// The engine's name for its metric.
    pub fn metric(&self) -> vexfs_uapi::Metric {
        match self.about.metric {
            Metric::L2 => vexfs_uapi::Metric::L2,
            Metric::InnerProduct => vexfs_uapi::Metric::InnerProduct,
            Metric::Cosine => vexfs_uapi::Metric::Cosine,
        }
    }
}

/// The values of a numpy array: two-dimensional, little-endian f32, in C order, with `dim` columns.
fn npy(path: &Path, dim: usize) -> Result<Vec<f32>, Failure> {
    let bytes = fs::read(path).context(path.display())?;
    let header = bytes
        .strip_prefix(NPY)
        .and_then(|rest| rest.split_first_chunk::<2>())
        .and_then(|(length, rest)| rest.split_at_checked(u16::from_le_bytes(*length).into()));
    let Some((header, body)) = header else {
        return Err(Failure::new(format!("{} is not a numpy array", path.display())));
    };
    let header = String::from_utf8_lossy(header);
    let expected = ["'descr': '<f4'", "'fortran_order': False", &format!(", {dim}), }}")];
    for part in expected {
        require!(header.contains(part), "{}: {header} has no {part}", path.display());
    }
    values(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy_of(header: &str, values: &[f32]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut bytes = NPY.to_vec();
        bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend(header.bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn arrays_as_numpy_saves_them() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n";
        let file = npy_of(header, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.5]);
        assert_eq!(npy(file.path(), 3).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]);
        let other = npy(file.path(), 2).unwrap_err().to_string();
        assert!(other.contains("has no , 2), }"), "{other}");
    }

    #[rstest::rstest]
    #[case("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 1), }", "<f4")]
    #[case("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1), }", "fortran_order")]
    fn arrays_of_another_kind_are_refused(#[case] header: &str, #[case] says: &str) {
        let refused = npy(npy_of(header, &[1.0]).path(), 1).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        let none = tempfile::NamedTempFile::new().unwrap();
        assert!(npy(none.path(), 1).unwrap_err().to_string().contains("not a numpy array"));
    }

    #[test]
    fn a_set_is_what_its_description_says() {
        let directory = tempfile::tempdir().unwrap();
        let missing = Set::of(directory.path()).err().unwrap().to_string();
        assert!(missing.contains("make bench-setup"), "{missing}");
        let queries: Vec<f32> = (0..QUERIES * 2).map(|at| at as f32).collect();
        let header = |rows: usize| {
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 2), }}\n")
        };
        let write = |name: &str, rows: usize, values: &[f32]| {
            fs::copy(npy_of(&header(rows), values).path(), directory.path().join(name)).unwrap();
        };
        write("base.npy", 1, &[0.5, 0.25]);
        write("queries.npy", QUERIES, &queries);
        let described = |sha256: &str| {
            let json = serde_json::json!({
                "name": "small", "about": "a set", "metric": "inner_product", "rows": 1, "dim": 2,
                "queries": QUERIES, "recipe": "", "sha256": [sha256, digest(&queries)],
            });
            fs::write(directory.path().join("set.json"), json.to_string()).unwrap();
        };
        described(&digest(&[0.5, 0.25]));
        let set = Set::of(directory.path()).unwrap();
        assert_eq!((set.dataset.rows(), set.metric()), (1, vexfs_uapi::Metric::InnerProduct));
        assert_eq!(set.protocol().queries, QUERIES);
        described("0000");
        let damaged = Set::of(directory.path()).err().unwrap().to_string();
        assert!(damaged.contains("SHA-256") && damaged.contains("not 0000"), "{damaged}");
    }
}
