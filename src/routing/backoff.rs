//! The pause before targets that failed are asked again. It must not know why they failed.

use crate::base::random::fraction;
use std::time::Duration;

/// Longest pause before the first repeat: what a restarted process or a moved connection takes …
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// … twice as long each time, up to this: rate limits are counted by seconds to a minute, and a client
/// waits.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The pause before the `nth` repeat, the first being 1: random between half and all of a bound that
/// doubles, so that those who failed together do not come back together, and none at once (Brooker 2015,
/// "equal jitter"). Where providers asked for `asked`, that is added: nothing comes before it. `None`
/// if it would not end within `left`.
#[must_use]
pub(crate) fn pause(
    nth: u32,
    random: u64,
    asked: Option<Duration>,
    left: Duration,
) -> Option<Duration> {
    let bound = PAUSE
        .saturating_mul(1 << nth.saturating_sub(1).min(16))
        .min(PAUSE_MAX);
    let jittered = bound.mul_f64(0.5 + 0.5 * fraction(random));
    // What was asked for is long enough by itself; the first bound keeps its followers apart.
    let pause = asked.map_or(jittered, |asked| {
        asked.saturating_add(PAUSE.mul_f64(fraction(random)))
    });
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn pauses_double_up_to_a_bound_and_are_spread() {
        for nth in 1..40 {
            let bound = PAUSE.saturating_mul(1 << (nth - 1).min(16)).min(PAUSE_MAX);
            let pauses: Vec<Duration> = (0..1000)
                .filter_map(|seed| pause(nth, mix(seed, 1), None, LONG))
                .collect();
            let (least, most) = (pauses.iter().min().unwrap(), pauses.iter().max().unwrap());
            assert!(*least >= bound / 2 && *least < bound.mul_f64(0.51), "{nth}");
            assert!(*most <= bound && *most > bound.mul_f64(0.99), "{nth}");
        }
    }

    #[test]
    fn nothing_comes_before_what_was_asked_for_and_no_pause_outlasts_the_deadline() {
        for seed in 0..1000 {
            let random = mix(seed, 2);
            let asked = Duration::from_millis(700 * (seed % 5));
            let left = Duration::from_millis(seed * 7);
            for nth in 1..6 {
                if let Some(pause) = pause(nth, random, Some(asked), left) {
                    assert!(pause >= asked && pause < left);
                }
                if let Some(pause) = pause(nth, random, None, left) {
                    assert!(pause < left);
                }
            }
        }
        assert_eq!(pause(1, 0, Some(LONG), LONG), None);
        assert_eq!(pause(1, 0, None, Duration::ZERO), None);
    }
}
