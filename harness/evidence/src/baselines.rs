//! Recorded benchmark figures of other systems, and which results may be compared with them.
//!
//! A recorded figure says nothing about another operation, dimension or size, and even less about
//! another machine. A figure that is not comparable is still shown, with the reason.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::competitor::Competitor;
use crate::thresholds::Bound;

/// The most components that a vector file can have. Repeats `vexfs_uapi::MAX_DIM`, because this
/// crate does not depend on that one.
pub const MAX_DIM: u32 = 4080;
/// Dimensions of embedding models are multiples of this; a rate in the wrong column is not.
const DIM_STEP: u32 = 32;
/// Benchmarks load round numbers of rows, multiples of this; a rate in the wrong column is not one.
const ROWS_STEP: u64 = 100;
/// Operations a second that no store has reached, over any transport.
const FASTEST: f64 = 10e6;

/// The figures that this program was built with. Figures in evidence are compared with these.
const REGISTERED: &str = include_str!("../../../fixtures/baselines/http-2025-05-31.json");

/// Why recorded figures are refused.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadFigures(String);

/// Returns [`BadFigures`] with a formatted message unless the condition holds.
macro_rules! require {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(BadFigures(format!($($message)+)));
        }
    };
}

/// A file of recorded figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Baselines {
    /// Where the figures come from.
    pub provenance: String,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// One recorded rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// The system that was measured.
    pub system: Competitor,
    /// The operation that was measured.
    pub operation: RatedOperation,
    /// Rows in the store.
    pub rows: u64,
    /// Components of a row.
    pub dim: u32,
    /// How the store was reached.
    pub transport: Transport,
    /// Operations a second.
    pub value: f64,
    /// The unit of `value`; it follows from the operation.
    pub unit: Unit,
    /// The day on which it was recorded, YYYY-MM-DD.
    pub date: String,
    /// What a reader must know.
    pub note: String,
}

/// What a rate counts.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum RatedOperation {
    /// Rows stored.
    Insertion,
    /// Queries answered.
    Search,
}

/// How a store is reached.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// A server, by HTTP.
    Http,
    /// A library.
    InProcess,
}

/// The unit of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Unit {
    /// Rows inserted a second.
    #[serde(rename = "rows/s")]
    RowsPerSecond,
    /// Queries answered a second.
    #[serde(rename = "queries/s")]
    QueriesPerSecond,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unit::RowsPerSecond => "rows/s",
            Unit::QueriesPerSecond => "queries/s",
        })
    }
}

impl fmt::Display for RatedOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RatedOperation::Insertion => "insertion",
            RatedOperation::Search => "search",
        })
    }
}

impl Baselines {
    /// The figures that this program was built with, independent of any checkout.
    ///
    /// # Errors
    /// If they are malformed, which a test rules out.
    pub fn registered() -> Result<Self, BadFigures> {
        Self::parse(REGISTERED)
    }

