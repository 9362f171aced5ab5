//! Draws that depend on a seed and a number alone, so that a run can be repeated.

/// A well-mixed number from a seed and a number.
#[must_use]
pub fn mix(seed: u64, number: u64) -> u64 {
    // splitmix64.
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A draw from [0, 1).
#[must_use]
pub fn unit(seed: u64, number: u64) -> f64 {
    (mix(seed, number) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A draw from the normal distribution of mean 0 and deviation 1.
#[must_use]
pub fn normal(seed: u64, number: u64) -> f64 {
    // Box and Muller; the first draw must not be 0.
    let first = 1.0 - unit(seed, number);
    let second = unit(seed ^ 0x5bd1_e995, number);
    (-2.0 * first.ln()).sqrt() * (std::f64::consts::TAU * second).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_spread_and_repeatable() {
        let draws: Vec<f64> = (0..10_000).map(|number| unit(7, number)).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert_eq!(mix(7, 3), mix(7, 3));
        assert_ne!(mix(7, 3), mix(8, 3));
    }

    #[test]
    fn the_normal_draw_has_its_mean_and_deviation() {
        let draws: Vec<f64> = (0..10_000).map(|number| normal(1, number)).collect();
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        let variance = draws.iter().map(|draw| draw * draw).sum::<f64>() / 10_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 1.0).abs() < 0.05, "{variance}");
    }
}
