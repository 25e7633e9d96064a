//! Cuts the guest's power in the middle of a trial: trials finished before must count, and the
//! verdict must say in which trial the guest ended.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use evidence::criterion::Criterion;
use evidence::files::CONSOLE_FILE;
use evidence::guest::GuestEnd;
use evidence::place::Place;
use evidence::{Event, Trail, TrialState, Writer, read_trail};
use guest::{self, GuestRequest, GuestWork, Host, Kernel};
use machine::deadline::wait_for;
use machine::failure::{Failure, WithContext};
use machine::interrupt::Signals;
use machine::{fail, own_sources, project, require};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid};
use serde_json::json;
use verdict::{self, Evidence, State};

use crate::trial::Context;

/// The trial that ends before the power is cut, and the trial in which it is cut.
const FINISHED: &str = "module::loads_and_is_listed";
const CUT: &str = "module::survives_300_cycles";
/// From the guest's start to the middle of the second trial.
const LIMIT: Duration = Duration::from_secs(400);

pub(super) fn is_told(context: &Context) -> Result<(), Failure> {
    let target = project::root().join("target");
    fs::create_dir_all(&target).context(target.display())?;
    let dir = tempfile::Builder::new().prefix("power-cut-").tempdir_in(&target)?;
    let dir = dir.path();
    let host = Writer::open(dir, Place::Host)?;
    let trials = vec![FINISHED.to_owned(), CUT.to_owned()];
    host.write(Event::Expected { at: Place::Guest, trials })?;
    let outcome = cut_power(dir)?;
    require!(outcome.end == GuestEnd::Died, "expected the guest to die, but {}", outcome.end);
    host.write(Event::GuestEnded(outcome.ended()))?;

    let Some(trail) = read_trail(dir, Place::Guest)? else { fail!("the guest left no evidence") };
    require!(trail.damage.is_empty(), "the guest's evidence is damaged: {:?}", trail.damage);
    require!(has_passed(&trail, FINISHED), "the end of {FINISHED} is lost");
    require!(!has_ended(&trail, CUT), "{CUT} has ended: the power was cut too late");
    let verdict = verdict::of(&Evidence::read(dir)?);
    let Some(module) = verdict.criteria.iter().find(|one| one.id == Criterion::Module) else {
        fail!("the verdict has no entry for the module")
    };
    let told = format!("{CUT} (guest) began, and then: {}", outcome.end);
    let reasons: Vec<_> = module.reasons.iter().map(|reason| reason.text.as_str()).collect();
    require!(
        module.state == State::Fail && module.passed == 1 && reasons.contains(&told.as_str()),
        "the verdict is {:?}, and does not say {told:?}: {reasons:?}",
        module.state
    );
    let records = trail.records.len();
    context.fact("the power was cut", json!({"records left": records, "verdict": reasons}))
}

/// Runs both trials in a guest and kills QEMU in the middle of the second.
fn cut_power(dir: &Path) -> Result<guest::GuestOutcome, Failure> {
    let program = std::env::current_exe()?.display().to_string();
    let script = r#""$0" --exact "$1" && "$0" --exact "$2""#;
    let words = ["sh", "-c", script, &program, FINISHED, CUT].map(str::to_owned);
    let mut request = GuestRequest::new(GuestWork::Command(words.to_vec()), dir.to_owned());
    request.limits.total = LIMIT;
    let host = Host::of_environment()?;
    build_own_vexfs(&host.kernel)?;
    thread::scope(|scope| {
        let guest = scope.spawn(|| guest::run(&host, &request, &mut Unobserved));
        let begun = wait_for(format!("{CUT} in the guest"), LIMIT, || {
            require!(!guest.is_finished(), "the guest ended before its power was cut");
            let mark = format!("vexfs-validation: {CUT}");
            let console = fs::read_to_string(dir.join(CONSOLE_FILE)).unwrap_or_default();
            Ok(console.contains(&mark).then_some(()))
        });
        let killed = qemu().map(|pid| kill(pid, Signal::SIGKILL));
        let outcome = guest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        begun.map_err(|failure| match &outcome {
            Ok(outcome) => Failure::new(format!("{failure}; {}", outcome.end)),
            Err(error) => Failure::new(format!("{failure}; {error}")),
        })?;
        match killed {
            Some(Ok(())) => Ok(outcome?),
            Some(Err(errno)) => Err(errno).context("killing QEMU"),
            None => fail!("no QEMU was found below this process"),
        }
    })
}

/// Builds the VexFS whose sources `vexfs.toml` names, for the kernel to boot.
fn build_own_vexfs(kernel: &Kernel) -> Result<(), Failure> {
    let _interruptible = Signals::begin()?;
    own_sources::build_all(&kernel.release, || kernel.headers())
}

/// The QEMU that this process has started through virtme-ng.
fn qemu() -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_ours = |pid: i32| {
        std::iter::successors(Some(pid), |&pid| Some(process(pid)?.1))
            .any(|pid| pid == getpid().as_raw())
    };
    pids.filter(|&pid| process(pid).is_some_and(|(name, _)| name.starts_with("qemu-system")))
        .find(|&pid| is_ours(pid))
        .map(Pid::from_raw)
}

/// The name and the parent's id of a process (proc_pid_stat(5)).
fn process(pid: i32) -> Option<(String, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
    Some((name.to_owned(), rest.split(' ').nth(1)?.parse().ok()?))
}

fn has_passed(trail: &Trail, name: &str) -> bool {
    trail.records.iter().any(|record| {
        matches!(&record.event, Event::TrialFinished { trial, state: TrialState::Passed, .. }
            if trial == name)
    })
}

fn has_ended(trail: &Trail, name: &str) -> bool {
    let ends = |event: &Event| matches!(event, Event::TrialFinished { trial, .. } if trial == name);
    trail.records.iter().any(|record| ends(&record.event))
}

/// Ignores the guest's output, which is in its evidence.
struct Unobserved;

impl guest::Observer for Unobserved {
    fn notice(&mut self, _: &str) {}
    fn output(&mut self, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_have_names_and_parents() {
        let (name, parent) = process(getpid().as_raw()).unwrap();
        assert!(!name.is_empty());
        assert_eq!(parent, nix::unistd::getppid().as_raw());
        assert_eq!(process(i32::MAX), None);
    }
}
