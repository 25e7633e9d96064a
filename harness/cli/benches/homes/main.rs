//! `make bench`: measures what FUSE and the kernel module add to the engine, call by call. On the
//! host it measures FUSE, in the guest the kernel as well. `--help` has the options.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use evidence::exit;
use evidence::place::Place;
use homes::Mounted;
use indicatif::ProgressBar;
use machine::failure::Failure;
use machine::interrupt::Signals;
use machine::place;
use machine::project;
use measure::dataset::Dataset;
use measure::peers::homes::{HomesBench, HomesLine, table};
use measure::peers::write_json;
use vexfs_uapi::{Home, Kind};

/// Measures searches and row-by-row insertions in process, over FUSE and, in the guest, in the
/// kernel: the protocol's data, in turns, every answer the same. Prints a table and writes its
/// lines as JSON.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench -p cli --bench homes --")]
struct HomesOptions {
    /// Where the JSON goes [default: target/bench/homes.json, in the guest the evidence]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What `cargo bench` tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    supervised(&HomesOptions::parse()).unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}

/// Runs with signals caught, so that nothing stays mounted when it ends.
fn supervised(options: &HomesOptions) -> Result<ExitCode, Failure> {
    let signals = Signals::begin()?;
    match run(options) {
        Ok(lines) => {
            print!("{}", table(&lines));
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if signals.interrupted() => {
            eprintln!("bench: interrupted; nothing was written");
            Ok(exit::INTERRUPTED.into())
        }
        Err(failure) => Err(failure),
    }
}

fn run(options: &HomesOptions) -> Result<Vec<HomesLine>, Failure> {
    let here = place::here();
    let directory = here.evidence_dir.clone().unwrap_or(project::root().join("target/bench"));
    let output = options.output.clone().unwrap_or(directory.join("homes.json"));
    let kernel = match here.place {
        Place::Guest => Some(Mounted::new(Home::Kernel, "1G")?),
        Place::Host => None,
    };
    let fuse = Mounted::new(Home::Fuse, "1G")?;
    let lines = measure(fuse.path(), kernel.as_ref().map(Mounted::path))?;
    fuse.unmount()?;
    kernel.map_or(Ok(()), Mounted::unmount)?;
    write_json(&output, &lines)?;
    eprintln!("bench: {} lines, in {}", lines.len(), output.display());
    Ok(lines)
}

fn measure(fuse: &Path, kernel: Option<&Path>) -> Result<Vec<HomesLine>, Failure> {
    let bench = HomesBench::new(Dataset::of_protocol()?, fuse, kernel);
    let progress = ProgressBar::new_spinner();
    let mut lines = Vec::new();
    // A graph takes minutes to build in an emulated guest.
    let kinds: &[Kind] = match kernel {
        Some(_) => &[Kind::Flat],
        None => &Kind::ALL,
    };
    for places in bench.places() {
        for &kind in kinds {
            progress.set_message(format!("{places:?}: searching {kind:?}"));
            lines.push(bench.search(kind, places)?);
        }
        progress.set_message(format!("{places:?}: inserting row by row"));
        lines.push(bench.insertion(Kind::Flat, places)?);
    }
    progress.finish_and_clear();
    Ok(lines)
}
