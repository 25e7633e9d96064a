//! Checks what real trials write against `docs/evidence.schema.json`: trials of a criterion that is
//! run here, and whole runs, whose directories `VEXFS_VALIDATION_RUNS` lists, separated by `:`
//! (`make test` names those that it has left in the guest).

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

const RUNS_VARIABLE: &str = "VEXFS_VALIDATION_RUNS";

struct Schema {
    schemas: Schemas,
    record: SchemaIndex,
}

impl Schema {
    fn load() -> Schema {
        let path = machine::project::root().join("docs/evidence.schema.json");
        let mut schemas = Schemas::new();
        let record = Compiler::new().compile(path.to_str().unwrap(), &mut schemas).unwrap();
        Schema { schemas, record }
    }

    /// Checks every record in a run's directory, and returns how many there are.
    fn check(&self, dir: &Path) -> usize {
        let mut records = 0;
        for file in ["host.jsonl", "guest.jsonl"].map(|name| dir.join(name)) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            for (number, line) in text.lines().enumerate() {
                let told = || format!("{}, line {number}", file.display());
                let record: Value =
                    serde_json::from_str(line).unwrap_or_else(|_| panic!("{}", told()));
                if let Err(error) = self.schemas.validate(&record, self.record) {
                    panic!("{}: {record}\n{error:#}", told());
                }
                records += 1;
            }
        }
        records
    }
}

#[test]
fn a_criterion_writes_what_the_schema_says() {
    let directory = tempfile::tempdir().unwrap();
    let test = std::env::current_exe().unwrap();
    let examples = test.ancestors().nth(2).unwrap().join("examples");
    let config = directory.path().join("vexfs.toml");
    let mount = "'{program} {options} {mountpoint}'";
    let daemon = examples.join("plain_fuse");
    fs::write(&config, format!("fuse = {daemon:?}\nmount.fuse = {mount}\n")).unwrap();
    // One trial that passes, one that fails, and one that belongs elsewhere.
    for trial in ["fuse::append", "fuse::rename", "fuse::no_regression_around_the_module"] {
        let mut command = Command::new(examples.join("fuse_criterion"));
        command.args(["--exact", trial]).env("VEXFS_CONFIG", &config).env_remove("NEXTEST");
        command.env("VEXFS_VALIDATION_EVIDENCE", directory.path()).output().unwrap();
    }
    assert!(Schema::load().check(directory.path()) >= 4);
}

#[test]
fn whole_runs_are_as_the_schema_says() {
    let schema = Schema::load();
    let named = std::env::var_os(RUNS_VARIABLE).unwrap_or_default();
    for dir in std::env::split_paths(&named).filter(|dir| dir != &PathBuf::new()) {
        let dir = machine::project::root().join(dir);
        assert!(schema.check(&dir) > 0, "{} holds no evidence", dir.display());
    }
}
