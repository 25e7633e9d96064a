//! Competitors' servers as contenders: ChromaDB's own server, and the messages if there is none.
//!
//! No Qdrant server can be installed from a package registry. Its driver is tested on a stand-in of
//! ours that answers as Qdrant's documentation says, and on servers that are not Qdrant.

#[path = "servers/qdrant_stand_in.rs"]
mod qdrant_stand_in;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use evidence::competitor::Competitor;
use evidence::protocol::PROTOCOL;
use machine::deadline::wait_for;
use machine::project;
use measure::contender::{Contender, ContenderProgram, Driver, DriverLimits};
use measure::dataset::Dataset;
use measure::oracle::Oracle;
use rstest::rstest;
use serde_json::json;

use self::qdrant_stand_in::QdrantStandIn;

/// A running `chroma run`, which is ended and reaped on drop.
struct Chroma {
    server: Child,
    url: String,
    _directory: tempfile::TempDir,
}

impl Chroma {
    fn start() -> Chroma {
        let directory = tempfile::tempdir().unwrap();
        let log = File::create(directory.path().join("log")).unwrap();
        // The port is free unless somebody else takes it in between.
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let server = Command::new(project::python())
            .arg(project::cache().join("venv/bin/chroma"))
            .args(["run", "--host", "127.0.0.1", "--port", &port.to_string(), "--path"])
            .arg(directory.path().join("data"))
            .env("HOME", directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut chroma =
            Chroma { server, url: format!("http://127.0.0.1:{port}"), _directory: directory };
        wait_for("chroma run", Duration::from_secs(120), || {
            machine::require!(chroma.server.try_wait()?.is_none(), "chroma run has ended");
            Ok(answers_requests(port).then_some(()))
        })
        .unwrap();
        chroma
    }
}

/// Whether the server answers requests. A connection alone proves nothing: the port is taken before
/// the server answers, and a connection to a port without a listener may connect to itself.
fn answers_requests(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /api/v2/heartbeat HTTP/1.0\r\n\r\n")?;
        let mut status = String::new();
        BufReader::new(stream).read_line(&mut status)?;
        Ok(status)
    };
    ask().is_ok_and(|status| status.starts_with("HTTP/1.") && status.contains(" 200 "))
}

impl Drop for Chroma {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Names of the collections on the server.
fn collections(url: &str) -> String {
    let script = "import sys, chromadb; from urllib.parse import urlsplit as u; \
                  s = u(sys.argv[1]); \
                  print([c.name for c in chromadb.HttpClient(s.hostname, s.port).list_collections()])";
    let said = Command::new(project::python()).args(["-c", script, url]).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_chromadb_server_is_a_contender() {
    let chroma = Chroma::start();
    let program =
        ContenderProgram::server(Competitor::Chromadb, &chroma.url, json!({"ef_search": 256}));
    let mut driver = Driver::start(&program, &PROTOCOL, DriverLimits::default()).unwrap();
    let dataset = Dataset::of_protocol().unwrap();
    let rows = &dataset.base[..400 * PROTOCOL.dim];
    driver.insert(0, rows).unwrap().time("chromadb").unwrap();
    assert_eq!(driver.vectors().unwrap(), rows);
    let answers = driver.search(&rows[..PROTOCOL.dim], 3).unwrap();
    assert_eq!(answers.answers[0].ids[0], 0);
    answers.times("chromadb").unwrap();
    let described = driver.describe().unwrap();
    let configuration = &described["configuration"];
    assert_eq!(configuration["server"], chroma.url);
    assert_eq!(
        (&configuration["rows"], &configuration["hnsw"]["ef_search"]),
        (&400.into(), &256.into())
    );
    // Even without `close`, nothing stays on the server.
    assert!(collections(&chroma.url).contains("vexfs-validation-"));
    drop(driver);
    assert_eq!(collections(&chroma.url), "[]");
}

/// Rows are inserted, come back bit for bit and are found at their squared distances, with the
/// requests that Qdrant documents. The stand-in proves nothing about a real server.
#[test]
fn qdrants_driver_inserts_and_searches_on_a_stand_in() {
    let server = QdrantStandIn::start();
    let program = ContenderProgram::server(Competitor::Qdrant, &server.url(), json!({}));
    let mut driver = Driver::start(&program, &PROTOCOL, DriverLimits::default()).unwrap();
    let dataset = Dataset::generate(11, 400, PROTOCOL.dim, 20);
    for (number, rows) in dataset.base.chunks(200 * PROTOCOL.dim).enumerate() {
        driver.insert(200 * number as u64, rows).unwrap().time("qdrant").unwrap();
    }
    assert_eq!(driver.vectors().unwrap(), dataset.base);
    let answers = driver.search(&dataset.queries, PROTOCOL.k).unwrap();
    answers.times("qdrant").unwrap();
    let oracle = Oracle::new(&dataset, &dataset.queries, PROTOCOL.k);
    let ids = answers.answers.iter().map(|answer| &answer.ids[..]);
    assert_eq!(oracle.mean_recall(ids).unwrap(), 1.0);
    for (query, answer) in answers.answers.iter().enumerate() {
        oracle.check_distances(query, &answer.ids, &answer.distances).unwrap();
    }
    let described = driver.describe().unwrap();
    let configuration = &described["configuration"];
    assert_eq!(configuration["server"], server.url());
    assert_eq!(configuration["index"], "brute force");
    assert_eq!(
        (&configuration["rows"], &configuration["indexed_vectors"]),
        (&400.into(), &0.into())
    );
    let collections = server.collections();
    assert!(collections.len() == 1 && collections[0].starts_with("vexfs-validation-"));
    driver.close().unwrap();
    assert_eq!(server.collections(), [""; 0]);
    let asked = [
        "GET /",
        "PUT",
        "PUT points?wait=true",
        "GET",
        "POST points",
        "POST points/query",
        "DELETE",
    ];
    assert_eq!(server.asked(), asked);
}

#[test]
fn a_qdrant_collection_goes_even_where_nobody_closes_its_driver() {
    let server = QdrantStandIn::start();
    let program = ContenderProgram::server(Competitor::Qdrant, &server.url(), json!({}));
    let driver = Driver::start(&program, &PROTOCOL, DriverLimits::default()).unwrap();
    assert_eq!(server.collections().len(), 1);
    drop(driver);
    assert_eq!(server.collections(), [""; 0]);
}

fn refused(competitor: Competitor, url: &str) -> String {
    let program = ContenderProgram::server(competitor, url, json!({}));
    Driver::start(&program, &PROTOCOL, DriverLimits::default())
        .err()
        .expect("no server")
        .to_string()
}

#[rstest]
#[case::chromadb(Competitor::Chromadb, "no ChromaDB server answers at")]
#[case::qdrant(Competitor::Qdrant, "no Qdrant server answers at")]
fn a_missing_server_is_reported(#[case] competitor: Competitor, #[case] part: &str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let said = refused(competitor, &url);
    assert!(
        said.contains(part) && said.contains(&url) && said.contains("correct the URL"),
        "{said}"
    );
}

/// This server is not a Qdrant; the test only shows how the driver reports an unexpected answer.
#[rstest]
#[case::an_error("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno key", "403 b'no key'")]
#[case::no_json("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "is no JSON: b'hello'")]
#[case::no_http("hello", "no Qdrant server answers at")]
fn what_another_server_answers_is_shown(#[case] answer: &'static str, #[case] part: &str) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    });
    let said = refused(Competitor::Qdrant, &url);
    server.join().unwrap();
    assert!(said.contains(part), "{said}");
}
