//! `make bench`: the engine beside other libraries. `--help` has the options, `docs/engine.md` the
//! method.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use evidence::exit;
use evidence::processor::Processor;
use evidence::protocol::PROTOCOL;
use indicatif::{ProgressBar, ProgressStyle};
use machine::environment;
use machine::failure::{Failure, WithContext};
use machine::interrupt::Signals;
use machine::project;
use machine::require;
use measure::peers::comparison::{Comparison, comparisons};
use measure::peers::core::Cores;
use measure::peers::data::{CLUSTERED, Data};
use measure::peers::peer::Peer;
use measure::peers::row::{PeerOperation, Row};
use measure::peers::run::PeersBench;
use measure::peers::sets;
use measure::peers::sets::result::Measured;
use measure::peers::sets::set::{self, Set};
use measure::peers::sets::side::{SetSide, Whose, by_default, sides};
use measure::peers::table;
use measure::peers::turns::MeasuringEffort;
use measure::peers::write_json;
use vexfs_uapi::Kind;

/// Sets with at least this many rows are only measured when asked for.
const MANY_ROWS: usize = 200_000;

/// Measures the engine, in this process, beside other libraries, in theirs: on one core, in turns,
/// one query a call, k = 10. Prints tables and writes what they show as JSON.
#[derive(Debug, Parser)]
#[command(bin_name = "make bench", after_help = "make bench ARGS='--only hnsw --data sift,words'")]
struct EngineOptions {
    /// Only these kinds of ours
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    #[arg(value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::name)))]
    only: Vec<String>,
    /// Only these libraries
    #[arg(long, value_name = "LIBRARY", value_delimiter = ',')]
    peer: Vec<Peer>,
    /// Only these data: `sets` measures all sets with all libraries, a set's name only that one;
    /// `protocol` and `clustered` compare kind with kind at several recalls, and builds
    #[arg(long, value_name = "DATA", value_delimiter = ',', default_values = ["sets"])]
    data: Vec<String>,
    /// On sets, compare only our kinds at their defaults with Flat: minutes, and no library runs
    #[arg(long)]
    by_default: bool,
    /// Sets of 1,000,000 rows as well (make bench-setup FULL=1 makes them), and the indexes whose
    /// build takes minutes
    #[arg(long)]
    full: bool,
    /// Keep the sets that `--sets-output` has already, and measure the others
    #[arg(long)]
    resume: bool,
    /// Only searches, or only builds; of `protocol` and `clustered`
    #[arg(long, value_delimiter = ',', default_values = ["search", "build"])]
    operation: Vec<PeerOperation>,
    /// Rounds of searches; fewer than 6 give no bounds, with 0 only recall is measured on sets
    #[arg(long, value_name = "COUNT", default_value_t = PROTOCOL.runs)]
    rounds: usize,
    /// Rounds of builds on the protocol's data; the clustered data's are built once
    #[arg(long, value_name = "COUNT", default_value_t = 6)]
    builds: usize,
    /// Rows of the clustered data
    #[arg(long, value_name = "COUNT", default_value_t = CLUSTERED.rows)]
    rows: usize,
    /// Where the JSON of `protocol` and `clustered` goes
    #[arg(long, value_name = "FILE", default_value_os_t = project::root().join("target/bench/engine.json"))]
    output: PathBuf,
    /// Where the JSON of the sets goes, after each set: target/bench/sets.json, or by-default.json
    /// beside it with `--by-default`
    #[arg(long, value_name = "FILE")]
    sets_output: Option<PathBuf>,
    /// Print tables as Markdown
    #[arg(long)]
    markdown: bool,
    /// Measure nothing: print the table of an earlier run's JSON
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What `cargo bench` tells every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// The results of this run, or of an earlier run's file.
#[derive(Default)]
struct Shown {
    rows: Vec<Row>,
    sets: Vec<Measured>,
}

fn main() -> ExitCode {
    supervised(&EngineOptions::parse()).unwrap_or_else(|failure| {
        eprintln!("bench: {failure}");
        ExitCode::FAILURE
    })
}

/// Runs with signals caught, so that drivers and files are gone when it ends.
fn supervised(options: &EngineOptions) -> Result<ExitCode, Failure> {
    let signals = Signals::begin()?;
    match run(options) {
        Ok(shown) => {
            if !shown.sets.is_empty() {
                let print =
                    if options.markdown { sets::table::markdown } else { sets::table::plain };
                print!("{}", print(&shown.sets));
            }
            if !shown.rows.is_empty() {
                let print = if options.markdown { table::markdown } else { table::plain };
                print!("{}", print(&shown.rows));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(_) if signals.interrupted() => {
            eprintln!("bench: interrupted; --resume goes on after the last set that was measured");
            Ok(exit::INTERRUPTED.into())
        }
        Err(failure) => Err(failure),
    }
}

fn run(options: &EngineOptions) -> Result<Shown, Failure> {
    if let Some(file) = &options.from {
        return read(file);
    }
    let (data, names) = options.data()?;
    let started = Instant::now();
    let mut shown = Shown::default();
    if !names.is_empty() {
        shown.sets = measure_sets(options, &names)?;
        let (sets, file) = (shown.sets.len(), options.sets_output());
        let (took, file) = (started.elapsed().as_secs(), file.display());
        eprintln!("bench: {sets} sets in {took} s, in {file}");
    }
    if !data.is_empty() {
        let started = Instant::now();
        shown.rows = measure_kinds(options, &data)?;
        write_json(&options.output, &shown.rows)?;
        let (rows, file) = (shown.rows.len(), options.output.display());
        eprintln!("bench: {rows} rows in {} s, in {file}", started.elapsed().as_secs());
    }
    Ok(shown)
}

/// Reads the JSON of an earlier run, of either form.
fn read(file: &Path) -> Result<Shown, Failure> {
    let text = fs::read_to_string(file).context(file.display())?;
    if let Ok(sets) = serde_json::from_str(&text) {
        return Ok(Shown { sets, ..Shown::default() });
    }
    Ok(Shown { rows: serde_json::from_str(&text).context(file.display())?, ..Shown::default() })
}

fn measure_sets(options: &EngineOptions, names: &[String]) -> Result<Vec<Measured>, Failure> {
    let progress = ProgressBar::new(names.len() as u64)
        .with_style(ProgressStyle::with_template("{pos}/{len} sets, {elapsed}, {msg}")?);
    let output = options.sets_output();
    let mut measured: Vec<Measured> = match options.resume {
        true if output.is_file() => read(&output)?.sets,
        _ => Vec::new(),
    };
    let mut bench = sets::measure::SetsBench {
        warmups: PROTOCOL.warmups,
        rounds: options.rounds,
        cores: Cores::allowed()?,
        cpu: environment::of_this_machine(Processor::Native).cpu,
        progress: &progress,
        overheads: HashMap::new(),
    };
    for name in names {
        if !measured.iter().any(|done| done.set == *name) {
            let set = Set::read(name)?;
            let all = match options.by_default {
                true => by_default(),
                false => sides(set.about.rows, set.about.dim),
            };
            let sides: Vec<SetSide> =
                all.into_iter().filter(|side| options.wants_side(side)).collect();
            measured.push(bench.measure(&set, &sides).context(name)?);
            write_json(&output, &measured)?;
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(measured)
}

fn measure_kinds(options: &EngineOptions, data: &[Data]) -> Result<Vec<Row>, Failure> {
    let cpu = environment::of_this_machine(Processor::Native).cpu;
    Cores::allowed()?.stay_on_one()?;
    let progress = ProgressBar::new_spinner();
    let mut rows = Vec::new();
    for &data in data {
        progress.set_message(format!("{}: drawing", data.name()));
        let drawn = data.generate(options.rows)?;
        let effort = MeasuringEffort {
            warmups: PROTOCOL.warmups,
            rounds: options.rounds,
            builds: if data == Data::Protocol { options.builds } else { 1 },
        };
        let mut bench = PeersBench::new(data, &drawn, effort, &cpu, &progress);
        let all = comparisons(drawn.1.rows);
        for comparison in all.iter().filter(|comparison| options.wants(comparison)) {
            rows.extend(bench.compare(comparison, &options.operation)?);
        }
    }
    progress.finish_and_clear();
    Ok(rows)
}

impl EngineOptions {
    fn wants(&self, comparison: &Comparison) -> bool {
        let kind = comparison.kind.name();
        let searched_or_built =
            comparison.builds || self.operation.contains(&PeerOperation::Search);
        (self.only.is_empty() || self.only.iter().any(|only| only == kind))
            && (self.peer.is_empty() || self.peer.contains(&comparison.peer))
            && searched_or_built
    }

    /// What `--data` names: data on which kinds are compared, and sets.
    fn data(&self) -> Result<(Vec<Data>, Vec<String>), Failure> {
        let (mut data, mut sets) = (Vec::new(), Vec::new());
        for name in &self.data {
            if let Ok(one) = Data::from_str(name, false) {
                data.push(one);
                continue;
            }
            for known in set::all()? {
                let asked_for =
                    known.name == *name || name == "sets" && (self.full || known.rows < MANY_ROWS);
                if asked_for && !sets.contains(&known.name) {
                    sets.push(known.name);
                }
            }
            require!(
                name == "sets" || sets.contains(name),
                "no data are called {name}; there are protocol, clustered, sets, and in {}: {}",
                set::directory().display(),
                set::all()?.into_iter().map(|set| set.name).collect::<Vec<_>>().join(", ")
            );
        }
        Ok((data, sets))
    }

    fn sets_output(&self) -> PathBuf {
        let name = if self.by_default { "by-default.json" } else { "sets.json" };
        let default = || project::root().join("target/bench").join(name);
        self.sets_output.clone().unwrap_or_else(default)
    }

    fn wants_side(&self, side: &SetSide) -> bool {
        let asked_for = match side.whose {
            Whose::Ours(kind) => {
                self.only.is_empty() || self.only.iter().any(|only| only == kind.name())
            }
            Whose::Theirs(peer) => self.peer.is_empty() || self.peer.contains(&peer),
        };
        asked_for && (self.full || !side.dear)
    }
}
