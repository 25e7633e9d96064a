//! A contender in a process of its own, driven by JSON lines (fixtures/competitors/README.md).

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use evidence::protocol::Protocol;
use machine::failure::{Failure, WithContext};
use machine::require;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::interface::{Answer, Answers, Contender, Insertion};
use super::process::Process;
use super::program::{ContenderProgram, DriverLimits};
use crate::dataset;

/// How many characters of a reply a failure shows.
const SHOWN: usize = 200;

/// A running driver.
pub struct Driver {
    name: String,
    process: Process,
    limits: DriverLimits,
    protocol: Protocol,
    versions: Value,
    requests: u64,
    /// Rows, queries and vectors that are read back are passed in files here, so that little goes
    /// through the pipes.
    directory: TempDir,
    file: File,
    rows: u64,
    /// How long the driver may take, after its input has ended, to clean up on a server.
    farewell: Option<Duration>,
}

/// The time for a server to delete a collection.
const FAREWELL: Duration = Duration::from_secs(30);

impl Drop for Driver {
    fn drop(&mut self) {
        // Best effort: a server that has gone leaves nothing to clean up, and the process is killed
        // next.
        if let Some(limit) = self.farewell {
            let _ = self.process.finish(Instant::now() + limit);
        }
    }
}

#[derive(Deserialize)]
struct Started {
    protocol: Value,
    versions: Value,
}

#[derive(Deserialize)]
struct Inserted {
    nanoseconds: u64,
}

#[derive(Deserialize)]
struct Searched {
    answers: Vec<DriverAnswer>,
}

#[derive(Deserialize)]
struct DriverAnswer {
    ids: Vec<u64>,
    squared_distances: Vec<f32>,
    nanoseconds: u64,
}

#[derive(Deserialize)]
struct ReadBack {
    rows: u64,
}

#[derive(Deserialize)]
struct Described {
    description: Value,
}

#[derive(Deserialize)]
struct Acknowledged {}

impl Driver {
    /// Starts a driver and gives it the protocol.
    ///
    /// # Errors
    /// If it cannot be run, does not answer in time, or repeats a protocol other than the one it
    /// was given.
    pub fn start(
        program: &ContenderProgram,
        protocol: &Protocol,
        limits: DriverLimits,
    ) -> Result<Self, Failure> {
        let name = &program.name;
        let directory = tempfile::Builder::new()
            .prefix(&format!("vexfs-{name}-"))
            .tempdir()
            .context(format!("a temporary directory for {name}"))?;
        let path = directory.path().join("transfer.f32");
        let file = File::create_new(&path).context(path.display())?;
        let mut command = Command::new(&program.program);
        // Libraries keep caches under HOME, which is read-only in the guest.
        command.args(&program.arguments).env("HOME", directory.path());
        let process = Process::start(&format!("the driver of {name}"), command)?;
        let process = process.until(limits.interrupted);
        let mut driver = Driver {
            name: name.clone(),
            process,
            limits,
            protocol: *protocol,
            versions: Value::Null,
            requests: 0,
            directory,
            file,
            rows: 0,
            farewell: program.is_server().then_some(FAREWELL),
        };
        let given = serde_json::to_value(protocol)?;
        let started: Started = driver.ask(
            "start",
            json!({
                "protocol": given,
                "options": program.options,
                "directory": driver.directory.path(),
            }),
        )?;
        require!(
            started.protocol == given,
            "the driver of {name} was given the protocol {given} and repeats {}",
            started.protocol
        );
        driver.versions = started.versions;
        Ok(driver)
    }

    /// Sets parameters that can be changed between searches, e.g. `{"ef": 64}`.
    pub fn configure(&mut self, options: &Value) -> Result<(), Failure> {
        let Acknowledged {} = self.ask("configure", json!({"options": options}))?;
        Ok(())
    }

    /// Ends the driver in an orderly way.
    ///
    /// # Errors
    /// If it does not exit with status 0 in time.
    pub fn close(mut self) -> Result<(), Failure> {
        let Acknowledged {} = self.ask("close", json!({}))?;
        self.farewell = None;
        let deadline = Instant::now() + self.limits.request;
        self.process.finish(deadline)
    }

