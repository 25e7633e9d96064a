//! `vexfs-validate regress BASE`: compares the costs of this checkout with those of another commit.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use ::guest::{ClockChoice, GuestWork, Kernel, KernelChoice};
use clap::Args;
use criteria::costs::{self, COSTS_FILE, Cost};
use evidence::exit;
use evidence::guest::GuestEnd;
use evidence::place::Place;
use machine::child::Supervised;
use machine::failure::{Failure, WithContext};
use machine::place;
use machine::{project, require};

use super::guest::{self, Kind};
use super::options::GuestOptions;
use super::output::outln;
use super::phase::Progress;
use super::stop::Stop;
use crate::regress_table::{self, BOUND, CostChange};

/// Options of `regress`.
#[derive(Debug, Clone, Args)]
pub struct RegressOptions {
    /// The commit to compare with, e.g. main or HEAD~1
    base: String,
    #[command(flatten)]
    machine: GuestOptions,
}

/// Builds and measures both commits. The exit code says whether an operation got slower.
pub(super) fn run(options: &RegressOptions) -> Result<ExitCode, Stop> {
    if place::here().place == Place::Guest {
        return Err(Stop::new(exit::USAGE, "this is the guest; run it on the host"));
    }
    let setup = |failure: Failure| Stop::new(exit::SETUP, failure);
    let choice: KernelChoice =
        options.machine.kernel.parse().unwrap_or_else(|never| match never {});
    let kernel = Kernel::find(&choice).map_err(|error| Stop::new(error.exit(), error))?;
    let room = project::root().join("target/regress");
    fs::create_dir_all(&room).context(room.display()).map_err(setup)?;
    let sides = {
        let base = Worktree::add(&options.base, room.join("worktree")).map_err(setup)?;
        [("base", base.path.as_path()), ("here", project::root())]
            .map(|(name, checkout)| build(checkout, &room.join(name), &kernel.release))
    };
    let [base, here] = sides;
    let base = costs(&options.machine, &base.map_err(setup)?)?;
    let here = costs(&options.machine, &here.map_err(setup)?)?;
    let changes = regress_table::changes(&base, &here).map_err(setup)?;
    outln!(
        "\nguest instructions, 2 ns each, of a row or a query\n{}",
        regress_table::table(&changes)
    );
    let slower = changes.iter().filter(|change| CostChange::is_regression(change)).count();
    outln!(
        "{slower} of {} operations are more than {} % slower than in {}",
        changes.len(),
        BOUND * 100.0,
        options.base
    );
    Ok(if slower == 0 { exit::SUCCESS } else { exit::FAIL }.into())
}

/// A checkout of a commit, removed on drop.
struct Worktree {
    path: PathBuf,
}

impl Worktree {
    fn add(commit: &str, path: PathBuf) -> Result<Self, Failure> {
        let named = format!("{commit}^{{commit}}");
        succeed(git(["rev-parse", "--quiet", "--verify", &named]))
            .context(format!("{commit} is no commit here; `git log` lists them"))?;
        // A worktree that a killed run has left.
        if path.exists() {
            succeed(git([
                OsStr::new("worktree"),
                "remove".as_ref(),
                "--force".as_ref(),
                path.as_ref(),
            ]))?;
        }
        let worktree = Worktree { path };
        let path = worktree.path.as_os_str();
        let words = ["worktree", "add", "--quiet", "--force", "--detach"].map(OsStr::new);
        succeed(git(words).arg(path).arg(commit))?;
        // Kernels and tools that the set-up fetched; a new checkout has none.
        let cache = worktree.path.join(".cache");
        if !cache.exists() {
            symlink(project::cache(), &cache).context(cache.display())?;
        }
        Ok(worktree)
    }
}

impl Drop for Worktree {
    fn drop(&mut self) {
        // Best effort: the next run removes what is left.
        let words = ["worktree", "remove", "--force"].map(OsStr::new);
        let _ = succeed(git(words).arg(&self.path));
    }
}

fn git(words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(project::root()).args(words);
    git
}

