//! The JSON Schema of a record, derived from the types: `docs/evidence.schema.json`.

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use crate::event::Record;
use crate::facts::{
    COMPARED, Compared, LIVE_AFTER_USE, LOAD_CYCLE, LOAD_CYCLES, LoadCycle, LoadCycles, MODULE,
    ModuleIdentity, NOT_COMPARABLE, PROVENANCE, REPETITION, Repeated, SOAK_CYCLE, SoakCycle,
};

/// The schema of one line of evidence, as it is written today.
pub fn of_a_record() -> Schema {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let facts = [
        fact::<LoadCycle>(&mut generator, LOAD_CYCLE),
        fact::<LoadCycles>(&mut generator, LOAD_CYCLES),
        fact::<Option<u64>>(&mut generator, LIVE_AFTER_USE),
        fact::<ModuleIdentity>(&mut generator, MODULE),
        fact::<SoakCycle>(&mut generator, SOAK_CYCLE),
        fact::<Repeated>(&mut generator, REPETITION),
        fact::<Compared>(&mut generator, COMPARED),
        fact::<String>(&mut generator, PROVENANCE),
        fact::<Vec<String>>(&mut generator, NOT_COMPARABLE),
    ];
    let mut schema = generator.into_root_schema_for::<Record>();
    schema.insert("title".into(), json!("A record of the evidence of vexfs-validation"));
    let description = "One line of host.jsonl or guest.jsonl; docs/evidence.md says what the \
                       records mean.";
    schema.insert("description".into(), json!(description));
    schema.insert("allOf".into(), json!(facts));
    RecursiveTransform(as_prose).transform(&mut schema);
    schema
}

/// Doc comments are wrapped and link to code; a description is one line without links.
fn as_prose(schema: &mut Schema) {
    if let Some(Value::String(words)) = schema.get_mut("description") {
        *words = words.replace('\n', " ").replace("[`", "`").replace("`]", "`");
    }
}

/// A fact called `name` has a value of type `T`.
fn fact<T: JsonSchema>(generator: &mut SchemaGenerator, name: &str) -> Value {
    let properties = json!({ "event": { "const": "fact" }, "name": { "const": name } });
    json!({
        "if": { "properties": properties, "required": ["event", "name"] },
        "then": { "properties": { "value": generator.subschema_for::<T>() } },
    })
}
