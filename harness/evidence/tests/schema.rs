//! `docs/evidence.schema.json` matches the types, and allows exactly what is written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use evidence::facts::{SOAK_CYCLE, SOAK_TRIAL, SoakCycle};
use evidence::{Event, SCHEMA_VERSION, schema};
use serde_json::{Value, json};

/// When set, the test writes the published schema anew.
const UPDATE_VARIABLE: &str = "VEXFS_VALIDATION_UPDATE_SCHEMA";
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
    let events = known["oneOf"].as_array().unwrap().iter();
    let name = |one: &Value| one["properties"]["event"]["const"].as_str().unwrap().to_owned();
    assert_eq!(seen, events.map(name).collect(), "events seen, and in the schema");
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let made = serde_json::to_string_pretty(&schema::of_a_record()).unwrap() + "\n";
    if std::env::var_os(UPDATE_VARIABLE).is_some() {
        // Replace it in one step, because the other tests read it meanwhile.
        let new = format!("{SCHEMA}.new");
        std::fs::write(&new, &made).unwrap();
        std::fs::rename(&new, SCHEMA).unwrap();
    }
    let published = std::fs::read_to_string(SCHEMA).unwrap();
    assert!(
        published == made,
        "docs/evidence.schema.json is not what the types of harness/evidence say; write it anew \
         with {UPDATE_VARIABLE}=1 cargo test -p evidence --test schema, and raise SCHEMA_VERSION \
         where a field got another name or shape"
    );
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
#[case::other_version(|record: &mut Value| record["v"] = json!(SCHEMA_VERSION + 1))]
#[case::older_version(|record: &mut Value| record["v"] = json!(SCHEMA_VERSION - 1))]
#[case::no_chain(|record: &mut Value| { record.as_object_mut().unwrap().remove("prev"); })]
#[case::unknown_event(|record: &mut Value| record["event"] = json!("nosuch"))]
#[case::unknown_field(|record: &mut Value| record["nosuch"] = json!(1))]
#[case::wrong_type(|record: &mut Value| record["pid"] = json!("1"))]
#[case::no_such_place(|record: &mut Value| record["place"] = json!("moon"))]
fn an_invalid_record_is_refused(#[case] spoil: fn(&mut Value)) {
    let schema = Schema::load();
    for mut record in records() {
        spoil(&mut record);
        assert!(schema.check(&record).is_err(), "{record}");
    }
}

/// Each case is a place in a record, by JSON pointer, and a value that is not allowed there.
#[rstest::rstest]
#[case::hash("/prev", json!("0f"))]
#[case::hash_of_the_end("/evidence/sha256", json!("0f"))]
#[case::no_line_at_the_end("/evidence/lines", json!(0))]
#[case::time("/seconds", json!(-1.0))]
#[case::recall("/a/recall", json!(1.5))]
#[case::accelerator("/accelerator", json!("unknown"))]
#[case::state("/state", json!("fine"))]
#[case::fault("/fault", json!("mine"))]
#[case::clock("/clock", json!("sundial"))]
#[case::order("/passes/0/0/order", json!("AA"))]
#[case::no_controls("/passes/0/0/controls", json!(null))]
#[case::no_noise("/passes/0/0/noise", json!(null))]
#[case::no_end("/evidence", json!(null))]
#[case::no_processor("/cpus", json!(-1))]
#[case::exit_code("/code", json!(256))]
#[case::cycles("/value/microseconds", json!("long"))]
fn an_impossible_value_is_refused(#[case] pointer: &str, #[case] value: Value) {
    let schema = Schema::load();
    let mut tried = 0;
    for mut record in records() {
        if let Some(place) = record.pointer_mut(pointer) {
            *place = value.clone();
            assert!(schema.check(&record).is_err(), "{record}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no golden run has {pointer}");
}

#[rstest::rstest]
fn an_unknown_field_is_refused_inside_a_record_too(
    #[values(
        "/qemu",
        "/evidence",
        "/place_marks/0",
        "/a",
        "/b",
        "/passes/0/0",
        "/passes/0/0/controls",
        "/passes/0/0/noise",
        "/disturbed/0",
        "/value"
    )]
    pointer: &str,
) {
    let schema = Schema::load();
    let mut tried = 0;
    for mut record in records() {
        if let Some(Value::Object(fields)) = record.pointer_mut(pointer) {
            fields.insert("nosuch".into(), json!(1));
            assert!(schema.check(&record).is_err(), "{record}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no golden run has {pointer}");
}
