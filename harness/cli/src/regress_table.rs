//! Compares the costs of two commits.

use criteria::costs::Cost;
use machine::failure::Failure;
use machine::require;

/// An operation that is slower by more than this fraction has regressed. It is twice the difference
/// between two boots of the same commit.
pub const BOUND: f64 = 0.01;

/// The costs of one operation in both commits.
#[derive(Debug, Clone, PartialEq)]
pub struct CostChange {
    /// In the other commit.
    pub base: Cost,
    /// In this one.
    pub here: Cost,
}

impl CostChange {
    /// Cost here divided by cost there: above 1 if it got slower.
    pub fn ratio(&self) -> f64 {
        self.here.nanoseconds / self.base.nanoseconds
    }

    /// Whether it got slower by more than [`BOUND`].
    pub fn is_regression(&self) -> bool {
        self.ratio() > 1.0 + BOUND
    }
}

/// Pairs the costs of two commits.
///
/// # Errors
/// They are for different operations, or a cost is not a positive number.
pub fn changes(base: &[Cost], here: &[Cost]) -> Result<Vec<CostChange>, Failure> {
    require!(
        !base.is_empty() && base.len() == here.len(),
        "{} operations were measured there, {} here",
        base.len(),
        here.len()
    );
    let pair = |(base, here): (&Cost, &Cost)| {
        let same = base.home == here.home && base.operation == here.operation;
        require!(same, "{base:?} is no counterpart of {here:?}");
        let change = CostChange { base: base.clone(), here: here.clone() };
        require!(change.ratio().is_normal(), "{change:?} has no ratio");
        Ok(change)
    };
    base.iter().zip(here).map(pair).collect()
}

/// The changes as a table.
pub fn table(changes: &[CostChange]) -> String {
    let head = format!(
        "{:<8}{:<20}{:>14}{:>14}{:>9}\n",
        "home", "operation", "base, ns", "here, ns", "ratio"
    );
    changes.iter().fold(head, |text, change| {
        let CostChange { base, here } = change;
        let word = if change.is_regression() { "  SLOWER" } else { "" };
        text + &format!(
            "{:<8}{:<20}{:>14.1}{:>14.1}{:>9.4}{word}\n",
            here.home,
            here.operation,
            base.nanoseconds,
            here.nanoseconds,
            change.ratio()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(operation: &str, nanoseconds: f64) -> Cost {
        Cost { home: "fuse".to_owned(), operation: operation.to_owned(), nanoseconds }
    }

    #[test]
    fn what_is_more_than_one_percent_slower_has_regressed() {
        let base = [cost("search, Flat", 10_000.0), cost("search, Hnsw", 10_000.0)];
        let here = [cost("search, Flat", 10_099.0), cost("search, Hnsw", 10_101.0)];
        let changes = changes(&base, &here).unwrap();
        assert_eq!(
            changes.iter().map(CostChange::is_regression).collect::<Vec<_>>(),
            [false, true]
        );
        let table = table(&changes);
        assert!(table.contains("10101.0   1.0101  SLOWER"), "{table}");
        assert!(!table.contains("1.0099  SLOWER"), "{table}");
    }

    #[test]
    fn only_the_same_operations_are_compared() {
        let flat = [cost("search, Flat", 1.0)];
        assert!(changes(&flat, &[cost("search, Hnsw", 1.0)]).is_err());
        assert!(changes(&flat, &[]).is_err());
        assert!(changes(&[], &[]).is_err());
        assert!(changes(&flat, &[cost("search, Flat", 0.0)]).is_err());
    }
}
