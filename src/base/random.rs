//! Deterministic pseudo-random numbers, and random numbers as fractions. It has no source of randomness: callers pass seeds in.

/// What SplitMix64 adds to its state for each number: 2⁶⁴ divided by the golden ratio, odd.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// A pseudo-random number that depends only on the arguments: SplitMix64's output function (Steele, Lea, Flood 2014).
#[must_use]
pub fn mix(seed: u64, salt: u64) -> u64 {
    output(seed ^ salt.wrapping_mul(GAMMA))
}

/// The next state of a SplitMix64 generator and its number.
#[must_use]
pub(crate) fn next(state: u64) -> (u64, u64) {
    let state = state.wrapping_add(GAMMA);
    (state, output(state))
}

fn output(state: u64) -> u64 {
    let mut mixed = state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `random` as a fraction in (0, 1].
#[must_use]
pub fn fraction(random: u64) -> f64 {
    // Exact: a double holds 53 bits.
    let numerator = ((random >> 11) + 1) as f64;
    numerator / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The first numbers of the reference implementation for the seed 1234567.
        let mut state = 1_234_567;
        let mut draw = || {
            let number;
            (state, number) = next(state);
            number
        };
        assert_eq!(draw(), 6_457_827_717_110_365_317);
        assert_eq!(draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_fraction_is_above_zero_and_at_most_one() {
        assert!(fraction(0) > 0.0);
        assert_eq!(fraction(u64::MAX), 1.0);
    }

    #[test]
    fn fractions_of_mixed_numbers_are_spread_evenly() {
        let mut counts = [0_u32; 10];
        for seed in 0..100_000 {
            let tenth = (fraction(mix(seed, 7)) * 10.0).ceil() as usize - 1;
            counts[tenth] += 1;
        }
        // 10,000 each, within four standard deviations.
        for count in counts {
            assert!(count.abs_diff(10_000) < 380, "{counts:?}");
        }
    }
}
