//! The cost of a home: the same searches and insertions in process, over FUSE and in the kernel.

use std::path::Path;
use std::time::Duration;

use evidence::Round;
use evidence::protocol::PROTOCOL;
use evidence::stats::{Interval, Ratio, median};
use machine::failure::{Failure, WithContext};
use serde::{Deserialize, Serialize};
use vexfs_uapi::client::Declaration;
use vexfs_uapi::{Home, Kind};

use crate::contender::{Answered, Contender, InProcess, VexfsFile, fill};
use crate::dataset::Dataset;
use crate::{home, rounds};

/// The place where the engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Where {
    /// Called directly, in this process.
    InProcess,
    /// Behind the FUSE daemon.
    Fuse,
    /// In the kernel module.
    Kernel,
}

impl From<Home> for Where {
    fn from(home: Home) -> Self {
        match home {
            Home::Fuse => Where::Fuse,
            Home::Kernel => Where::Kernel,
        }
    }
}

/// The operation that is timed, call by call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HomeOperation {
    /// One query per call, k = 10, over the protocol's rows.
    Search,
    /// One row per call, appended to an indexed file with write(2), if there is a file.
    Insertion,
}

/// One operation in two places, measured in turns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HomesLine {
    /// What was timed.
    pub operation: HomeOperation,
    /// Index kind: Flat, HNSW, PQ, IVF or LSH.
    pub kind: String,
    /// The two places.
    pub places: (Where, Where),
    /// Nanoseconds per call in each place: the median over rounds of each round's median.
    pub call_ns: (f64, f64),
    /// By how many nanoseconds a call takes longer in the first place, from each round's medians.
    pub added_ns: Interval,
    /// Speed in the first over speed in the second.
    pub ratio: Ratio,
    /// Every call of the rounds that count.
    pub rounds: Vec<Round>,
}

/// The data of all lines: the protocol's.
pub struct HomesBench<'a> {
    dataset: &'a Dataset,
    /// Where FUSE is mounted, and where the kernel's VexFS is, if it is.
    fuse: &'a Path,
    kernel: Option<&'a Path>,
}

type BoxedContender = Box<dyn Contender>;

impl<'a> HomesBench<'a> {
    /// Uses these mounted homes.
    pub fn new(dataset: &'a Dataset, fuse: &'a Path, kernel: Option<&'a Path>) -> Self {
        HomesBench { dataset, fuse, kernel }
    }

    /// The pairs of places that can be compared here.
    pub fn places(&self) -> Vec<(Where, Where)> {
        let mut places = vec![(Where::Fuse, Where::InProcess)];
        if self.kernel.is_some() {
            places.extend([(Where::Kernel, Where::InProcess), (Where::Kernel, Where::Fuse)]);
        }
        places
    }

    /// Times searches by an index of `kind` in two places, whose answers must be the same.
    ///
    /// # Errors
    /// If a side fails, or the answers differ.
    pub fn search(&self, kind: Kind, places: (Where, Where)) -> Result<HomesLine, Failure> {
        let (mut a, mut b) = (self.side(kind, places.0)?, self.side(kind, places.1)?);
        // Use the same batches, because they determine when a structure is trained.
        for side in [&mut a, &mut b] {
            fill(&mut **side, self.dataset, &PROTOCOL)?;
        }
        self.require_alike(&mut *a, &mut *b)?;
        let search = |side: &mut dyn Contender| {
            let answers = side.search(&self.dataset.queries, PROTOCOL.k)?;
            answers.times(side.name())
        };
        let rounds = rounds::rounds(PROTOCOL.rounds(), |_| search(&mut *a), |_| search(&mut *b))?;
        line(HomeOperation::Search, kind, places, rounds)
    }

    /// Times insertion row by row into an index of `kind` in two places.
    ///
    /// # Errors
    /// If a side fails, or does not hold the rows afterwards.
    pub fn insertion(&self, kind: Kind, places: (Where, Where)) -> Result<HomesLine, Failure> {
        let (mut a, mut b) = (self.side(kind, places.0)?, self.side(kind, places.1)?);
        let insert = |side: &mut dyn Contender, round: usize| {
            let first = round * PROTOCOL.insertion_batch;
            (first..first + PROTOCOL.insertion_batch)
                .map(|row| side.insert(row as u64, self.dataset.row(row))?.time(side.name()))
                .collect::<Result<Vec<Duration>, Failure>>()
        };
        let rounds = rounds::rounds(
            PROTOCOL.rounds(),
            |round| insert(&mut *a, round),
            |round| insert(&mut *b, round),
        )?;
        self.require_alike(&mut *a, &mut *b)?;
        line(HomeOperation::Insertion, kind, places, rounds)
    }

