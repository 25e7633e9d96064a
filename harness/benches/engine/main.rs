//! `make bench`: the engine beside faiss, hnswlib and usearch. `--help` has the options,
//! `docs/engine.md` the method.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use evidence::exit;
use evidence::protocol::PROTOCOL;
use harness::bench::clustered::CLUSTERED;
use harness::bench::comparison::{Comparison, comparisons, kind_name};
use harness::bench::data::Data;
use harness::bench::peer::Peer;
use harness::bench::row::{Operation, Row};
use harness::bench::run::Bench;
use harness::bench::table;
use harness::bench::turns::Effort;
use harness::bench::write_json;
use harness::environment;
use harness::failure::{Failure, While};
use harness::project;
use harness::vm::interrupt::Watch;
use indicatif::ProgressBar;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Measures the engine, in this process, beside faiss, hnswlib and usearch, in theirs: on one
/// core, in turns, one query a call, k = 10. Prints a table and writes its rows as JSON.
#[derive(Debug, Parser)]
#[command(bin_name = "make bench", after_help = "make bench ARGS='--only hnsw --data clustered'")]
struct Options {
    /// Only these kinds
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    #[arg(value_parser = ["flat", "hnsw", "pq", "ivf", "lsh"])]
    only: Vec<String>,
    /// Only these libraries
    #[arg(long, value_name = "LIBRARY", value_delimiter = ',')]
    peer: Vec<Peer>,
    /// Only these sets of data
    #[arg(long, value_delimiter = ',', default_values = ["protocol", "clustered"])]
    data: Vec<Data>,
    /// Only searches, or only builds
    #[arg(long, value_delimiter = ',', default_values = ["search", "build"])]
    operation: Vec<Operation>,
    /// Rounds of searches; fewer than 6 give no bounds
    #[arg(long, value_name = "COUNT", default_value_t = PROTOCOL.runs)]
    rounds: usize,
    /// Rounds of builds on the protocol's data; the clustered data's are built once
    #[arg(long, value_name = "COUNT", default_value_t = 6)]
    builds: usize,
    /// Rows of the clustered data
    #[arg(long, value_name = "COUNT", default_value_t = CLUSTERED.rows)]
    rows: usize,
    /// Where the JSON goes
    #[arg(long, value_name = "FILE", default_value_os_t = project::root().join("target/bench/engine.json"))]
    output: PathBuf,
    /// Print the table as Markdown
    #[arg(long)]
    markdown: bool,
    /// Measure nothing: print the table of an earlier run's JSON
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What `cargo bench` tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    supervised(&Options::parse()).unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}

/// Runs while signals are watched, so that drivers and files are gone when it ends.
fn supervised(options: &Options) -> Result<ExitCode, Failure> {
    let watch = Watch::begin()?;
    match run(options) {
        Ok(rows) => {
            let print = if options.markdown { table::markdown } else { table::plain };
            print!("{}", print(&rows));
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if watch.interrupted() => {
            eprintln!("bench: interrupted; nothing was written");
            Ok(exit::INTERRUPTED.into())
        }
        Err(failure) => Err(failure),
    }
}

fn run(options: &Options) -> Result<Vec<Row>, Failure> {
    if let Some(file) = &options.from {
        let text = fs::read_to_string(file).when(file.display())?;
        return serde_json::from_str(&text).when(file.display());
    }
    let started = Instant::now();
    let rows = measure(options)?;
    write_json(&options.output, &rows)?;
    eprintln!(
        "bench: {} rows in {} s, in {}",
        rows.len(),
        started.elapsed().as_secs(),
        options.output.display()
    );
    Ok(rows)
}

fn measure(options: &Options) -> Result<Vec<Row>, Failure> {
    let cpu = environment::of_this_machine("none").cpu;
    stay_on_one_core()?;
    let progress = ProgressBar::new_spinner();
    let mut rows = Vec::new();
    for &data in &options.data {
        progress.set_message(format!("{}: drawing", data.name()));
        let drawn = data.generate(options.rows)?;
        let effort = Effort {
            warmups: PROTOCOL.warmups,
            rounds: options.rounds,
            builds: if data == Data::Protocol { options.builds } else { 1 },
        };
        let mut bench = Bench::new(data, &drawn, effort, &cpu, &progress);
        let all = comparisons(drawn.1.rows);
        for comparison in all.iter().filter(|comparison| options.wants(comparison)) {
            rows.extend(bench.compare(comparison, &options.operation)?);
        }
    }
    progress.finish_and_clear();
    Ok(rows)
}

impl Options {
    fn wants(&self, comparison: &Comparison) -> bool {
        let kind = kind_name(comparison.kind).to_lowercase();
        let searched_or_built = comparison.builds || self.operation.contains(&Operation::Search);
        (self.only.is_empty() || self.only.contains(&kind))
            && (self.peer.is_empty() || self.peer.contains(&comparison.peer))
            && searched_or_built
    }
}

/// Binds this process, and so the drivers that it starts, to the last of the processors that it
/// may use: the first is where most interrupts go.
fn stay_on_one_core() -> Result<(), Failure> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).when("the processors that may be used")?;
    let mut one = CpuSet::new();
    let last = (0..CpuSet::count()).rfind(|&cpu| allowed.is_set(cpu).unwrap_or(false));
    one.set(last.unwrap_or(0))?;
    sched_setaffinity(this, &one).when("staying on one processor")
}
