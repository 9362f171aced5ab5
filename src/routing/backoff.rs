//! The pause before an attempt is repeated at targets that have failed. It must not know why they failed.

use crate::base::random::fraction;
use std::time::Duration;

/// Longest pause before the first repeat: about what a restarting process or a new connection takes.
pub(crate) const PAUSE: Duration = Duration::from_millis(250);
/// The longest pause doubles with each repeat, up to this: rate limits last from a second to a minute, and the client is
/// waiting.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(8);

/// The pause before the `nth` repeat, counted from 1. It is random between half and all of a bound that doubles, so that
/// requests that failed together are not repeated together, and none is repeated at once (Brooker 2015, "equal jitter").
/// After `retry_after`, the wait that a provider requires, it is a random part of [`PAUSE`] longer. `None` if the pause
/// would not end within `left`.
#[must_use]
pub(crate) fn pause(
    nth: u32,
    random: u64,
    retry_after: Option<Duration>,
    left: Duration,
) -> Option<Duration> {
    let bound = PAUSE
        .saturating_mul(1 << nth.saturating_sub(1).min(16))
        .min(PAUSE_MAX);
    let jittered = bound.mul_f64(0.5 + 0.5 * fraction(random));
    // The required wait is long enough by itself; the addition spreads the requests that wait for the same time.
    let pause = retry_after.map_or(jittered, |retry_after| {
        retry_after.saturating_add(PAUSE.mul_f64(fraction(random)))
    });
    (pause < left).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn pauses_double_up_to_a_bound_and_are_random() {
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
    fn no_pause_is_shorter_than_retry_after_or_outlasts_the_deadline() {
        for seed in 0..1000 {
            let random = mix(seed, 2);
            let retry_after = Duration::from_millis(700 * (seed % 5));
            let left = Duration::from_millis(seed * 7);
            for nth in 1..6 {
                if let Some(pause) = pause(nth, random, Some(retry_after), left) {
                    assert!(pause >= retry_after && pause < left);
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
