//! Exact bounds of a failure probability (Clopper and Pearson).

use libm::{exp, log, log1p};

/// Upper bound of a failure probability after `failures` in `trials`, with one-sided error `alpha`:
/// the p at which that few failures or fewer have probability `alpha` (Clopper and Pearson, 1934).
/// It is 1 if nothing was tried or everything failed.
pub fn clopper_pearson_upper(failures: u32, trials: u32, alpha: f64) -> f64 {
    if failures >= trials {
        return 1.0;
    }
    let (mut low, mut high) = (f64::from(failures) / f64::from(trials), 1.0);
    // The probability falls as p grows, so bisection finds it; 60 halvings exhaust an f64.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(failures, trials, middle) > alpha {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// P(Bin(trials, p) <= failures), for 0 < p < 1.
fn at_most(failures: u32, trials: u32, p: f64) -> f64 {
    let mut log_term = f64::from(trials) * log1p(-p);
    let mut sum = exp(log_term);
    for k in 1..=failures {
        log_term += log(f64::from(trials - k + 1) / f64::from(k)) + log(p) - log1p(-p);
        sum += exp(log_term);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::failure_rate_bound;

    // Without a failure 1 - alpha^(1/n); one in two: 1 - p² = 0.05; two of ten from the tables.
    #[rstest::rstest]
    #[case(0, 300, failure_rate_bound(300, 0.05))]
    #[case(0, 20_000, failure_rate_bound(20_000, 0.05))]
    #[case(1, 2, 0.95_f64.sqrt())]
    #[case(2, 10, 0.506_901_3)]
    #[case(0, 0, 1.0)]
    #[case(3, 3, 1.0)]
    fn bounds_are_those_of_the_tables(#[case] failures: u32, #[case] n: u32, #[case] due: f64) {
        let bound = clopper_pearson_upper(failures, n, 0.05);
        assert!((bound - due).abs() < 1e-6, "{bound}, expected {due}");
    }
}