    /// Sends one request and reads its reply.
    fn ask<R: DeserializeOwned>(&mut self, op: &str, arguments: Value) -> Result<R, Failure> {
        let limit = if self.requests == 0 { self.limits.start } else { self.limits.request };
        self.requests += 1;
        let mut request = arguments;
        request["id"] = self.requests.into();
        request["op"] = op.into();
        let reply = self
            .process
            .write_line(&request.to_string())
            .and_then(|()| self.process.read_line(Instant::now() + limit))
            .context(format!("request '{op}' (limit {limit:?})"))?;
        self.parse(op, &reply)
    }

    fn parse<R: DeserializeOwned>(&self, op: &str, reply: &str) -> Result<R, Failure> {
        let rubbish = |why: &dyn std::fmt::Display| {
            let shown: String = reply.chars().take(SHOWN).collect();
            Failure::new(format!(
                "the driver of {} answered '{op}' with an invalid reply ({why}): {shown:?}{}",
                self.name,
                self.process.stderr_tail()
            ))
        };
        let value: Value = serde_json::from_str(reply).map_err(|error| rubbish(&error))?;
        if value["id"] != self.requests {
            return Err(rubbish(&format!("its id is not {}", self.requests)));
        }
        if let Some(error) = value["error"].as_str() {
            return Err(Failure::new(format!(
                "{} failed at '{op}': {error}{}",
                self.name,
                self.process.stderr_tail()
            )));
        }
        serde_json::from_value(value).map_err(|error| rubbish(&error))
    }

    /// Writes vectors to the file that the driver reads, and returns the arguments that describe
    /// them.
    fn hand_over(&mut self, vectors: &[f32]) -> Result<Value, Failure> {
        let dim = self.protocol.dim;
        require!(
            vectors.len().is_multiple_of(dim) && !vectors.is_empty(),
            "{} values are not a whole number of rows of {dim}",
            vectors.len()
        );
        let path = self.transfer();
        self.file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.write_all(dataset::bytes(vectors)))
            .context(format!("handing rows to {} ({})", self.name, path.display()))?;
        Ok(json!({"path": path, "offset": 0, "rows": vectors.len() / dim, "dim": dim}))
    }

    fn transfer(&self) -> PathBuf {
        self.directory.path().join("transfer.f32")
    }
}

impl Contender for Driver {
    fn name(&self) -> &str {
        &self.name
    }

    fn describe(&mut self) -> Result<Value, Failure> {
        let described: Described = self.ask("describe", json!({}))?;
        Ok(json!({"versions": self.versions, "configuration": described.description}))
    }

    fn insert(&mut self, first_row: u64, rows: &[f32]) -> Result<Insertion, Failure> {
        require!(first_row == self.rows, "{} holds {} rows, not {first_row}", self.name, self.rows);
        let mut request = self.hand_over(rows)?;
        request["first_row"] = first_row.into();
        let started = Instant::now();
        let inserted: Inserted = self.ask("insert", request)?;
        let wall = started.elapsed();
        self.rows += (rows.len() / self.protocol.dim) as u64;
        Ok(Insertion { took: Duration::from_nanos(inserted.nanoseconds), wall })
    }

    fn vectors(&mut self) -> Result<Vec<f32>, Failure> {
        let path = self.directory.path().join("vectors.f32");
        let read_back: ReadBack = self.ask("vectors", json!({"path": path}))?;
        let bytes = std::fs::read(&path).context(format!(
            "vectors of {} ({})",
            self.name,
            path.display()
        ))?;
        let vectors = dataset::values(&bytes)?;
        require!(
            vectors.len() as u64 == read_back.rows * self.protocol.dim as u64,
            "{} reports that it gave {} rows back, but wrote {} values",
            self.name,
            read_back.rows,
            vectors.len()
        );
        Ok(vectors)
    }

