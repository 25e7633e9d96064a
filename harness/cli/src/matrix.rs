//! `vexfs-validate matrix`: runs the guest's criteria on one kernel after the other.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use evidence::GuestFault;
use evidence::criterion::Criterion;
use evidence::exit::{self, Exit};
use evidence::place::Place;
use evidence::series;
use machine::place;
use machine::project;
use verdict::{self, CriterionVerdict, Evidence, State};

use super::guest::must_understand_configuration;
use super::options::{AcceleratorOption, GuestOptions};
use super::output::{out, outln};
use super::phase::Progress;
use super::run::{begin, in_the_guest};
use super::run_dir;
use super::stop::Stop;
use crate::expected::Expected;

/// Options of `matrix`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Each kernel has a directory of its own, target/matrix/<time>/<kernel>/, which `verdict` and \
`report` read like that of any run. The host's trials are not run, so their verdict is INCONCLUSIVE; the \
table is about the guest alone. make matrix builds the module for each kernel first.

  vexfs-validate matrix --filter 'binary(dataset) + test(/^module::loads/)'")]
pub struct MatrixOptions {
    /// Kernels: versions, releases or paths to images [default: those of fixtures/guest/kernels.txt]
    #[arg(long, value_name = "KERNEL", value_delimiter = ',', default_values_t = matrix())]
    kernels: Vec<String>,
    /// Run only these trials, as a nextest filterset; the others count as not run
    #[arg(long, value_name = "FILTERSET", default_value = "all()")]
    filter: String,
    /// What runs the guest's CPU
    #[arg(long, value_enum, default_value_t = AcceleratorOption::Auto)]
    accelerator: AcceleratorOption,
    /// Longest time for everything in one guest, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10_800)]
    time_limit: u64,
}

fn matrix() -> Vec<String> {
    series::matrix().into_iter().map(|one| one.name).collect()
}

/// The result of one kernel.
struct Column {
    kernel: String,
    dir: PathBuf,
    /// The criteria in the guest.
    criteria: Vec<CriterionVerdict>,
    /// The guest's kernel release, and what ran its CPU.
    guest: String,
    exit: Exit,
    /// What happened to the guest apart from its trials.
    note: String,
}

pub(super) fn run(options: &MatrixOptions) -> Result<ExitCode, Stop> {
    if place::here().place == Place::Guest {
        return Err(Stop::new(exit::USAGE, "this is the guest; run it on the host"));
    }
    must_understand_configuration()?;
    let expected = Expected::load().map_err(|failure| Stop::new(exit::SETUP, failure))?;
    let room = run_dir::create(&project::root().join("target/matrix"))?;
    let mut columns = Vec::new();
    for kernel in &options.kernels {
        outln!("\n==== kernel {kernel}");
        let name = kernel.rsplit('/').next().unwrap_or(kernel);
        let dir = room.join(name);
        fs::create_dir(&dir).map_err(|error| {
            let dir = dir.display();
            Stop::new(exit::EVIDENCE, format!("{dir}: {error}; is a kernel named twice?"))
        })?;
        let stop = match validate(options, kernel, &dir, &expected) {
            Err(stop) if stop.exit == exit::INTERRUPTED => return Err(stop),
            Err(stop) => Some(stop),
            Ok(lost) => lost,
        };
        columns.push(column(kernel, dir, stop)?);
    }
    out!("\n{}", table(&columns));
    let worst = columns.iter().map(|one| one.exit).max_by_key(|exit| severity(*exit));
    Ok(worst.unwrap_or(exit::USAGE).into())
}

/// Runs the guest's criteria on `kernel`. Returns what ended its guest early, if anything did.
fn validate(
    options: &MatrixOptions,
    kernel: &str,
    dir: &Path,
    expected: &Expected,
) -> Result<Option<Stop>, Stop> {
    let evidence = run_dir::begin(dir)?;
    begin(&evidence, expected).map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    let machine = GuestOptions {
        kernel: kernel.to_owned(),
        accelerator: options.accelerator,
        memory: None,
        cpus: None,
        time_limit: options.time_limit,
    };
    Ok(in_the_guest(&machine, dir, &evidence, &Progress::none(), &[], &options.filter)?)
}

