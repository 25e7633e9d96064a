//! The trials that walk.

use std::path::PathBuf;
use std::time::Duration;

use evidence::place::Place;
use homes::Mounted;
use homes::filesystem::asked::Asked;
use homes::filesystem::contract;
use homes::torture::scale;
use machine::failure::{Failure, WithContext};
use machine::{fail, place};
use serde_json::json;
use vexfs_uapi::Home;

use super::compare::Homes;
use super::exceptions::NOT_COMPARED;
use super::home::Mount;
use super::lacking::{Ended, Lacking, walk};
use super::reduce::reduce;
use super::referee::Referee;
use super::script::script;
use super::tmpfs::Tmpfs;
use crate::requirement::Requirement;
use crate::trial::{Context, Trial};

/// Distinct states of `make test`.
const STATES: usize = 1_000;
/// How many times fewer there are on an emulated CPU, where each takes many times as long.
const SLOWER: usize = 10;
const SEED: u64 = 25;
/// For [`STATES`], which take less than a twentieth of it, and for reducing what differs.
const LIMIT: Duration = Duration::from_secs(300);

/// `VEXFS_VALIDATION_WALK_SEED` is another walk.
fn seed() -> Result<u64, Failure> {
    match std::env::var("VEXFS_VALIDATION_WALK_SEED") {
        Err(_) => Ok(SEED),
        Ok(text) => text.parse().context(format!("VEXFS_VALIDATION_WALK_SEED={text}")),
    }
}

/// How many times [`STATES`] a walk sees at a scale: 100,000 in `make torture` with its factor of ten.
fn times(scale: u32) -> u32 {
    scale.saturating_pow(2)
}

fn states() -> Result<usize, Failure> {
    Ok(STATES * times(scale()?) as usize)
}

/// The trials of FUSE.
pub fn trials() -> [Trial; 1] {
    [Trial::new("fuse::walks_as_tmpfs_does", &[Place::Host, Place::Guest], |context| {
        let tmpfs = Tmpfs::new()?;
        let mut mounted = Mounted::new(Home::Fuse, "256M")?;
        let homes = Homes::new(vec![
            Box::new(Referee::new("tmpfs and the engine", tmpfs.path())),
            Box::new(Mount::new("FUSE", mounted.path().to_path_buf())),
        ]);
        walks(context, homes, tmpfs.has_xattrs()?).map_err(|failure| mounted.explain(failure))?;
        mounted.unmount()
    })
    .needs(&[Requirement::DevFuse, Requirement::FuseDaemon])
    // An invalid scale fails the trial itself.
    .within(LIMIT * times(scale().unwrap_or(1)))]
}

/// Walks through `homes`.
///
/// # Errors
/// They differ: the shortest sequence that shows it, and where its script is. If they differ only
/// in what the contract asks beyond POSIX, the message says so, and what that is.
fn walks(context: &Context, mut homes: Homes, xattrs: bool) -> Result<(), Failure> {
    let seed = seed()?;
    let states = if context.emulated() { states()? / SLOWER } else { states()? };
    let Ended { walk, lacking, fault } = walk(seed, xattrs, &mut homes, states)?;
    let asked: Vec<Asked> = lacking.into_iter().map(Lacking::asked).collect();
    let lacking: Vec<&str> = asked.iter().map(|one| one.words()).collect();
    context.fact(
        "walk",
        json!({
            "seed": seed,
            "states": walk.states(),
            "steps": homes.steps,
            "extended attributes": xattrs,
            "lacking by the contract": lacking,
            "operation by class by outcome": walk.coverage,
            "declared and not met": walk.coverage.unmet(),
            "not compared": NOT_COMPARED.map(|(what, why)| format!("{what}: {why}")),
        }),
    )?;
    let lacking = lacking.join("; ");
    let Some((steps, difference)) = fault else {
        if lacking.is_empty() {
            return Ok(());
        }
        let failure = "the walk finds no other difference from the referee";
        return Err(contract::asks(Failure::new(failure), asked));
    };
    let (steps, difference) = reduce(&mut homes, &steps, &difference)?;
    let (agreed, _) = homes.run(&steps)?;
    let text = script(&steps, &agreed, &difference);
    context.fact("walk's script", &text)?;
    let path = directory().join(format!("{}.py", context.trial().replace("::", "-")));
    std::fs::write(&path, text).context(path.display())?;
    let told: Vec<String> = steps.iter().map(super::operation::Operation::json).collect();
    let left_out = match lacking.is_empty() {
        true => String::new(),
        false => format!("\nLeft out, because the contract alone requires it: {lacking}"),
    };
    fail!(
        "{} differs from the referee in {} after {} steps of seed {seed}:\n  {}\n  expected: {}\n  \
         found: {}\nTo see it: python3 {} DIRECTORY-OF-A-MOUNT...{left_out}",
        difference.home,
        difference.of,
        steps.len(),
        told.join("\n  "),
        difference.due,
        difference.found,
        path.display()
    )
}

/// Where the script is kept: with the evidence, if there is any.
fn directory() -> PathBuf {
    std::env::var_os(place::DIR_VARIABLE).map_or_else(std::env::temp_dir, PathBuf::from)
}
