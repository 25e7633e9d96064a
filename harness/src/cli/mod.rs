//! The command line of `vexfs-validate`.

mod compare;
mod completion;
mod diff;
mod doctor;
mod guest;
mod help;
mod in_guest;
mod list;
mod matrix;
mod nextest;
mod output;
mod phase;
mod place;
mod regress;
mod report;
mod run;
mod run_dir;
mod sabotaged;
mod soak;
mod verdict;

use std::path::PathBuf;
use std::process::ExitCode;

use ::guest::ClockChoice;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use evidence::criterion::Criterion;
use evidence::exit::{self, Exit};
use evidence::guest::DEFAULT_SERIES;
use machine::temporary;

/// Proves a VexFS kernel module inside a VM, before anyone may load it on bare metal.
#[derive(Parser)]
#[command(name = "vexfs-validate", version, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what of this machine works and what is missing, with the command that provides it
    #[command(after_help = help::DOCTOR)]
    Doctor(doctor::Options),
    /// Validate: host lane, VM, verdict; writes target/validation/<run>/
    #[command(after_help = help::RUN)]
    Run(run::Options),
    /// Boot the guest and run a command in it, or a shell
    #[command(after_help = help::GUEST)]
    Guest(guest::Options),
    /// Run the guest's criteria on each kernel of the matrix, and print one table
    Matrix(matrix::Options),
    /// Recompute the verdict of a run from its evidence, offline
    #[command(after_help = help::VERDICT)]
    Verdict {
        /// The run's directory, e.g. target/validation/latest
        dir: PathBuf,
        /// Print the verdict as JSON instead of a table
        #[arg(long)]
        json: bool,
        /// Directories of soaks that count for bare metal, beside those in the run's own soak/
        #[arg(long, value_name = "DIR", num_args = 1..)]
        soak: Vec<PathBuf>,
    },
    /// Write a run's report: report.html for a person, report.md, report.ktap
    #[command(after_help = help::REPORT)]
    Report {
        /// The run's directory, also one that was interrupted, e.g. target/validation/latest
        dir: PathBuf,
        /// Directory for the report, which must exist [default: the run's]
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
        /// Directories of soaks that count for bare metal, beside those in the run's own soak/
        #[arg(long, value_name = "DIR", num_args = 1..)]
        soak: Vec<PathBuf>,
    },
    /// Say what changed between two runs: states, trials, skips, ratios
    #[command(after_help = help::DIFF)]
    Diff {
        /// The directory of the earlier run
        before: PathBuf,
        /// The directory of the later run
        after: PathBuf,
    },
    /// Measure any two contenders by the rule of the criteria, and print what it says
    Compare(compare::Options),
    /// Say which operations cost more guest instructions than in another commit
    Regress(regress::Options),
    /// Load and unload the module for hours, or run a criterion many times
    Soak(soak::Options),
    /// Say whether this is the host or the guest, and how we know
    Place,
    /// List the trials that are expected in each place
    #[command(after_help = help::LIST)]
    List(list::Options),
    /// Print which saboteurs were found, by what, and what it said
    Sabotaged {
        /// Write the table into docs/sabotage.md
        #[arg(long)]
        update: bool,
    },
    /// Print the completions of a shell: source <(vexfs-validate completion bash)
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: completion::Shell,
    },
    /// What `run` starts inside the guest
    #[command(hide = true)]
    InGuest {
        /// Only these of its trials, as a nextest filterset
        #[arg(long, default_value = "all()")]
        filter: String,
    },
    /// What `soak` starts inside the guest
    #[command(hide = true)]
    InGuestSoak(soak::InGuest),
    /// What `regress` starts inside the guest
    #[command(hide = true)]
    Costs,
}

/// How the guest is made; the same for `run` and `guest`.
#[derive(Debug, Clone, Args)]
pub struct Machine {
    /// Kernel: a version (6.12), a release (6.12.117+deb12-amd64) or a path to an image
    #[arg(long, value_name = "KERNEL", default_value = DEFAULT_SERIES, env = "VEXFS_KERNEL")]
    pub kernel: String,
    /// What runs the guest's CPU
    #[arg(long, value_enum, default_value_t = Accelerator::Auto)]
    pub accelerator: Accelerator,
    /// Memory in MiB [default: 8192, or three quarters of what is free]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u64>,
    /// Virtual CPUs [default: 4, or as many as the machine has]
    #[arg(long)]
    pub cpus: Option<u32>,
    /// Longest time for everything in the guest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10_800)]
    pub time_limit: u64,
}

/// What runs the guest's CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accelerator {
    /// KVM where a kernel boots on it, else an emulated CPU
    Auto,
    /// KVM or nothing
    Kvm,
    /// An emulated CPU (TCG)
    Tcg,
}

/// What the guest's time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Clock {
    /// Time as it passes
    Wall,
    /// A count of the guest's instructions, 2 ns each: the same on a busy machine, on one emulated
    /// CPU
    Instructions,
    /// Whichever decides on the kernel against FUSE: instructions, but wall time on KVM
    Deciding,
}

impl From<Clock> for ClockChoice {
    fn from(clock: Clock) -> Self {
        match clock {
            Clock::Wall => ClockChoice::Wall,
            Clock::Instructions => ClockChoice::Instructions,
            Clock::Deciding => ClockChoice::Deciding,
        }
    }
}

/// Reads a criterion's name; help, completion and errors list all five.
fn criterion() -> impl TypedValueParser<Value = Criterion> {
    let known = Criterion::ALL.map(|one| PossibleValue::new(one.id()).help(one.title()));
    PossibleValuesParser::new(known).try_map(|name| name.parse::<Criterion>())
}

/// A command's end other than success: what to tell the person, and the exit code.
#[derive(Debug)]
pub struct Stop {
    exit: Exit,
    message: String,
}

impl Stop {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Stop { exit, message: message.to_string() }
    }
}

fn exit_codes() -> String {
    let rows: Vec<String> =
        exit::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.code, exit.meaning)).collect();
    format!("Exit codes:\n{}", rows.join("\n"))
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    let sound = machine::project::is_where_it_was_built().and_then(|()| temporary::prepare());
    if let Err(failure) = sound {
        eprintln!("vexfs-validate: {failure}");
        return exit::SETUP.into();
    }
    let result = match command {
        Command::Doctor(options) => doctor::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Guest(options) => guest::run(&options),
        Command::Matrix(options) => matrix::run(&options),
        Command::Verdict { dir, json, soak } => verdict::run(&dir, &soak, json),
        Command::Report { dir, into, soak } => report::run(&dir, into.as_deref(), &soak),
        Command::Diff { before, after } => diff::run(&before, &after),
        Command::Compare(options) => compare::run(&options),
        Command::Regress(options) => regress::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Place => place::run(),
        Command::List(options) => list::run(options),
        Command::Sabotaged { update } => sabotaged::run(update),
        Command::Completion { shell } => completion::run(shell),
        Command::InGuest { filter } => in_guest::run(&filter),
        Command::InGuestSoak(options) => soak::in_guest(&options),
        Command::Costs => regress::measure(),
    };
    match result {
        Ok(code) => code,
        Err(stop) => {
            eprintln!("vexfs-validate: {}", stop.message);
            stop.exit.into()
        }
    }
}
