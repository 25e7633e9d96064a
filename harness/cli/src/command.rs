//! The command line of `vexfs-validate`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use evidence::exit;
use homes::filesystem::apart;
use machine::part::Part;
use machine::temporary;

use super::{
    attest, compare, completion, diff, doctor, gate, guest, help, in_guest, init, list, matrix,
    output, place, regress, report, run, sabotaged, soak, tryout, verdict,
};

/// Proves a VexFS kernel module inside a VM, before anyone may load it on bare metal.
#[derive(Parser)]
#[command(name = "vexfs-validate", version, after_help = exit_codes())]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a vexfs.toml that puts your VexFS in the reference's place
    #[command(after_help = help::INIT)]
    Init(init::Options),
    /// Try ten things of the VexFS that vexfs.toml names, in about ten seconds
    #[command(after_help = help::TRY)]
    Try,
    /// Say what works on this machine, what is missing, and which command provides it
    #[command(after_help = help::DOCTOR)]
    Doctor(doctor::DoctorOptions),
    /// Validate: host lane, VM, verdict; writes target/validation/RUN/
    #[command(after_help = help::RUN)]
    Run(run::RunOptions),
    /// Boot the guest and run a command in it, or a shell
    #[command(after_help = help::GUEST)]
    Guest(guest::GuestCommand),
    /// Run the guest's criteria on each kernel of the matrix, and print one table
    Matrix(matrix::MatrixOptions),
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
    /// Sign the verdict of a run that PASSes, for the files and the kernel that it tested
    #[command(after_help = help::ATTEST)]
    Attest(attest::Attest),
    /// Check an attestation offline, and say what it covers
    #[command(after_help = help::VERIFY)]
    Verify(attest::Verify),
    /// Install modules into /lib/modules only with an attestation, and list them
    #[command(subcommand)]
    Gate(gate::Gate),
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
    /// Compare any two contenders by the rule of the criteria, and print its decision
    Compare(compare::CompareOptions),
    /// Say which operations cost more guest instructions than in another commit
    Regress(regress::RegressOptions),
    /// Load and unload the module for hours, or run a criterion many times
    Soak(soak::SoakOptions),
    /// Say whether this is the host or the guest, and how we know
    Place,
    /// List the trials that are expected in each place
    #[command(after_help = help::LIST)]
    List(list::ListOptions),
    /// Print which saboteurs were found, by which trial, and with which message
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

fn exit_codes() -> String {
    let rows: Vec<String> =
        exit::ALL.iter().map(|exit| format!("  {:>3}  {}", exit.code, exit.meaning)).collect();
    format!("Exit codes:\n{}", rows.join("\n"))
}

/// Parts of `try` that run in processes of their own.
const PARTS: &[(&str, Part)] = &[(apart::PART, apart::play)];

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(code) = machine::part::main(PARTS) {
        return code;
    }
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        // Help is reported as an error, too.
        Err(said) => {
            let done = said.print().and_then(|()| io::stdout().flush());
            let code = if said.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
            output::wrote(output::or_gone(done));
            return output::exit_code(code);
        }
    };
    let sound = machine::project::is_where_it_was_built().and_then(|()| temporary::prepare());
    if let Err(failure) = sound {
        eprintln!("vexfs-validate: {failure}");
        return exit::SETUP.into();
    }
    let result = match command {
        Command::Init(options) => init::run(&options),
        Command::Try => tryout::run(),
        Command::Doctor(options) => doctor::run(&options),
        Command::Run(options) => run::run(&options),
        Command::Guest(options) => guest::run(&options),
        Command::Matrix(options) => matrix::run(&options),
        Command::Verdict { dir, json, soak } => verdict::run(&dir, &soak, json),
        Command::Attest(options) => attest::attest(&options),
        Command::Verify(options) => attest::verify(&options),
        Command::Gate(what) => gate::run(&what),
        Command::Report { dir, into, soak } => report::run(&dir, into.as_deref(), &soak),
        Command::Diff { before, after } => diff::run(&before, &after),
        Command::Compare(options) => compare::run(&options),
        Command::Regress(options) => regress::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Place => place::run(),
        Command::List(options) => list::run(options),
        Command::Sabotaged { update } => sabotaged::run(update),
        Command::Completion { shell } => completion::run(shell, Cli::command()),
        Command::InGuest { filter } => in_guest::run(&filter),
        Command::InGuestSoak(options) => soak::in_guest(&options),
        Command::Costs => regress::measure(),
    };
    match result {
        Ok(code) => output::exit_code(code),
        Err(stop) => {
            eprintln!("vexfs-validate: {}", stop.message);
            stop.exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A paragraph of help text must be one line: clap would wrap a line that we broke ourselves
    /// once more.
    #[test]
    fn paragraphs_of_help_are_lines() {
        let running = |line: &str| line.starts_with(|first: char| first.is_ascii_alphanumeric());
        let cli = Cli::command();
        let commands = cli.get_subcommands().flat_map(|one| one.get_subcommands().chain([one]));
        for command in commands {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> = help.lines().collect();
            for pair in lines.windows(2) {
                assert!(!running(pair[0]) || !running(pair[1]), "{}: {pair:?}", command.get_name());
            }
        }
    }
}