fn column(kernel: &str, dir: PathBuf, stop: Option<Stop>) -> Result<Column, Stop> {
    let evidence = Evidence::read(&dir).map_err(|error| Stop::new(exit::EVIDENCE, error))?;
    let criteria = verdict::in_the_guest(&evidence);
    let guest = evidence.environment(Place::Guest).map_or_else(
        || "no guest".to_owned(),
        |one| format!("{}, {}", one.kernel_release, one.accelerator.name()),
    );
    let state = criteria.iter().map(|one| one.state).max().unwrap_or(State::Inconclusive);
    let end = evidence.guest_end().filter(|end| end.fault != GuestFault::None);
    let (exit, note) = match stop {
        // A module that took its guest down has failed.
        Some(stop) if state == State::Fail => (exit::FAIL, stop.message),
        Some(stop) => (stop.exit, stop.message),
        None => (verdict::exit_of(state), end.map_or_else(String::new, |end| end.how.clone())),
    };
    Ok(Column { kernel: kernel.to_owned(), dir, criteria, guest, exit, note })
}

/// How bad an exit code is: FAIL is worst, then whatever kept trials from running, then
/// INCONCLUSIVE.
fn severity(exit: Exit) -> u8 {
    match exit {
        exit::SUCCESS => 0,
        exit::INCONCLUSIVE => 1,
        exit::FAIL => 3,
        _ => 2,
    }
}

fn table(columns: &[Column]) -> String {
    let mut text = format!("{:<34}", "criterion, in the guest");
    for one in columns {
        let _ = write!(text, "  {:<22}", one.kernel);
    }
    for criterion in Criterion::ALL {
        let _ = write!(text, "\n{:<34}", criterion.title());
        for one in columns {
            let cell = one.criteria.iter().find(|one| one.id == criterion).map_or_else(
                || "not run".to_owned(),
                |one| format!("{} {}/{}", one.state, one.passed, one.expected),
            );
            let _ = write!(text, "  {cell:<22}");
        }
    }
    text.push('\n');
    for one in columns {
        let colon = if one.note.is_empty() { "" } else { ": " };
        let (kernel, guest, note, dir) = (&one.kernel, &one.guest, &one.note, one.dir.display());
        let _ = write!(text, "\n{kernel}: {guest}{colon}{note}\n  all of it: {dir}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_end_is_a_fail_then_a_guest_that_died() {
        let worst = |ends: &[Exit]| ends.iter().copied().max_by_key(|exit| severity(*exit));
        let all = [exit::SUCCESS, exit::FAIL, exit::PANIC, exit::INCONCLUSIVE];
        assert_eq!(worst(&all), Some(exit::FAIL));
        assert_eq!(worst(&[exit::INCONCLUSIVE, exit::BOOT, exit::SUCCESS]), Some(exit::BOOT));
        assert_eq!(worst(&[exit::SUCCESS, exit::INCONCLUSIVE]), Some(exit::INCONCLUSIVE));
    }

    #[test]
    fn a_kernel_has_a_column_also_where_no_guest_came_up() {
        let runs = project::root().join("harness/verdict/tests/runs");
        let lost = Stop::new(exit::BOOT, "the guest did not come up");
        let columns = [
            column("6.12", runs.join("emulated"), None).unwrap(),
            column("6.1", runs.join("interrupted"), Some(lost)).unwrap(),
        ];
        assert_eq!(columns.each_ref().map(|one| one.exit), [exit::SUCCESS, exit::BOOT]);
        let panicked = Some(Stop::new(exit::PANIC, "the guest's kernel panicked"));
        let column = column("6.1", runs.join("panicked"), panicked).unwrap();
        assert_eq!(column.exit, exit::FAIL, "the trial that it died in FAILs");
        let table = table(&columns);
        let row = table.lines().find(|line| line.starts_with("Module stability")).unwrap();
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells, ["Module", "stability", "PASS", "1/1", "INCONCLUSIVE", "0/1"]);
        assert!(table.contains("6.1: no guest: the guest did not come up"), "{table}");
    }
}
