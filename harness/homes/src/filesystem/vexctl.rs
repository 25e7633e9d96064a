//! `vexctl`, used as a person would use it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use machine::failure::{Failure, WithContext};
use machine::require;
use machine::under_test::Program;
use measure::dataset::{self, Dataset};
use vexfs_uapi::Kind;
use vexfs_uapi::client::{Declaration, attach};

use super::expect::same;
use super::operation::{Operation, operations};

pub(super) const OPERATIONS: &[Operation] = operations![vexctl_from_import_to_detach.with_vexctl()];

const DIM: usize = 16;
const ROWS: usize = 300;

/// A file in numpy's format 1.0: magic, version, length of the header, and the header, padded to 64
/// bytes.
fn npy(rows: &[f32]) -> Vec<u8> {
    let shape = format!("({}, {DIM})", rows.len() / DIM);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let header = format!("{header:<width$}\n", width = padded - 1);
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), dataset::bytes(rows)].concat()
}

/// A file in fvecs format: each row comes after its number of components.
fn fvecs(rows: &[f32]) -> Vec<u8> {
    let record = |row| [&(DIM as u32).to_le_bytes()[..], dataset::bytes(row)].concat();
    rows.chunks(DIM).flat_map(record).collect()
}

/// Runs `vexctl` with the words of `line`, in `dir`.
fn vexctl(dir: &Path, line: &str) -> Result<Output, Failure> {
    let program = Program::Vexctl.build_if_missing()?;
    let words = line.split_whitespace();
    Command::new(program).current_dir(dir).args(words).output().context(format!("vexctl {line}"))
}

/// Checks that the command succeeds, prints `words`, and writes nothing to standard error.
fn does(dir: &Path, line: &str, words: &str) -> Result<(), Failure> {
    let output = vexctl(dir, line)?;
    let [said, complained] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    require!(
        output.status.success() && said.contains(words) && complained.is_empty(),
        "vexctl {line}: {}, expected exit status 0 and {words:?}:\n{said}{complained}",
        output.status
    );
    Ok(())
}

/// Checks that the command ends with `code` and prints `words` as the reason.
fn refuses(dir: &Path, line: &str, code: i32, words: &str) -> Result<(), Failure> {
    let output = vexctl(dir, line)?;
    let complained = String::from_utf8_lossy(&output.stderr);
    require!(
        output.status.code() == Some(code) && complained.contains(words),
        "vexctl {line}: {}, expected exit status {code} and {words:?}:\n{complained}",
        output.status
    );
    Ok(())
}

/// Sends ATTACH itself, so that an ENOTTY is not hidden in what `vexctl` says of it.
fn knows_requests(dir: &Path) -> Result<(), Failure> {
    let path = dir.join("requests");
    attach(&File::create(&path)?, &Declaration::flat(DIM as u32)).context("ATTACH")?;
    Ok(fs::remove_file(path)?)
}

fn vexctl_from_import_to_detach(dir: &Path) -> Result<(), Failure> {
    let data = Dataset::generate(42, ROWS, DIM, 0);
    let elsewhere = tempfile::tempdir()?;
    let row_bytes = dataset::bytes(&data.base);
    for (name, content) in [
        ("base.npy", npy(&data.base)),
        ("base.fvecs", fvecs(&data.base)),
        ("base.f32", row_bytes.to_vec()),
    ] {
        let source = elsewhere.path().join(name);
        fs::write(&source, content)?;
        let line = format!("import {} {name}.rows --dim {DIM}", source.display());
        does(dir, &line, "imported 300 rows of 16 components")?;
        same(&dir.join(format!("{name}.rows")), row_bytes)
            .context(format!("the rows of {name}"))?;
    }
    knows_requests(dir)?;
    for (slot, kind) in Kind::ALL.map(Kind::name).iter().enumerate() {
        let line = format!("attach base.npy.rows --dim {DIM} --kind {kind} --index {slot}");
        does(dir, &line, &format!("in slot {slot}: 300 rows indexed"))?;
        let line = format!("verify base.npy.rows --index {slot} --queries 10 --floor 0");
        does(dir, &line, "rows, distances and order are right")?;
    }
    does(dir, "verify base.npy.rows", "recall@10 1.0000")?;
    does(dir, "search base.npy.rows --row 7 -k 1", " 7  0.0")?;
    does(dir, "stats base.npy.rows", "slot 3: ivf, l2, 16 components")?;
    does(dir, "detach base.npy.rows --index 3", "detached slot 3")?;
    refuses(dir, "detach base.npy.rows --index 3", 3, "no index in slot 3")?;
    refuses(dir, "attach base.npy.rows --dim 16", 3, "slot 0 of")?;
    refuses(dir, "search base.f32.rows --row 1", 3, "attach one with: vexctl")?;
    refuses(dir, "search base.npy.rows --row 300", 2, "has 300 rows")?;
    let outside = elsewhere.path().join("base.f32");
    let line = format!("attach {} --dim {DIM}", outside.display());
    refuses(dir, &line, 3, "VexFS")
}
