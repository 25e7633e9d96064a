//! How fast a program's work can be done: as fast as we did it ourselves on the program's files.

use serde::Serialize;

/// Operations on one index, and how long each took when we repeated them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pace {
    /// The index.
    pub index: String,
    /// How many of the program's operations the home counted.
    pub operations: u64,
    /// The shortest time that we saw for one operation.
    pub seconds: f64,
}

/// The fastest operations among those that were counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Fastest<'a> {
    /// The mean time of an operation.
    pub seconds: f64,
    /// The indexes that they were done on, fastest first.
    pub indexes: Vec<&'a str>,
}

/// The fastest `operations` among those of `paces`, or all if there are fewer. An index lends its
/// speed to a claim only for as many operations as it served. `None` if nothing was served.
pub fn fastest<'a>(
    paces: impl IntoIterator<Item = &'a Pace>,
    operations: u64,
) -> Option<Fastest<'a>> {
    let mut paces: Vec<&Pace> = paces.into_iter().filter(|pace| pace.operations > 0).collect();
    paces.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    let (mut taken, mut seconds, mut indexes) = (0, 0.0, Vec::new());
    for pace in paces {
        let some = pace.operations.min(operations.max(1) - taken);
        if some == 0 {
            break;
        }
        taken += some;
        seconds += some as f64 * pace.seconds;
        if !indexes.contains(&pace.index.as_str()) {
            indexes.push(pace.index.as_str());
        }
    }
    (taken > 0).then(|| Fastest { seconds: seconds / taken as f64, indexes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(index: &str, operations: u64, seconds: f64) -> Pace {
        Pace { index: index.to_owned(), operations, seconds }
    }

    #[test]
    fn an_index_lends_its_speed_to_what_it_served() {
        let paces = [pace("large", 1_000, 4.0), pace("tiny", 1, 1.0), pace("unasked", 0, 0.1)];
        let of = |operations| fastest(&paces, operations).unwrap();
        assert_eq!(of(1), Fastest { seconds: 1.0, indexes: vec!["tiny"] });
        assert_eq!(of(3), Fastest { seconds: 3.0, indexes: vec!["tiny", "large"] });
        assert_eq!(of(5_000).seconds, 4_001.0 / 1_001.0);
        assert_eq!(fastest(&paces[2..], 3), None);
    }
}
