//! Checks that a competitor used the index that the rule names: after the searches its driver reads the
//! configuration back. A ratio over another index would compare something else.

use evidence::competitor::Competitor;
use evidence::protocol::Protocol;
use machine::failure::Failure;
use machine::{fail, require};
use measure::contender::ContenderProgram;
use serde_json::Value;

/// `ef_search` of ChromaDB when none is asked for.
const CHROMADB_DEFAULT_EF_SEARCH: u64 = 100;
/// ChromaDB's default `max_neighbors`, which is not changed here. Where both are timed, FUSE's
/// graph is built with the same parameters.
pub(super) const CHROMADB_M: u32 = 16;
/// ChromaDB's default `ef_construction`, see [`CHROMADB_M`].
pub(super) const CHROMADB_EF_CONSTRUCTION: u32 = 100;

/// Checks the `configuration` of a driver's description.
///
/// ChromaDB reads its configuration back; it always has a graph. Qdrant searches by brute force
/// below its indexing threshold, and counts the vectors that it indexed. Either is accepted if the
/// count agrees with the index that it names.
///
/// # Errors
/// What does not match, with the expected and the reported value.
pub fn check(
    program: &ContenderProgram,
    configuration: &Value,
    protocol: &Protocol,
) -> Result<(), Failure> {
    let name = &program.name;
    let rows = &configuration["rows"];
    require!(
        *rows == protocol.rows,
        "{name} was given {} rows and holds {rows}: not authentic",
        protocol.rows
    );
    match program.competitor {
        Some(Competitor::Chromadb) => chromadb(&program.options, configuration, protocol),
        Some(Competitor::Qdrant) => qdrant(configuration, protocol),
        None => Ok(()),
    }
}

fn chromadb(options: &Value, configuration: &Value, protocol: &Protocol) -> Result<(), Failure> {
    let asked = options["ef_search"].as_u64().unwrap_or(CHROMADB_DEFAULT_EF_SEARCH);
    let hnsw = &configuration["hnsw"];
    let space = serde_json::to_value(protocol.metric)?;
    require!(
        hnsw["ef_search"] == asked && hnsw["space"] == space,
        "chromadb should search at ef_search {asked} in space {space}, but reports {hnsw}: not \
         authentic"
    );
    let (m, ef) = (CHROMADB_M, CHROMADB_EF_CONSTRUCTION);
    require!(
        hnsw["max_neighbors"] == m && hnsw["ef_construction"] == ef,
        "chromadb should build its graph with its defaults, max_neighbors {m} and ef_construction \
         {ef}, but reports {hnsw}: not authentic"
    );
    Ok(())
}

fn qdrant(configuration: &Value, protocol: &Protocol) -> Result<(), Failure> {
    let Some(indexed) = configuration["indexed_vectors"].as_u64() else {
        fail!("qdrant does not say how many vectors it indexed: {configuration}")
    };
    let index = &configuration["index"];
    let borne_out = match index.as_str() {
        Some("hnsw") => indexed >= protocol.rows as u64,
        Some("brute force") => indexed == 0,
        _ => false,
    };
    require!(
        borne_out,
        "qdrant says that it answers by {index}, and that it indexed {indexed} of {} vectors: not \
         authentic",
        protocol.rows
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use evidence::protocol::PROTOCOL;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn said(competitor: Competitor, options: Value, configuration: &Value) -> Result<(), String> {
        let program = ContenderProgram::competitor(competitor, options);
        check(&program, configuration, &PROTOCOL).map_err(|failure| failure.to_string())
    }

    #[rstest]
    #[case(json!({"ef_search": 256}), chromadbs_hnsw("l2", 256, 100), true)]
    #[case(json!({"ef_search": null}), chromadbs_hnsw("l2", 100, 100), true)]
    #[case(json!({"ef_search": 256}), chromadbs_hnsw("l2", 100, 100), false)]
    #[case(json!({"ef_search": 256}), chromadbs_hnsw("cosine", 256, 100), false)]
    #[case(json!({"ef_search": 256}), chromadbs_hnsw("l2", 256, 400), false)]
    #[case(json!({"ef_search": 256}), json!(null), false)]
    fn chromadbs_configuration_is_read_back(
        #[case] options: Value,
        #[case] hnsw: Value,
        #[case] fits: bool,
    ) {
        let said =
            said(Competitor::Chromadb, options, &json!({"rows": PROTOCOL.rows, "hnsw": hnsw}));
        assert_eq!(said.is_ok(), fits, "{said:?}");
    }

    fn chromadbs_hnsw(space: &str, search: u32, construction: u32) -> Value {
        json!({
            "space": space,
            "ef_search": search,
            "ef_construction": construction,
            "max_neighbors": 16,
        })
    }

    #[rstest]
    #[case(json!("brute force"), json!(0), true)]
    #[case(json!("hnsw"), json!(PROTOCOL.rows), true)]
    #[case(json!("hnsw"), json!(PROTOCOL.rows - 1), false)]
    #[case(json!("brute force"), json!(500), false)]
    #[case(json!("brute force"), json!(null), false)]
    fn qdrants_count_must_agree_with_its_index(
        #[case] index: Value,
        #[case] indexed: Value,
        #[case] fits: bool,
    ) {
        let configuration =
            json!({"rows": PROTOCOL.rows, "index": index, "indexed_vectors": indexed});
        let said = said(Competitor::Qdrant, json!({}), &configuration);
        assert_eq!(said.is_ok(), fits, "{said:?}");
    }

    #[test]
    fn missing_rows_are_noticed() {
        let said = said(Competitor::Qdrant, json!({}), &json!({"rows": 9_999}));
        assert_eq!(said.unwrap_err(), "qdrant was given 10000 rows and holds 9999: not authentic");
    }
}
