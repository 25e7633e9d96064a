//! `docs/evidence.schema.json` holds what is written, and only that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use evidence::Event;
use evidence::facts::{SOAK_CYCLE, SOAK_TRIAL, SoakCycle};
use serde_json::{Value, json};

/// The schema that is published.
const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evidence.schema.json");

struct Schema {
    schemas: Schemas,
    record: SchemaIndex,
}

impl Schema {
    fn load() -> Schema {
        let mut schemas = Schemas::new();
        let record = Compiler::new().compile(SCHEMA, &mut schemas);
        Schema { record: record.unwrap_or_else(|error| panic!("{error}")), schemas }
    }

    fn check(&self, record: &Value) -> Result<(), String> {
        self.schemas.validate(record, self.record).map_err(|error| format!("{error:#}"))
    }
}

/// Every whole line of the golden runs.
fn records() -> Vec<Value> {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../verdict/tests/runs");
    let files = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let trails = files(&runs)
        .into_iter()
        .flat_map(|run| files(&run))
        .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    trails
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn every_record_is_as_the_schema_says() {
    let schema = Schema::load();
    let mut seen = BTreeSet::new();
    for record in records() {
        schema.check(&record).unwrap_or_else(|why| panic!("{record}\n{why}"));
        seen.insert(record["event"].as_str().unwrap().to_owned());
    }
    let page = std::fs::read_to_string(SCHEMA).unwrap();
    let known: Value = serde_json::from_str(&page).unwrap();
    let references = known["oneOf"].as_array().unwrap();
    let named = |one: &Value| one["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    assert_eq!(seen, references.iter().map(named).collect(), "events seen, and in the schema");
}

#[test]
fn a_soaks_cycle_is_as_the_schema_says() {
    let schema = Schema::load();
    let mut record = records().swap_remove(0);
    let fields = record.as_object_mut().unwrap();
    fields.retain(|name, _| ["v", "seq", "prev", "time_ms", "place", "pid"].contains(&&**name));
    let cycle = SoakCycle {
        number: 0,
        microseconds: 7_200_000,
        loads: vec!["fio".into()],
        searches: 50,
        writes: 40,
        refused: 100,
        kernel_memory_kib: 60_000,
        live_allocations: 0,
        log_lines: 0,
    };
    let (trial, name) = (SOAK_TRIAL.to_owned(), SOAK_CYCLE.to_owned());
    let fact = Event::Fact { trial, name, value: json!(cycle) };
    fields.append(serde_json::to_value(fact).unwrap().as_object_mut().unwrap());
    schema.check(&record).unwrap_or_else(|why| panic!("{record}\n{why}"));
    record["value"]["nosuch"] = json!(1);
    assert!(schema.check(&record).is_err());
}

#[rstest::rstest]
#[case::other_version(|record: &mut Value| record["v"] = json!(2))]
#[case::no_chain(|record: &mut Value| { record.as_object_mut().unwrap().remove("prev"); })]
#[case::unknown_event(|record: &mut Value| record["event"] = json!("nosuch"))]
#[case::unknown_field(|record: &mut Value| record["nosuch"] = json!(1))]
#[case::wrong_type(|record: &mut Value| record["pid"] = json!("1"))]
#[case::no_such_place(|record: &mut Value| record["place"] = json!("moon"))]
fn what_is_no_record_is_refused(#[case] spoil: fn(&mut Value)) {
    let schema = Schema::load();
    for mut record in records() {
        spoil(&mut record);
        assert!(schema.check(&record).is_err(), "{record}");
    }
}
