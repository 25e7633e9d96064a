//! Tests the guest's emulated CPU; no measurement counts until it has passed.
//!
//! QEMU 7.2 computes AVX2 wrongly under TCG: sorts silently returned unsorted data. This test
//! performs the operations that numpy and the engines rely on (compares, masked moves, permutes,
//! gathers, float arithmetic) with AVX2 and with scalar code, on random data, and compares the
//! results bit for bit.

mod avx2;

use rand_mt::Mt;

/// Rounds of random data; each is a sort, a distance and a gather.
const ROUNDS: usize = 200;

/// The result of the test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfTestReport {
    /// Rounds in which SIMD and scalar code differed.
    pub wrong: usize,
    /// Rounds done.
    pub rounds: usize,
    /// The first difference, or what was not tested.
    pub detail: String,
}

impl SelfTestReport {
    /// Whether all rounds agreed.
    pub fn passed(&self) -> bool {
        self.wrong == 0
    }

    /// The result in one line.
    pub fn summary(&self) -> String {
        format!("{} of {} rounds wrong{}", self.wrong, self.rounds, self.detail)
    }
}

/// Tests this CPU. Without AVX2 there is nothing to compare, since Rust's own code uses SSE2.
pub fn run() -> SelfTestReport {
    if !std::arch::is_x86_feature_detected!("avx2") {
        let detail = "; this CPU has no AVX2, so nothing uses it".to_owned();
        return SelfTestReport { wrong: 0, rounds: 0, detail };
    }
    let mut random = Mt::new(42);
    let mut report = SelfTestReport { wrong: 0, rounds: ROUNDS, detail: String::new() };
    for round in 0..ROUNDS {
        if let Some(difference) = one_round(&mut random, 1 + round * 7) {
            report.wrong += 1;
            if report.detail.is_empty() {
                report.detail = format!("; first in round {round}: {difference}");
            }
        }
    }
    report
}

fn one_round(random: &mut Mt, length: usize) -> Option<String> {
    // Few distinct values, so that ties occur, and both signs.
    let values: Vec<f32> =
        (0..length).map(|_| (random.next_u32() % 4096) as f32 / 16.0 - 128.0).collect();
    let others: Vec<f32> = (0..length).map(|_| random.next_u32() as f32 / 65536.0).collect();
    let indexes: Vec<u32> = (0..length).map(|_| random.next_u32() % length as u32).collect();

    let mut sorted = values.clone();
    avx2::sort(&mut sorted);
    let mut expected = values.clone();
    expected.sort_by(f32::total_cmp);
    if !same_bits(&sorted, &expected) {
        return Some(format!("a sort of {length} floats"));
    }
    let distance = avx2::squared_distance(&values, &others);
    if distance.to_bits() != squared_distance(&values, &others).to_bits() {
        return Some(format!("a distance of {length} components"));
    }
    let gathered = avx2::gather(&values, &indexes);
    let expected: Vec<f32> = indexes.iter().map(|&index| values[index as usize]).collect();
    (!same_bits(&gathered, &expected)).then(|| format!("a gather of {length} floats"))
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// Adds in the same order as [`avx2::squared_distance`]: eight lanes, then pairwise, then the rest.
fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let whole = a.len() / 8 * 8;
    for (index, (x, y)) in a[..whole].iter().zip(&b[..whole]).enumerate() {
        lanes[index % 8] += (x - y) * (x - y);
    }
    let rest: f32 = a[whole..].iter().zip(&b[whole..]).fold(0.0, |sum, (x, y)| {
        let difference = x - y;
        sum + difference * difference
    });
    sum_lanes(lanes) + rest
}

/// Adds eight lanes pairwise.
fn sum_lanes(lanes: [f32; 8]) -> f32 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6]))
        + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_cpu_is_right() {
        let report = run();
        assert!(report.passed(), "{}", report.summary());
    }

    #[test]
    fn a_difference_shows() {
        assert!(!same_bits(&[0.0], &[-0.0]));
        assert!(!same_bits(&[1.0, 2.0], &[1.0]));
        let report = SelfTestReport { wrong: 3, rounds: 200, detail: String::new() };
        assert!(!report.passed());
        assert_eq!(report.summary(), "3 of 200 rounds wrong");
    }
}
