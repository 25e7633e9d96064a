//! `vexfs-validate guest [-- COMMAND]`

use std::fmt::{self, Display};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use evidence::exit;
use evidence::guest::{Accelerator, GuestEnd};
use evidence::place::Place;
use evidence::processor::Processor;
use evidence::{Event, Writer, read_trail};
use guest::{
    self, AcceleratorChoice, ClockChoice, GuestOutcome, GuestRequest, GuestWork, Host, Kernel,
    KernelChoice, VmError,
};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use machine::config;
use machine::environment;
use machine::interrupt::Signals;
use machine::own_sources;
use machine::place;
use machine::project;
use verdict::TrialEnd;
use verdict::report::{self, Run};

use super::options::{AcceleratorOption, ClockOption, GuestOptions};
use super::phase::Progress;
use super::run_dir;
use super::stop::Stop;
use crate::expected::Expected;

/// Options of `guest`.
#[derive(Debug, Clone, Args)]
pub struct GuestCommand {
    #[command(flatten)]
    machine: GuestOptions,
    /// What the guest's time counts
    #[arg(long, value_enum, default_value_t = ClockOption::Wall)]
    clock: ClockOption,
    /// Its kernel looks for misused memory (docs/sanitizers.md); speed is not to be measured in it
    #[arg(long)]
    detectors: bool,
    /// Directory shared with the guest [default: a fresh one under target/guest]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Command to run in the guest; without one, a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(options: &GuestCommand) -> Result<ExitCode, Stop> {
    if options.command.is_empty() && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Stop::new(
            exit::USAGE,
            "a shell in the guest needs a terminal, on standard input and output; without one, \
             give a command: vexfs-validate guest -- COMMAND",
        ));
    }
    must_understand_configuration()?;
    let dir = match &options.evidence {
        Some(dir) => run_dir::given(dir)?,
        None => run_dir::create(&project::root().join("target/guest"))?,
    };
    let work = if options.command.is_empty() {
        GuestWork::Shell
    } else {
        GuestWork::Command(options.command.clone())
    };
    let evidence = run_dir::begin(&dir)?;
    let environment = environment::of_this_machine(Processor::Native);
    evidence.write(Event::Environment(Box::new(environment))).map_err(no_evidence)?;
    if work != GuestWork::Shell {
        expect(&dir, &evidence)?;
    }
    let kind = Kind { clock: options.clock.into(), detectors: options.detectors };
    let outcome = boot(&options.machine, kind, &dir, work, &Progress::none())?;
    evidence.write(Event::GuestEnded(outcome.ended())).map_err(no_evidence)?;
    if !matches!(outcome.end, GuestEnd::Exited(_)) {
        last_words(&outcome);
    }
    write_for_machines(&dir)?;
    Ok(outcome.exit_code().into())
}

fn no_evidence(error: impl Display) -> Stop {
    Stop::new(exit::EVIDENCE, error)
}

/// Records the guest's expected trials. The command may run only some of them, and what it did not
/// run must differ from what does not exist. A caller that has already recorded what it expects
/// knows better.
fn expect(dir: &Path, evidence: &Writer) -> Result<(), Stop> {
    let host = read_trail(dir, Place::Host).map_err(no_evidence)?;
    let mut events = host.iter().flat_map(|trail| &trail.records).map(|record| &record.event);
    if events.any(|event| matches!(event, Event::Expected { .. })) {
        return Ok(());
    }
    let expected = Expected::load().map_err(|failure| Stop::new(exit::SETUP, failure))?;
    let trials = expected.of(Place::Guest).to_vec();
    evidence.write(Event::Expected { at: Place::Guest, trials }).map_err(no_evidence)
}

/// Writes `junit.xml` and the scripts that repeat failed trials, if the command ran trials.
fn write_for_machines(dir: &Path) -> Result<(), Stop> {
    let run = Run::read(dir, &[]).map_err(no_evidence)?;
    if run.trial_ends(Place::Guest).all(|(_, end)| *end == TrialEnd::NotRun) {
        return Ok(());
    }
    report::write_for_machines(&run, dir, dir).map_err(no_evidence)?;
    let is_bad = |(_, end): (&str, &TrialEnd)| {
        matches!(end, TrialEnd::Failed(_) | TrialEnd::Undecided(_) | TrialEnd::Began)
    };
    if run.trial_ends(Place::Guest).any(is_bad) {
        eprintln!("vexfs-validate: what failed is repeated by {}/repro/*.sh", dir.display());
    }
    Ok(())
}

fn choices(machine: &GuestOptions) -> (KernelChoice, AcceleratorChoice) {
    let accelerator = match machine.accelerator {
        AcceleratorOption::Auto => AcceleratorChoice::Auto,
        AcceleratorOption::Kvm => AcceleratorChoice::Only(Accelerator::Kvm),
        AcceleratorOption::Tcg => AcceleratorChoice::Only(Accelerator::Tcg),
    };
    (machine.kernel.parse().unwrap_or_else(|never| match never {}), accelerator)
}

