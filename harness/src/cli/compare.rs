//! `vexfs-validate compare A B`: the rule on any two contenders.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use serde_json::json;
use vexfs_uapi::Kind;
use vexfs_uapi::client::Declaration;

use super::Stop;
use crate::clock::Clock;
use crate::contender::{
    Contender, Driver, InProcess, Limits, Program, Sides, Slowed, VexfsFile, insertion_rounds,
    search_rounds,
};
use crate::criteria::ratio::{Pass, Subject, measure};
use crate::dataset::Dataset;
use crate::evidence::Side;
use crate::exit;
use crate::failure::{Failure, While};
use crate::fuse::FuseMount;
use crate::oracle::Oracle;
use crate::protocol::PROTOCOL;
use crate::stats::LOOKS;
use crate::thresholds::Bound;
use crate::trial::{Exclusion, take_machine};
use crate::verdict::Decision;

/// Options of `compare`.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Contenders: engine[:KIND], fuse[:KIND], DIR[:KIND] (a directory on a \
                        mounted VexFS, with a / in it), chromadb[:EF_SEARCH][=URL], qdrant[=URL]. KIND is \
                        flat, hnsw, pq, ivf or lsh; URL is a running server's, as \
                        http://127.0.0.1:8000, whose collections of other names stay as they are.")]
pub struct Options {
    /// The contender whose speed is over the line
    a: Named,
    /// The contender whose speed is under it
    b: Named,
    /// How many of the preset looks (20, 60, 200 rounds) may be taken
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=LOOKS.len() as i64))]
    looks: u8,
}

/// A contender as the command line names it.
#[derive(Debug, Clone, PartialEq)]
enum Named {
    Engine(Kind),
    Fuse(Kind),
    Directory(PathBuf, Kind),
    /// `ef_search`, and a server's address.
    ChromaDb(Option<u32>, Option<String>),
    /// A server's address.
    Qdrant(Option<String>),
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (text, url) = match text.split_once('=') {
            Some((name, url)) if name.starts_with("chromadb") || name == "qdrant" => {
                (name, Some(server(url)?))
            }
            _ => (text, None),
        };
        let (name, detail) = text.rsplit_once(':').unwrap_or((text, ""));
        let kind = || match detail {
            "" | "flat" => Ok(Kind::Flat),
            "hnsw" => Ok(Kind::Hnsw),
            "pq" => Ok(Kind::Pq),
            "ivf" => Ok(Kind::Ivf),
            "lsh" => Ok(Kind::Lsh),
            _ => Err(format!("no kind of index is called {detail}; see --help")),
        };
        match (name, detail) {
            ("engine", _) => kind().map(Named::Engine),
            ("fuse", _) => kind().map(Named::Fuse),
            ("chromadb", "") => Ok(Named::ChromaDb(None, url)),
            ("chromadb", ef) => match ef.parse() {
                Ok(ef) => Ok(Named::ChromaDb(Some(ef), url)),
                Err(_) => Err(format!("ef_search is a number, and not {ef}")),
            },
            ("qdrant", "") => Ok(Named::Qdrant(url)),
            (path, _) if path.contains('/') => {
                kind().map(|kind| Named::Directory(PathBuf::from(path), kind))
            }
            _ => Err(format!("no contender is called {text}; see --help")),
        }
    }
}

/// The address of a server.
fn server(url: &str) -> Result<String, String> {
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match host {
        Some(host) if !host.is_empty() => Ok(url.to_owned()),
        _ => Err(format!("a server's address is like http://127.0.0.1:8000, and not {url:?}")),
    }
}

/// A contender that can be made, with the mount that it needs.
struct Source<'a> {
    named: &'a Named,
    mount: Option<FuseMount>,
}

impl<'a> Source<'a> {
    fn new(named: &'a Named) -> Result<Self, Failure> {
        let mount = match named {
            Named::Fuse(_) => Some(FuseMount::under_test()?),
            _ => None,
        };
        Ok(Source { named, mount })
    }

    /// An empty one; `file` where it is a file.
    fn make(&self, file: &str) -> Result<Box<dyn Contender>, Failure> {
        let dim = u32::try_from(PROTOCOL.dim)?;
        let of = |kind| Declaration { kind, ..Declaration::flat(dim) };
        let on = |name: &str, directory: &Path, kind| -> Result<Box<dyn Contender>, Failure> {
            Ok(Box::new(VexfsFile::create(name, &directory.join(file), of(kind))?))
        };
        let driver = |program: Program| -> Result<Box<dyn Contender>, Failure> {
            Ok(Box::new(Driver::start(&program, &PROTOCOL, Limits::default())?))
        };
        match self.named {
            Named::Engine(kind) => Ok(Box::new(InProcess::new(&of(*kind))?)),
            Named::Fuse(kind) => {
                let mount = self.mount.as_ref().map(FuseMount::path);
                on("fuse", mount.unwrap_or(Path::new("/")), *kind)
            }
            Named::Directory(directory, kind) => on("vexfs", directory, *kind),
            Named::ChromaDb(ef_search, url) => {
                let options = json!({ "ef_search": ef_search });
                driver(match url {
                    Some(url) => Program::server("chromadb", url, options),
                    None => Program::competitor("chromadb", options),
                })
            }
            Named::Qdrant(None) => driver(Program::competitor("qdrant", json!({}))),
            Named::Qdrant(Some(url)) => driver(Program::server("qdrant_server", url, json!({}))),
        }
    }