    fn search(&mut self, queries: &[f32], k: usize) -> Result<Answers, Failure> {
        let mut request = self.hand_over(queries)?;
        request["k"] = k.into();
        let started = Instant::now();
        let searched: Searched = self.ask("search", request)?;
        let wall = started.elapsed();
        let (asked, answered) = (queries.len() / self.protocol.dim, searched.answers.len());
        require!(asked == answered, "{} answered {answered} of {asked} queries", self.name);
        let answers = searched
            .answers
            .into_iter()
            .map(|answer| Answer {
                ids: answer.ids,
                distances: answer.squared_distances,
                took: Duration::from_nanos(answer.nanoseconds),
            })
            .collect();
        Ok(Answers { answers, wall })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::protocol::PROTOCOL;

    /// A driver that prints `replies`, one per request, whatever the request is.
    fn replying(replies: &[Value]) -> ContenderProgram {
        let mut script = String::new();
        for reply in replies {
            let line = reply.as_str().map_or_else(|| reply.to_string(), str::to_owned);
            script.push_str(&format!("read -r _; printf '%s\\n' '{line}'\n"));
        }
        ContenderProgram {
            name: "fake".into(),
            competitor: None,
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            options: json!({}),
        }
    }

    fn started() -> Value {
        json!({"id": 1, "protocol": PROTOCOL, "versions": {"fake": "1"}})
    }

    fn start(replies: &[Value]) -> Result<Driver, Failure> {
        Driver::start(&replying(replies), &PROTOCOL, DriverLimits::default())
    }

    fn row() -> Vec<f32> {
        vec![0.5; PROTOCOL.dim]
    }

    #[test]
    fn a_whole_conversation() {
        let mut driver = start(&[
            started(),
            json!({"id": 2, "nanoseconds": 5}),
            json!({"id": 3, "answers":
                [{"ids": [0], "squared_distances": [0.0], "nanoseconds": 7}]}),
            json!({"id": 4, "description": {"index": "none"}}),
            json!({"id": 5}),
            json!({"id": 6}),
        ])
        .unwrap();
        let insertion = driver.insert(0, &row()).unwrap();
        assert_eq!(insertion.time("fake").unwrap(), Duration::from_nanos(5));
        let answers = driver.search(&row(), 10).unwrap();
        assert_eq!(answers.answers[0].ids, [0]);
        assert_eq!(driver.describe().unwrap()["versions"]["fake"], "1");
        driver.configure(&json!({"ef": 64})).unwrap();
        driver.close().unwrap();
    }

    #[rstest::rstest]
    #[case::rubbish(vec!["Loading model ...".into()], "\"Loading model ...\"")]
    #[case::another_id(vec![json!({"id": 9})], "its id is not 1")]
    #[case::half_a_reply(vec![json!({"id": 1, "protocol": PROTOCOL})], "versions")]
    #[case::an_error(vec![json!({"id": 1, "error": "no space"})], "fake failed at 'start': no space")]
    #[case::other_protocol(
        vec![json!({"id": 1, "protocol": {"queries": 99}, "versions": {}})],
        r#"repeats {"queries":99}"#
    )]
    #[case::death(vec![], "exited with status 0 before it answered")]
    fn a_bad_start_is_named(#[case] replies: Vec<Value>, #[case] part: &str) {
        let message = start(&replies).err().expect("refused").to_string();
        assert!(message.contains(part), "{message}");
    }

    #[rstest::rstest]
    #[case::died(vec![], "exited with status 0")]
    #[case::fewer_answers(vec![json!({"id": 2, "answers": []})], "answered 0 of 1 queries")]
    #[case::negative_id(
        vec![json!({"id": 2, "answers":
            [{"ids": [-1], "squared_distances": [0.0], "nanoseconds": 1}]})],
        "an invalid reply"
    )]
    fn a_bad_search_is_named(#[case] replies: Vec<Value>, #[case] part: &str) {
        let mut driver = start(&[vec![started()], replies].concat()).unwrap();
        let message = driver.search(&row(), 10).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn a_hung_driver_has_a_limit() {
        let mut program = replying(&[]);
        program.arguments[1] = "exec sleep 1000".into();
        let limits = DriverLimits { start: Duration::from_millis(100), ..DriverLimits::default() };
        let message = Driver::start(&program, &PROTOCOL, limits).err().unwrap().to_string();
        assert!(message.contains("'start' (limit 100ms)"), "{message}");
        assert!(message.contains("did not answer in time"), "{message}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let mut program = replying(&[]);
        program.program = "/nonexistent/python".into();
        let failure = Driver::start(&program, &PROTOCOL, DriverLimits::default()).err().unwrap();
        assert!(failure.to_string().contains("/nonexistent/python"), "{failure}");
    }
}