/// Limit for a build of everything, on a busy machine.
const BUILD_LIMIT: Duration = Duration::from_secs(3600);

fn succeed(mut command: impl std::borrow::BorrowMut<Command>) -> Result<(), Failure> {
    let command = command.borrow_mut();
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command.spawn().context(format!("starting {name}"))?;
    let status = Supervised::of(&name, child).wait(BUILD_LIMIT, || Ok(()))?;
    require!(status.success(), "{name} ended with {status}; its own words are above");
    Ok(())
}

/// Builds both homes of `checkout`, and writes a `vexfs.toml` that names them into `out`.
fn build(checkout: &Path, out: &Path, kernel: &str) -> Result<PathBuf, Failure> {
    outln!("building {}", checkout.display());
    fs::create_dir_all(out).context(out.display())?;
    // Each checkout gets a target directory of its own. In a common one cargo would take the newer
    // checkout's program for the other's, whose sources are older than the program.
    let cargo_target = out.join("cargo");
    succeed(
        Command::new("cargo")
            .current_dir(checkout)
            .args(["build", "--quiet", "--release", "--locked", "-p", "vexfs-fuse"])
            .env("CARGO_TARGET_DIR", &cargo_target),
    )?;
    let fuse = out.join("vexfs_fuse");
    fs::copy(cargo_target.join("release/vexfs_fuse"), &fuse).context(fuse.display())?;
    succeed(
        Command::new(checkout.join("fixtures/vexfs/kernel/build.sh"))
            .current_dir(checkout)
            .args(["--kernel", kernel, "--out"])
            .arg(out),
    )?;
    let config = out.join("vexfs.toml");
    let text = format!("fuse = {fuse:?}\nmodule = {:?}\n", out.join("vexfs.ko"));
    fs::write(&config, text).context(config.display())?;
    Ok(config)
}

/// Boots a guest on the instruction clock and measures what `config` names.
fn costs(machine: &GuestOptions, config: &Path) -> Result<Vec<Cost>, Stop> {
    let dir = config.with_file_name("evidence");
    // The file of an earlier run must not pass for this one's.
    match fs::remove_file(dir.join(COSTS_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Stop::new(exit::EVIDENCE, error));
        }
        _ => {}
    }
    let program = std::env::current_exe().map_err(|error| Stop::new(exit::SETUP, error))?;
    let variable = format!("{}={}", machine::config::VARIABLE, config.display());
    let words = ["env".to_owned(), variable, program.display().to_string(), "costs".to_owned()];
    let machine = GuestOptions { cpus: None, ..machine.clone() };
    let outcome = guest::boot(
        &machine,
        Kind { clock: ClockChoice::Instructions, ..Kind::default() },
        &dir,
        GuestWork::Command(words.to_vec()),
        &Progress::none(),
    )?;
    if outcome.end != GuestEnd::Exited(0) {
        guest::last_words(&outcome);
        return Err(Stop::new(exit::SETUP, "the guest did not measure; its words are above"));
    }
    costs::read(&dir).map_err(|failure| Stop::new(exit::EVIDENCE, failure))
}

/// `vexfs-validate costs`: measures both homes in the guest, and writes the costs into the evidence
/// directory.
pub(super) fn measure() -> Result<ExitCode, Stop> {
    let here = place::here();
    let Some(dir) = here.evidence_dir.as_ref().filter(|_| here.place == Place::Guest) else {
        let usage = "this is the host; start it with: vexfs-validate guest --clock instructions -- \
                     target/debug/vexfs-validate costs";
        return Err(Stop::new(exit::USAGE, usage));
    };
    let costs = costs::measure().map_err(|failure| Stop::new(exit::FAIL, failure))?;
    for Cost { home, operation, nanoseconds } in &costs {
        outln!("{home:<8}{operation:<20}{nanoseconds:>14.1} ns");
    }
    costs::write(dir, &costs).map_err(|failure| Stop::new(exit::EVIDENCE, failure))?;
    Ok(ExitCode::SUCCESS)
}
