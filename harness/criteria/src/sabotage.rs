//! Saboteurs that were found (`fixtures/saboteurs`) are written down, for the tables made of them.

use std::fs;
use std::path::PathBuf;

use machine::failure::{Failure, WithContext};
use machine::{atomic, environment, project};
use verdict::sabotage::{Found, REGISTER};

/// Writes what was found into `target/sabotage`, with the paths in its message as seen from the
/// checkout.
pub fn keep(mut found: Found) -> Result<(), Failure> {
    found.commit = environment::commit();
    found.message = found.message.replace(&format!("{}/", project::root().display()), "");
    let directory = directory();
    fs::create_dir_all(&directory).context(directory.display())?;
    let path = directory.join(&found.saboteur).with_extension("json");
    fs::write(&path, serde_json::to_string_pretty(&found)? + "\n").context(path.display())
}

/// Forgets an earlier run's.
pub fn forget(saboteur: &str) {
    // Where it was never found there is nothing to forget.
    let _ = fs::remove_file(directory().join(saboteur).with_extension("json"));
}

/// Where they are written.
pub fn directory() -> PathBuf {
    project::root().join("target/sabotage")
}

/// Writes down which saboteurs there are, so that one that nobody found is missed.
pub fn register(names: &[&str]) -> Result<(), Failure> {
    let directory = directory();
    fs::create_dir_all(&directory).context(directory.display())?;
    // Each trial does so, and several run at once: nobody may find half of it.
    let register = directory.join(REGISTER);
    atomic::write(&register, (names.join("\n") + "\n").as_bytes()).context(register.display())
}