    /// An empty index of `kind`.
    fn side(&self, kind: Kind, place: Where) -> Result<BoxedContender, Failure> {
        let dim = u32::try_from(self.dataset.dim)?;
        let declaration = Declaration { kind, ..Declaration::flat(dim) };
        let file = |home: Home, mount: &Path| {
            let file = VexfsFile::create(home::name(home), &mount.join("bench.f32"), declaration)?;
            Ok::<BoxedContender, Failure>(Box::new(file))
        };
        match (place, self.kernel) {
            (Where::InProcess, _) => Ok(Box::new(InProcess::new(&declaration)?)),
            (Where::Fuse, _) => file(Home::Fuse, self.fuse),
            (Where::Kernel, Some(mount)) => file(Home::Kernel, mount),
            (Where::Kernel, None) => Err(Failure::new("the kernel's VexFS is not mounted here")),
        }
    }

    /// Checks that both did the same work: they give the same answers, to the last bit.
    fn require_alike(&self, a: &mut dyn Contender, b: &mut dyn Contender) -> Result<(), Failure> {
        let answered = |side: &mut dyn Contender| {
            let last = side.search(&self.dataset.queries, PROTOCOL.k)?.answers;
            Ok::<_, Failure>(Answered::of(last))
        };
        answered(a)?.same_as(&answered(b)?).context(format!("{} and {}", a.name(), b.name()))
    }
}

fn line(
    operation: HomeOperation,
    kind: Kind,
    places: (Where, Where),
    mut rounds: Vec<Round>,
) -> Result<HomesLine, Failure> {
    rounds.drain(..PROTOCOL.warmups);
    let of_round = |times: &[u64]| {
        let times: Vec<f64> = times.iter().map(|&one| one as f64).collect();
        median(&times).unwrap_or(f64::NAN)
    };
    let (a, b): (Vec<f64>, Vec<f64>) =
        rounds.iter().map(|round| (of_round(&round.a_ns), of_round(&round.b_ns))).unzip();
    let added: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
    let ratios: Vec<f64> = rounds.iter().map(Round::log_ratio).collect();
    let too_few = || Failure::new("too few rounds for bounds");
    Ok(HomesLine {
        operation,
        kind: kind.title().to_owned(),
        places,
        call_ns: (median(&a).unwrap_or(f64::NAN), median(&b).unwrap_or(f64::NAN)),
        added_ns: Interval::of_median(&added).ok_or_else(too_few).context("added time")?,
        ratio: Ratio::of_rounds(&ratios).ok_or_else(too_few).context("ratio")?,
        rounds,
    })
}

/// The lines as a table.
pub fn table(lines: &[HomesLine]) -> String {
    let name = |place: Where| match place {
        Where::InProcess => "in process",
        Where::Fuse => "FUSE",
        Where::Kernel => "kernel",
    };
    let head = format!(
        "{:<10}{:<6}{:<22}{:>9}{:>9}  {:<27}{}\n",
        "operation",
        "kind",
        "",
        "us",
        "us",
        "added us [lower, upper]",
        "speed ratio [lower, upper]"
    );
    lines.iter().fold(head, |text, line| {
        let operation = match line.operation {
            HomeOperation::Search => "search",
            HomeOperation::Insertion => "insertion",
        };
        let places = format!("{} and {}", name(line.places.0), name(line.places.1));
        let (added, ratio) = (&line.added_ns, &line.ratio);
        let us = |nanoseconds: f64| nanoseconds / 1e3;
        let added =
            format!("{:.1} [{:.1}, {:.1}]", us(added.estimate), us(added.lower), us(added.upper));
        text + &format!(
            "{operation:<10}{:<6}{places:<22}{:>9.1}{:>9.1}  {added:<27}{ratio:.2}\n",
            line.kind,
            us(line.call_ns.0),
            us(line.call_ns.1),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::Order;

    #[test]
    fn a_line_tells_what_the_first_place_adds() {
        let round = |extra: u64| Round {
            order: Order::AB,
            a_ns: vec![30_000 + extra, 29_000 + extra, 90_000],
            b_ns: vec![20_000, 20_000, 80_000],
            controls: None,
            noise: None,
        };
        let rounds: Vec<Round> = (0..25).map(|at| round(at * 10)).collect();
        let places = (Where::Fuse, Where::InProcess);
        let line = line(HomeOperation::Search, Kind::Hnsw, places, rounds).unwrap();
        assert_eq!(line.rounds.len(), PROTOCOL.runs);
        // Rounds 5 to 24, whose medians are 10,050 to 10,240 ns apart.
        assert_eq!(line.added_ns.estimate, 10_145.0);
        assert_eq!((line.added_ns.lower, line.added_ns.upper), (10_100.0, 10_190.0));
        assert!(line.ratio.upper < 1.0);
        let table = table(&[line]);
        assert!(table.contains("HNSW  FUSE and in process"), "{table}");
        assert!(table.contains("10.1 [10.1, 10.2]"), "{table}");
    }
}
