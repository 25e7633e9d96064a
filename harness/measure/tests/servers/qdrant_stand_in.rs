//! A stand-in for a Qdrant server. It answers the few requests of Qdrant's REST interface that the
//! driver makes, as the documentation says. It is not a Qdrant: it shows what the driver sends and
//! how it reads the answers, but neither how fast Qdrant is nor that a real one answers in this
//! way.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

/// A collection's points and the size of their vectors.
#[derive(Default)]
struct Collection {
    size: usize,
    points: BTreeMap<u64, Vec<f32>>,
}

#[derive(Default)]
struct ServerState {
    collections: BTreeMap<String, Collection>,
    /// Method and path of each request, without the collection's name.
    asked: Vec<String>,
}

/// Serves on the loopback interface until it is dropped.
pub struct QdrantStandIn {
    address: SocketAddr,
    state: Arc<Mutex<ServerState>>,
    ending: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl QdrantStandIn {
    pub fn start() -> QdrantStandIn {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (state, ending) =
            (Arc::<Mutex<ServerState>>::default(), Arc::new(AtomicBool::new(false)));
        let (served, ended) = (Arc::clone(&state), Arc::clone(&ending));
        let listening = thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), Arc::clone(&served));
                // This thread ends with its connection, which ends with the driver.
                thread::spawn(move || serve(stream, &state));
            }
        });
        QdrantStandIn { address, state, ending, listening: Some(listening) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Names of the collections.
    pub fn collections(&self) -> Vec<String> {
        self.state.lock().unwrap().collections.keys().cloned().collect()
    }

    /// The requests that it got, each once, in the order in which they first came.
    pub fn asked(&self) -> Vec<String> {
        let mut asked: Vec<String> = Vec::new();
        for one in &self.state.lock().unwrap().asked {
            if !asked.contains(one) {
                asked.push(one.clone());
            }
        }
        asked
    }
}

impl Drop for QdrantStandIn {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

/// Answers the requests of one connection, until it is closed.
fn serve(stream: TcpStream, state: &Mutex<ServerState>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some((method, path, body)) = request(&mut reader) {
        let (status, reply) = state.lock().unwrap().answer(&method, &path, &body);
        let text = reply.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        if writer.write_all((head + &text).as_bytes()).is_err() {
            return;
        }
    }
}

/// Method, path and body; `None` if the connection has ended.
fn request(reader: &mut impl BufRead) -> Option<(String, String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        match header.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).ok()? };
    Some((method, path, body))
}

fn done(result: Value) -> (u16, Value) {
    (200, json!({ "result": result, "status": "ok", "time": 0.001 }))
}

fn refused(status: u16, why: &str) -> (u16, Value) {
    (status, json!({ "status": { "error": why }, "time": 0.001 }))
}

fn vector(value: &Value) -> Option<Vec<f32>> {
    value.as_array()?.iter().map(|one| one.as_f64().map(|one| one as f32)).collect()
}

impl ServerState {
    fn answer(&mut self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        if (method, path) == ("GET", "/") {
            self.asked.push("GET /".to_owned());
            return (200, json!({ "title": "qdrant - vector search engine", "version": "0.0.0" }));
        }
        let Some(rest) = path.strip_prefix("/collections/") else {
            return refused(404, "there is nothing here");
        };
        let (name, action) = rest.split_once('/').unwrap_or((rest, ""));
        self.asked.push(format!("{method} {action}").trim_end().to_owned());
        if (method, action) == ("PUT", "") {
            return self.create(name, body);
        }
        let Some(collection) = self.collections.get_mut(name) else {
            return refused(404, &format!("Not found: Collection `{name}` doesn't exist!"));
        };
        match (method, action) {
            ("GET", "") => done(collection.info()),
            ("DELETE", "") => {
                self.collections.remove(name);
                done(json!(true))
            }
            ("PUT", "points?wait=true") => collection.upsert(&body["batch"]),
            ("POST", "points/query") => collection.query(body),
            ("POST", "points") => collection.retrieve(body),
            _ => refused(405, "there is no such request"),
        }
    }

    fn create(&mut self, name: &str, body: &Value) -> (u16, Value) {
        let vectors = &body["vectors"];
        let (Some(size), Some("Euclid")) = (vectors["size"].as_u64(), vectors["distance"].as_str())
        else {
            return refused(400, &format!("Format error in JSON body: {vectors}"));
        };
        if self.collections.contains_key(name) {
            return refused(409, &format!("Wrong input: Collection `{name}` already exists!"));
        }
        let collection = Collection { size: size as usize, ..Collection::default() };
        self.collections.insert(name.to_owned(), collection);
        done(json!(true))
    }
}

impl Collection {
    /// Reports no graph: Qdrant has none below its indexing threshold.
    fn info(&self) -> Value {
        json!({
            "status": "green",
            "optimizer_status": "ok",
            "indexed_vectors_count": 0,
            "points_count": self.points.len(),
            "segments_count": 2,
            "config": { "params": { "vectors": { "size": self.size, "distance": "Euclid" } } },
        })
    }

    fn upsert(&mut self, batch: &Value) -> (u16, Value) {
        let ids = batch["ids"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let vectors = batch["vectors"].as_array().into_iter().flatten();
        for (id, given) in ids.zip(vectors) {
            match vector(given) {
                Some(vector) if vector.len() == self.size => self.points.insert(id, vector),
                _ => return refused(400, "Wrong input: Vector dimension error"),
            };
        }
        done(json!({ "operation_id": 0, "status": "completed" }))
    }

    /// Searches exactly, nearest first; the score is the distance itself, and not its square.
    fn query(&self, body: &Value) -> (u16, Value) {
        let Some(query) = vector(&body["query"]).filter(|query| query.len() == self.size) else {
            return refused(400, "Wrong input: Vector dimension error");
        };
        let distance = |row: &[f32]| {
            let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
            row.iter().zip(&query).map(square).sum::<f64>().sqrt()
        };
        let mut scored: Vec<(f64, u64)> =
            self.points.iter().map(|(&id, row)| (distance(row), id)).collect();
        scored.sort_by(|one, other| one.0.total_cmp(&other.0));
        scored.truncate(body["limit"].as_u64().unwrap_or(10) as usize);
        let points: Vec<Value> = scored
            .into_iter()
            .map(|(score, id)| json!({ "id": id, "version": 0, "score": score as f32 }))
            .collect();
        done(json!({ "points": points }))
    }

    /// Returns the points in reverse, because no order is promised.
    fn retrieve(&self, body: &Value) -> (u16, Value) {
        let ids = body["ids"].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let point = |id| {
            let vector = body["with_vector"].as_bool()?.then(|| self.points.get(&id))??;
            Some(json!({ "id": id, "vector": vector }))
        };
        let mut points: Vec<Value> = ids.filter_map(point).collect();
        points.reverse();
        done(json!(points))
    }
}
