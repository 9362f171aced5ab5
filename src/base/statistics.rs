//! Exact confidence intervals of a share, for a sample that is evaluated once. It must not know what is counted.

/// Steps of bisection: more than a double has binary digits.
const STEPS: usize = 60;

/// The upper end of the one-sided interval of a share, when `found` of `all` were counted (Clopper and Pearson, "The use of
/// confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26, 1934). `alpha` is the probability
/// that it is below the true share. 1 when nothing was counted.
#[must_use]
pub(crate) fn upper(found: u64, all: u64, alpha: f64) -> f64 {
    if found >= all {
        return 1.0;
    }
    // The share at which at most `found` would be found with probability alpha.
    bisect(|share| at_most(found, all, share) > alpha)
}

/// The lower end, in the same way.
#[must_use]
pub(crate) fn lower(found: u64, all: u64, alpha: f64) -> f64 {
    if found == 0 || all == 0 {
        return 0.0;
    }
    bisect(|share| 1.0 - at_most(found - 1, all, share) < alpha)
}

/// How many must be counted, with none found, until the upper end is `share`.
#[must_use]
pub(crate) fn needed(share: f64, alpha: f64) -> u64 {
    if share <= 0.0 {
        return u64::MAX;
    }
    (alpha.ln() / (1.0 - share).ln()).ceil() as u64
}

/// The largest share for which `holds` is true. It must be true up to that share and false beyond.
fn bisect(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    f64::midpoint(low, high)
}

/// Probability that at most `found` of `all` are found, when each is found with probability `share`.
fn at_most(found: u64, all: u64, share: f64) -> f64 {
    if share <= 0.0 {
        return 1.0;
    }
    if share >= 1.0 {
        return if found >= all { 1.0 } else { 0.0 };
    }
    let (log_share, log_rest) = (share.ln(), (-share).ln_1p());
    // The logarithm of the binomial coefficient, updated from term to term.
    let (mut log_ways, mut sum) = (0.0, 0.0);
    for count in 0..=found {
        let term: f64 = log_ways + count as f64 * log_share + (all - count) as f64 * log_rest;
        sum += term.exp();
        log_ways += ((all - count) as f64).ln() - ((count + 1) as f64).ln();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_published_tables() {
        // One-sided 95 %: 0 of 299 shows at most 1 %, 1 of 473 and 3 of 773 too (tables of the binomial).
        for (found, all) in [(0, 299), (1, 473), (3, 773)] {
            let end = upper(found, all, 0.05);
            assert!((end - 0.01).abs() < 4e-5, "{found} of {all}: {end}");
        }
        assert!((upper(0, 10, 0.05) - 0.258_866).abs() < 1e-5);
        assert!((lower(10, 10, 0.05) - 0.741_134).abs() < 1e-5);
        assert!((lower(5, 50, 0.025) - 0.033_275).abs() < 1e-5);
        assert_eq!((upper(0, 0, 0.05), lower(0, 0, 0.05)), (1.0, 0.0));
        assert_eq!((upper(7, 7, 0.05), lower(0, 7, 0.05)), (1.0, 0.0));
        assert_eq!(needed(0.01, 0.05), 299);
        assert!(upper(900, 100_000, 0.05) > 0.009 && upper(900, 100_000, 0.05) < 0.0096);
    }
}
