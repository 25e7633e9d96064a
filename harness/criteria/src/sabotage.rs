//! Records which saboteurs (`fixtures/saboteurs`) were found, for the tables made from these files.

use std::fs;
use std::path::PathBuf;

use machine::failure::{Failure, WithContext};
use machine::{atomic, environment, project};
use verdict::sabotage::{Found, REGISTER};

/// Writes a finding into `target/sabotage`. Paths in its message become relative to the checkout.
pub fn keep(mut found: Found) -> Result<(), Failure> {
    found.commit = environment::commit();
    found.message = found.message.replace(&format!("{}/", project::root().display()), "");
    let directory = directory();
    fs::create_dir_all(&directory).context(directory.display())?;
    let path = directory.join(&found.saboteur).with_extension("json");
    fs::write(&path, serde_json::to_string_pretty(&found)? + "\n").context(path.display())
}

/// Removes the finding of an earlier run.
pub fn forget(saboteur: &str) {
    // A saboteur that was never found has no file.
    let _ = fs::remove_file(directory().join(saboteur).with_extension("json"));
}

/// The directory of the findings.
pub fn directory() -> PathBuf {
    project::root().join("target/sabotage")
}

/// Writes the list of all saboteurs, so that one that was not found is missed.
pub fn register(names: &[&str]) -> Result<(), Failure> {
    let directory = directory();
    fs::create_dir_all(&directory).context(directory.display())?;
    // Several trials do this at once, so the write must be atomic.
    let register = directory.join(REGISTER);
    atomic::write(&register, (names.join("\n") + "\n").as_bytes()).context(register.display())
}
