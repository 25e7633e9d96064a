//! Chooses which setting of ours is compared with which setting of the peer's.
//!
//! A ratio of speeds means something only at equal recall. Both sides are tried with preset
//! settings. Each of the peer's settings that is good enough is paired with the cheapest of ours
//! whose recall is not lower.

/// Recall@k from which a setting is worth comparing.
pub const ENOUGH: f64 = 0.95;
/// Recall@k above which a slower setting is not worth trying.
const ALL_BUT: f64 = 0.999;

/// A setting that was tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// Which of the indexes that were tried; a peer has only one.
    pub index: usize,
    /// efSearch, nprobe or refine; larger values are slower.
    pub param: u32,
    /// Mean recall@k.
    pub recall: f64,
    /// Time of a query, in nanoseconds.
    pub nanoseconds: f64,
}

/// A setting of the peer's, and ours that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The peer's setting.
    pub peer: Tried,
    /// Our setting; it has a lower recall if none of ours reaches the peer's.
    pub ours: Tried,
}

/// Pairs each of the peer's settings that is worth its time, or its best one if none is, with one
/// of ours. `peer` is in the order of its parameter. Returns nothing if a side has no setting.
pub fn pair(peer: &[Tried], ours: &[Tried]) -> Vec<Pair> {
    let enough = worth_their_time(peer);
    let worth = if enough.is_empty() { best(peer).into_iter().collect() } else { enough };
    let ours_for = |peer: &Tried| cheapest(ours, peer.recall).or_else(|| best(ours));
    worth.into_iter().filter_map(|peer| Some(Pair { peer, ours: ours_for(&peer)? })).collect()
}

/// Settings with a recall of at least [`ENOUGH`] that are better than every cheaper one, up to the
/// first that reaches [`ALL_BUT`].
fn worth_their_time(ascending: &[Tried]) -> Vec<Tried> {
    let mut worth: Vec<Tried> = Vec::new();
    for tried in ascending.iter().filter(|tried| tried.recall >= ENOUGH) {
        match worth.last().map(|last| last.recall) {
            Some(reached) if reached >= ALL_BUT || tried.recall <= reached => {}
            _ => worth.push(*tried),
        }
    }
    worth
}

/// The cheapest setting with at least this `recall`. Within an index that is the one with the
/// smallest parameter, whatever was measured; between indexes the measured time decides.
fn cheapest(tried: &[Tried], recall: f64) -> Option<Tried> {
    let smallest_of_its_index = |one: &&Tried| {
        !tried.iter().any(|other| {
            other.index == one.index && other.recall >= recall && other.param < one.param
        })
    };
    tried
        .iter()
        .filter(|one| one.recall >= recall)
        .filter(smallest_of_its_index)
        .min_by(|a, b| a.nanoseconds.total_cmp(&b.nanoseconds))
        .copied()
}

/// The setting with the highest recall, and the first one if several have it.
fn best(tried: &[Tried]) -> Option<Tried> {
    tried.iter().copied().reduce(|best, one| if one.recall > best.recall { one } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(settings: &[(usize, u32, f64, f64)]) -> Vec<Tried> {
        let one =
            |&(index, param, recall, nanoseconds)| Tried { index, param, recall, nanoseconds };
        settings.iter().map(one).collect()
    }

    fn params(pairs: &[Pair]) -> Vec<(u32, usize, u32)> {
        pairs.iter().map(|pair| (pair.peer.param, pair.ours.index, pair.ours.param)).collect()
    }

    #[test]
    fn every_setting_that_is_good_enough_gets_our_cheapest_that_is_no_worse() {
        let peer = tried(&[(0, 64, 0.80, 5.0), (0, 128, 0.95, 9.0), (0, 256, 0.98, 17.0)]);
        // 0.98 is reached at 160; at 200 the measured time happened to be shorter.
        let ours = tried(&[
            (0, 100, 0.949, 6.0),
            (0, 120, 0.96, 7.0),
            (0, 160, 0.98, 9.5),
            (0, 200, 0.99, 9.0),
        ]);
        assert_eq!(params(&pair(&peer, &ours)), [(128, 0, 120), (256, 0, 160)]);
    }

    #[test]
    fn dearer_settings_that_find_no_more_are_left_out() {
        let recalls = [(1, 0.94), (2, 0.96), (3, 0.96), (4, 0.955), (5, 0.999), (6, 1.0)];
        let peer = tried(&recalls.map(|(param, recall)| (0, param, recall, f64::from(param))));
        let ours = tried(&[(0, 9, 1.0, 6.0)]);
        assert_eq!(params(&pair(&peer, &ours)), [(2, 0, 9), (5, 0, 9)]);
    }

    #[test]
    fn between_indexes_the_clock_decides() {
        let peer = tried(&[(0, 10, 0.96, 30.0)]);
        let ours = tried(&[(0, 8, 0.97, 20.0), (0, 9, 0.98, 5.0), (1, 30, 0.96, 15.0)]);
        assert_eq!(params(&pair(&peer, &ours)), [(10, 1, 30)]);
    }

    #[test]
    fn a_peer_that_never_gets_there_is_met_at_its_best() {
        let peer = tried(&[(0, 1, 0.4, 5.0), (0, 2, 0.7, 9.0), (0, 3, 0.7, 9.0)]);
        let ours = tried(&[(0, 5, 0.6, 6.0), (0, 6, 0.8, 7.0)]);
        assert_eq!(params(&pair(&peer, &ours)), [(2, 0, 6)]);
    }

    #[test]
    fn where_we_never_get_there_our_best_stands_below_it() {
        let peer = tried(&[(0, 1, 0.99, 5.0)]);
        let ours = tried(&[(0, 5, 0.97, 6.0), (0, 6, 0.985, 7.0), (1, 7, 0.96, 1.0)]);
        let pairs = pair(&peer, &ours);
        assert_eq!(params(&pairs), [(1, 0, 6)]);
        assert!(pairs[0].ours.recall < pairs[0].peer.recall);
        assert_eq!(pair(&peer, &[]), []);
        assert_eq!(pair(&[], &ours), []);
    }
}