/// Refuses a machine without KVM if KVM is demanded, before anything else is done in vain.
pub(super) fn must_have_kvm_if_demanded(machine: &GuestOptions) -> Result<(), Stop> {
    let (kernel, choice) = choices(machine);
    if choice != AcceleratorChoice::Only(Accelerator::Kvm) {
        return Ok(());
    }
    match Host::find(&kernel).and_then(|host| host.accelerator(choice)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Stop::new(error.exit(), error)),
    }
}

/// Refuses a `vexfs.toml` that is wrong, before anything is started with it.
pub(super) fn must_understand_configuration() -> Result<(), Stop> {
    config::check().map_err(|failure| Stop::new(exit::SETUP, failure))
}

/// The kind of boot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    /// The guest's clock.
    pub clock: ClockChoice,
    /// Whether the guest's kernel looks for misused memory.
    pub detectors: bool,
}

/// Boots a guest and does `work` in it. `progress` learns of its phases.
pub(super) fn boot(
    machine: &GuestOptions,
    kind: Kind,
    dir: &Path,
    work: GuestWork,
    progress: &Progress,
) -> Result<GuestOutcome, Stop> {
    if place::here().place == Place::Guest {
        return Err(Stop::new(exit::USAGE, "this is the guest; it cannot boot another one"));
    }
    let mut request = GuestRequest::new(work, dir.to_owned());
    let (kernel, accelerator) = choices(machine);
    request.accelerator = accelerator;
    request.memory_mib = machine.memory;
    request.cpus = machine.cpus;
    request.clock = kind.clock;
    request.detectors = kind.detectors;
    request.limits.total = Duration::from_secs(machine.time_limit);
    let host = Host::find(&kernel).map_err(|error| Stop::new(error.exit(), error))?;
    build_own_vexfs(&host.kernel)?;
    let mut terminal = Terminal::new(request.work == GuestWork::Shell, progress);
    let outcome = guest::run(&host, &request, &mut terminal);
    terminal.waiting.finish_and_clear();
    outcome.map_err(|error| Stop::new(error.exit(), error))
}

/// Builds the VexFS whose sources `vexfs.toml` names, for the kernel to boot.
pub(super) fn build_own_vexfs(kernel: &Kernel) -> Result<(), Stop> {
    let signals = Signals::begin().map_err(|error| Stop::new(exit::SETUP, error))?;
    own_sources::build_all(&kernel.release, || kernel.headers()).map_err(|failure| {
        if signals.interrupted() {
            return Stop::new(exit::INTERRUPTED, VmError::Interrupted);
        }
        let advice = "docs/own-vexfs.md says how sources are built";
        Stop::new(exit::SETUP, format!("{failure}; {advice}"))
    })
}

/// Prints why a guest ended before its command did, with the console's last lines.
pub(super) fn last_words(outcome: &GuestOutcome) {
    eprintln!("vexfs-validate: {}", outcome.end);
    if !outcome.console_tail.is_empty() {
        eprintln!("the console's last lines (all of it is in console.log):");
        for line in &outcome.console_tail {
            eprintln!("  | {line}");
        }
    }
}

/// Prints the guest's output. Below it a spinner shows that the guest is being waited for, or the
/// phase that it is in.
struct Terminal {
    /// Draws nothing if standard error is no terminal.
    waiting: ProgressBar,
    progress: Progress,
}

impl Terminal {
    fn new(shell: bool, progress: &Progress) -> Self {
        let progress = progress.clone();
        // A shell gets the terminal for itself.
        if shell {
            return Terminal { waiting: ProgressBar::hidden(), progress };
        }
        let seen = progress.clone();
        let style = ProgressStyle::default_spinner()
            .with_key("phase", move |_: &ProgressState, to: &mut dyn fmt::Write| {
                let said = seen.now().unwrap_or_else(|| "waiting for the guest".to_owned());
                // If the line cannot be drawn, it is drawn again in a moment.
                let _ = to.write_str(&said);
            })
            .template("{spinner} {phase}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let waiting = ProgressBar::new_spinner().with_style(style);
        waiting.enable_steady_tick(Duration::from_millis(120));
        Terminal { waiting, progress }
    }
}

impl guest::Observer for Terminal {
    fn notice(&mut self, text: &str) {
        self.waiting.suspend(|| eprintln!("vexfs-validate: {text}"));
    }

    fn output(&mut self, line: &str) {
        let line = self.progress.reads(line);
        let tell = || {
            // A closed pipe must not end the guest, which still writes evidence.
            let _ = writeln!(io::stdout(), "{line}");
        };
        if self.progress.watches() {
            self.waiting.suspend(tell);
        } else {
            self.waiting.finish_and_clear();
            tell();
        }
    }
}