    /// Reads and checks a recorded file.
    ///
    /// # Errors
    /// If the file is missing or cut short, lacks a field, or holds a number that cannot be right
    /// for its field.
    pub fn load(path: &Path) -> Result<Self, BadFigures> {
        let restore = "restore it with: git restore fixtures/baselines";
        let path_shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            BadFigures(format!("the recorded figures in {path_shown} ({restore}): {error}"))
        })?;
        Self::parse(&text).map_err(|error| {
            BadFigures(format!("{path_shown} is not well-formed ({restore}): {error}"))
        })
    }

    fn parse(text: &str) -> Result<Self, BadFigures> {
        let baselines: Baselines =
            serde_json::from_str(text).map_err(|error| BadFigures(error.to_string()))?;
        require!(!baselines.provenance.trim().is_empty(), "it does not say where it comes from");
        require!(!baselines.figures.is_empty(), "it has no figures");
        let mut seen = BTreeSet::new();
        for (number, figure) in baselines.figures.iter().enumerate() {
            let name = format!("figure {}, {figure}", number + 1);
            figure.check().map_err(|error| BadFigures(format!("{name}: {error}")))?;
            let Figure { system, operation, rows, dim, transport, .. } = *figure;
            let first = seen.insert((system, operation, rows, dim, transport));
            require!(first, "{name}: it is recorded twice");
        }
        Ok(baselines)
    }

    /// The figure that `operation` on `rows` rows of `dim` components may be compared with.
    pub fn comparable(
        &self,
        system: Competitor,
        operation: RatedOperation,
        rows: u64,
        dim: u32,
    ) -> Result<&Figure, String> {
        let candidates: Vec<&Figure> = self
            .figures
            .iter()
            .filter(|figure| figure.system == system && figure.operation == operation)
            .collect();
        let fits = |figure: &&&Figure| figure.rows == rows && figure.dim == dim;
        candidates.iter().find(fits).copied().ok_or_else(|| {
            let sizes: Vec<String> = candidates
                .iter()
                .map(|figure| format!("{} x {}", figure.rows, figure.dim))
                .collect();
            format!(
                "not comparable: {system}'s {operation} of {rows} x {dim} was not recorded; \
                 recorded sizes: {}",
                if sizes.is_empty() { "none".to_owned() } else { sizes.join(", ") }
            )
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {} x {}", self.system, self.operation, self.rows, self.dim)
    }
}

impl Figure {
    /// Whether the criterion depends on a comparison with this figure under `bound`. Only
    /// ChromaDB's insertions decide.
    pub fn decides(&self, bound: Bound) -> bool {
        let about = (Competitor::Chromadb, RatedOperation::Insertion);
        bound.decides && (self.system, self.operation) == about
    }

    fn check(&self) -> Result<(), BadFigures> {
        let Figure { rows, dim, value, .. } = *self;
        let max = MAX_DIM;
        require!(
            (1..=max).contains(&dim) && dim.is_multiple_of(DIM_STEP),
            "{dim} is no dimension of embeddings (a multiple of {DIM_STEP} up to {max}); are \
             columns swapped?"
        );
        require!(
            rows > 0 && rows.is_multiple_of(ROWS_STEP),
            "{rows} is no number of rows of a benchmark (a multiple of {ROWS_STEP}); are columns \
             swapped?"
        );
        require!(value > 0.0 && value < FASTEST, "{value} is no rate of operations a second");
        let unit = match self.operation {
            RatedOperation::Insertion => Unit::RowsPerSecond,
            RatedOperation::Search => Unit::QueriesPerSecond,
        };
        require!(self.unit == unit, "the unit of the {} rate is wrong", self.operation);
        require!(is_date(&self.date), "{:?} is no date (YYYY-MM-DD)", self.date);
        require!(!self.note.trim().is_empty(), "its note is empty");
        Ok(())
    }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    let within = |part: &str, digits, range: std::ops::RangeInclusive<u32>| {
        part.len() == digits && part.parse().is_ok_and(|number| range.contains(&number))
    };
    within(year, 4, 2000..=2999) && within(month, 2, 1..=12) && within(day, 2, 1..=31)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/baselines/http-2025-05-31.json")
    }

    fn text() -> String {
        fs::read_to_string(file()).unwrap()
    }

    fn refusal(text: &str) -> String {
        Baselines::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_949_is_an_insertion_of_1536_dimensions() {
        let baselines = Baselines::load(&file()).unwrap();
        let figure = baselines
            .comparable(Competitor::Chromadb, RatedOperation::Insertion, 10_000, 1_536)
            .unwrap();
        assert_eq!((figure.value, figure.unit), (948.54, Unit::RowsPerSecond));
        assert_eq!(baselines.figures.len(), 12);
    }

    #[test]
    fn the_registered_figures_are_those_of_the_file() {
        let read = Baselines::load(&file()).unwrap();
        assert_eq!(Baselines::registered().unwrap(), read);
    }

    #[test]
    fn nothing_else_is_comparable() {
        let baselines = Baselines::load(&file()).unwrap();
        let reason = baselines
            .comparable(Competitor::Chromadb, RatedOperation::Insertion, 10_000, 128)
            .unwrap_err();
        assert!(reason.contains("10000 x 128 was not recorded"), "{reason}");
        assert!(reason.contains("10000 x 1536, 5000 x 768, 1000 x 384"), "{reason}");
    }

    #[rstest::rstest]
    #[case::dim_is_a_rate(r#""dim": 384"#, r#""dim": 1976"#, "are columns swapped")]
    #[case::dim_is_a_fraction(r#""dim": 384"#, r#""dim": 948.54"#, "expected u32")]
    #[case::rows_and_dim_swapped(
        r#""rows": 10000, "dim": 1536"#,
        r#""rows": 1536, "dim": 10000"#,
        "10000 is no dimension"
    )]
    #[case::rows_is_a_rate(r#""rows": 1000"#, r#""rows": 1976"#, "are columns swapped")]
    #[case::negative_rate("948.54", "-948.54", "no rate")]
    #[case::unit_of_the_other(r#""unit": "rows/s""#, r#""unit": "queries/s""#, "rate is wrong")]
    #[case::unknown_unit(r#""unit": "rows/s""#, r#""unit": "ops/sec""#, "unknown variant")]
    #[case::missing_field(r#""dim": 384, "#, "", "missing field `dim`")]
    #[case::unknown_field(r#""dim": 384"#, r#""dim": 384, "p50": 1"#, "unknown field `p50`")]
    #[case::no_date("2025-05-31", "31.05.2025", "no date")]
    #[case::twice("\"qdrant\"", "\"chromadb\"", "it is recorded twice")]
    fn a_damaged_record_is_refused(
        #[case] whole: &str,
        #[case] damaged: &str,
        #[case] reason: &str,
    ) {
        let text = text();
        assert!(text.contains(whole));
        let message = refusal(&text.replace(whole, damaged));
        assert!(message.contains(reason), "{message}");
    }

    #[test]
    fn a_record_cut_short_anywhere_is_refused() {
        let text = text();
        let text = text.trim_end();
        for end in 0..text.len() {
            if text.is_char_boundary(end) {
                assert!(Baselines::parse(&text[..end]).is_err(), "cut at {end}");
            }
        }
    }

    #[test]
    fn a_missing_file_names_its_remedy() {
        let failure = Baselines::load(Path::new("/nonexistent/figures.json")).unwrap_err();
        let message = failure.to_string();
        assert!(message.contains("/nonexistent/figures.json"), "{message}");
        assert!(message.contains("git restore fixtures/baselines"), "{message}");
    }
}
