//! `least-latency`: draws two targets and prefers the one with the lower expected latency (power of two choices,
//! Mitzenmacher 2001), by the quantile measured for requests of this kind. A small share of the requests goes to a
//! target that was not chosen for a while, so that a target that has become faster is noticed.

use crate::base::random::mix;
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

pub(crate) struct LeastLatency;

/// One request in so many may go to a target whose measurements are old. With the age at which they are old
/// ([`STALE_AFTER_US`](crate::routing::measurements::STALE_AFTER_US)) this keeps exploration below 3 % at any rate of
/// requests.
const EXPLORES_ONE_IN: u64 = 40;

/// So many requests in flight count as much as the latency itself. Requests pile up at a slow target before its first slow
/// response has arrived. The number is large because a provider serves many requests at once: one more request is no
/// reason to prefer another target.
pub(crate) const IN_FLIGHT_UNIT: f64 = 8.0;

impl RoutingPolicy for LeastLatency {
    fn name(&self) -> &'static str {
        "least-latency"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        let count = candidates.len();
        let unmeasured_us = assumed_latency_us(candidates);
        push_sorted(order, count, |position| {
            candidates
                .get(position)
                .map_or(0.0, |candidate| expected_time(candidate, unmeasured_us))
        });
        if count < 2 {
            return;
        }
        let first = explored(candidates, facts).unwrap_or_else(|| {
            let (a, b) = draw_two(count, facts.random);
            let rank = |position: usize| order.iter().position(|ordered| *ordered == position);
            if rank(a) < rank(b) { a } else { b }
        });
        put_first(order, first);
    }
}

/// Moves `first` to the front; the others keep their order.
pub(crate) fn put_first(order: &mut Order, first: usize) {
    if let Some(rank) = order.iter().position(|ordered| *ordered == first) {
        order
            .get_mut(..=rank)
            .into_iter()
            .for_each(|part| part.rotate_right(1));
    }
}

/// Expected time until a good response, in microseconds: where every other attempt fails, it is twice the latency.
fn expected_time(candidate: &Candidate, unmeasured_us: f64) -> f64 {
    let expected = candidate.expected_us.map_or(unmeasured_us, f64::from);
    let crowd = 1.0 + f64::from(candidate.in_flight) / IN_FLIGHT_UNIT;
    // Without the added microsecond, requests in flight would not count at targets that were never measured.
    (expected + 1.0) * crowd / f64::from(candidate.score.max(0.05))
}

/// The latency that is assumed of a target that was never measured: a little less than that of the fastest, so that it is
/// tried, and not much less, so that it is not flooded before its first response.
fn assumed_latency_us(candidates: &[Candidate]) -> f64 {
    let measured = candidates
        .iter()
        .filter_map(|candidate| candidate.expected_us);
    measured
        .min()
        .map_or(0.0, |fastest| 0.9 * f64::from(fastest))
}

/// The position of a candidate that may be probed, or by chance of one whose measurements are old.
pub(crate) fn explored(candidates: &[Candidate], facts: &RequestFacts) -> Option<usize> {
    if let Some(probe) = candidates.iter().position(|candidate| candidate.is_probe) {
        return Some(probe);
    }
    let chance = mix(facts.random, 3);
    if !chance.is_multiple_of(EXPLORES_ONE_IN) {
        return None;
    }
    let start = usize::try_from((chance / EXPLORES_ONE_IN) % candidates.len() as u64).ok()?;
    let mut rotated = (start..candidates.len()).chain(0..start);
    rotated.find(|position| {
        candidates
            .get(*position)
            .is_some_and(|candidate| candidate.is_stale)
    })
}

/// Two different numbers below `count`, which is at least two.
fn draw_two(count: usize, random: u64) -> (usize, usize) {
    let count = count as u64;
    let a = mix(random, 1) % count;
    let b = (a + 1 + mix(random, 2) % (count - 1)) % count;
    (
        usize::try_from(a).unwrap_or(0),
        usize::try_from(b).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    fn measured(ms: u32) -> Candidate {
        Candidate {
            expected_us: Some(ms * 1000),
            ..PLAIN
        }
    }

    fn firsts(candidates: &[Candidate]) -> Vec<u32> {
        let mut counts = vec![0; candidates.len()];
        for random in 0..10_000 {
            counts[ordered(&LeastLatency, candidates, &facts(random))[0]] += 1;
        }
        counts
    }

    #[test]
    fn the_faster_of_two_comes_first_and_never_the_slowest_of_many() {
        assert_eq!(firsts(&[measured(1000), measured(100)]), [0, 10_000]);
        let counts = firsts(&[measured(300), measured(100), measured(200)]);
        assert_eq!(counts[0], 0, "{counts:?}");
        assert!(counts[1] > counts[2] && counts[2] > 2500, "{counts:?}");
    }

    #[test]
    fn requests_in_flight_and_errors_count_as_latency() {
        let crowded = Candidate {
            in_flight: 40,
            ..measured(100)
        };
        assert_eq!(firsts(&[crowded, measured(300)]), [0, 10_000]);
        let failing = Candidate {
            score: 0.25,
            ..measured(100)
        };
        assert_eq!(firsts(&[failing, measured(300)]), [0, 10_000]);
    }

    #[test]
    fn few_requests_renew_old_measurements_and_a_probe_comes_first() {
        let stale = Candidate {
            is_stale: true,
            ..measured(1000)
        };
        let counts = firsts(&[stale, measured(100)]);
        assert!((150..350).contains(&counts[0]), "{counts:?}");
        let probe = Candidate {
            is_probe: true,
            ..measured(1000)
        };
        assert_eq!(firsts(&[probe, measured(100)]), [10_000, 0]);
    }
}