    fn end(self) -> Result<(), Failure> {
        self.mount.map_or(Ok(()), FuseMount::unmount)
    }
}

/// Both contenders and A's copies.
struct Four {
    a: Box<dyn Contender>,
    b: Box<dyn Contender>,
    again: Box<dyn Contender>,
    slowed: Slowed<Box<dyn Contender>>,
}

impl Four {
    fn new(a: &Source<'_>, b: &Source<'_>) -> Result<Self, Failure> {
        Ok(Four {
            a: a.make(".compare-a.f32")?,
            b: b.make(".compare-b.f32")?,
            again: a.make(".compare-again.f32")?,
            slowed: Slowed::new(a.make(".compare-slowed.f32")?, PROTOCOL.dim),
        })
    }

    fn sides(&mut self) -> Sides<'_> {
        let Four { a, b, again, slowed } = self;
        Sides { a, b, again, slowed }
    }

    fn describe(&mut self, recalls: Option<(f64, f64)>) -> Result<(Side, Side), Failure> {
        let side = |contender: &mut dyn Contender, recall| {
            let description = contender.describe()?;
            Ok::<_, Failure>(Side { contender: contender.name().to_owned(), recall, description })
        };
        Ok((
            side(&mut self.a, recalls.map(|(a, _)| a))?,
            side(&mut self.b, recalls.map(|(_, b)| b))?,
        ))
    }
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Stop> {
    compare(options).map_err(|failure| Stop::new(exit::SETUP, failure))?;
    Ok(ExitCode::SUCCESS)
}

fn compare(options: &Options) -> Result<(), Failure> {
    let _machine = take_machine(Exclusion::Alone)?;
    let (a, b) = (Source::new(&options.a)?, Source::new(&options.b)?);
    let bound = Bound { threshold: 1.0, strictly: true, decides: false, reason: "" };
    let clock = Clock::here()?;
    let subject = |rule| Subject { rule, trial: "compare", bound, clock };
    let looks = usize::from(options.looks);
    let dataset = Dataset::of_protocol()?;
    let mut filled = None;
    let measured = measure(&subject("insertion"), PROTOCOL.insertion_batch, looks, |_| {
        filled = None;
        let mut four = Four::new(&a, &b)?;
        let rounds = insertion_rounds(four.sides(), dataset, &PROTOCOL)?.stored;
        let (a, b) = four.describe(None)?;
        filled = Some(four);
        Ok(Pass { rounds, disturbed: vec![], a, b })
    })?;
    let show = |what: &str, decision: Result<Decision, String>| {
        let decision = decision.map_err(Failure::new).when(what.to_owned())?;
        println!("{what}: {decision}");
        Ok::<_, Failure>(())
    };
    show("insertion, A over B", Decision::of(&measured))?;
    let Some(mut four) = filled else { return Ok(()) };
    let oracle = Oracle::new(dataset, &dataset.queries, PROTOCOL.k);
    let further = dataset.further_queries(400);
    let unseen = Oracle::new(dataset, &further, PROTOCOL.k);
    let measured = measure(&subject("search"), PROTOCOL.queries, looks, |_| {
        let done = search_rounds(four.sides(), &oracle, &unseen, &PROTOCOL)?;
        let (a, b) = four.describe(Some((done.a.recall(), done.b.recall())))?;
        Ok(Pass { rounds: done.rounds, disturbed: done.disturbed, a, b })
    })?;
    show("search, A over B", Decision::of(&measured))?;
    let recall = |side: &Side| side.recall.unwrap_or_default();
    println!("recall@{}: A {:.4}, B {:.4}", PROTOCOL.k, recall(&measured.a), recall(&measured.b));
    println!("rounds disturbed and done again: {}", measured.disturbed.len());
    drop(four);
    a.end()?;
    b.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_have_names() {
        let named = |text: &str| text.parse::<Named>();
        assert_eq!(named("engine"), Ok(Named::Engine(Kind::Flat)));
        assert_eq!(named("fuse:hnsw"), Ok(Named::Fuse(Kind::Hnsw)));
        assert_eq!(named("/mnt/v:pq"), Ok(Named::Directory("/mnt/v".into(), Kind::Pq)));
        assert_eq!(named("./v"), Ok(Named::Directory("./v".into(), Kind::Flat)));
        assert_eq!(named("chromadb:256"), Ok(Named::ChromaDb(Some(256), None)));
        assert_eq!(named("qdrant"), Ok(Named::Qdrant(None)));
        let url = "http://127.0.0.1:8000";
        let server = Some(url.to_owned());
        assert_eq!(named(&format!("chromadb={url}")), Ok(Named::ChromaDb(None, server.clone())));
        assert_eq!(
            named(&format!("chromadb:256={url}")),
            Ok(Named::ChromaDb(Some(256), server.clone()))
        );
        assert_eq!(named(&format!("qdrant={url}")), Ok(Named::Qdrant(server)));
        let wrong = ["", "milvus", "fuse:tree", "chromadb:much", "qdrant:1", "qdrant=127.0.0.1"];
        for wrong in wrong {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }
}
