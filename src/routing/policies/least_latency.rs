//! `least-latency`: of two drawn, the one that is expected to answer sooner (power of two choices,
//! Mitzenmacher 2001), by the quantile measured for requests of this kind. Now and then a target that
//! was not chosen for a while comes first, so that its getting faster is noticed.

use crate::base::random::mix;
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

/// The policy.
pub(crate) struct LeastLatency;

/// One request in so many may go to a target whose measurements are old. With the age at which they
/// are old (`measure::STALE_AFTER_US`) this keeps exploration below 3 % at any rate of requests.
const EXPLORES_ONE_IN: u64 = 40;

/// Requests under way that weigh as much as the latency itself. A slow target shows by what piles up
/// at it before its first slow answer has come; but a provider is wide, so one request more is no
/// reason to change.
pub(crate) const IN_FLIGHT_UNIT: f64 = 8.0;

impl RoutingPolicy for LeastLatency {
    fn name(&self) -> &'static str {
        "least-latency"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        let count = candidates.len();
        let unknown = typical(candidates);
        push_sorted(order, count, |at| {
            candidates.get(at).map_or(0.0, |one| cost(one, unknown))
        });
        if count < 2 {
            return;
        }
        let first = explored(candidates, facts).unwrap_or_else(|| {
            let (a, b) = two(count, facts.random);
            let place = |at: usize| order.iter().position(|one| *one == at);
            if place(a) < place(b) { a } else { b }
        });
        put_first(order, first);
    }
}

/// Moves `first` to the front; the others keep their order.
pub(crate) fn put_first(order: &mut Order, first: usize) {
    if let Some(place) = order.iter().position(|one| *one == first) {
        order
            .get_mut(..=place)
            .into_iter()
            .for_each(|part| part.rotate_right(1));
    }
}

/// Time until a good answer: an answer that has to be asked for twice takes twice as long.
fn cost(candidate: &Candidate, unknown: f64) -> f64 {
    let expected = candidate.expected_us.map_or(unknown, f64::from);
    let crowd = 1.0 + f64::from(candidate.in_flight) / IN_FLIGHT_UNIT;
    // The weight of one microsecond tells idle targets apart that were never measured.
    (expected + 1.0) * crowd / f64::from(candidate.score.max(0.05))
}

/// What is expected of a target that was never measured: a little less than of the fastest, so that it
/// is tried, and no less than that, so that it is not flooded before its first answer.
fn typical(candidates: &[Candidate]) -> f64 {
    let known = candidates.iter().filter_map(|one| one.expected_us);
    known.min().map_or(0.0, |fastest| 0.9 * f64::from(fastest))
}

/// A probe, or by chance a target with old measurements.
pub(crate) fn explored(candidates: &[Candidate], facts: &RequestFacts) -> Option<usize> {
    if let Some(probe) = candidates.iter().position(|one| one.is_probe) {
        return Some(probe);
    }
    let chance = mix(facts.random, 3);
    if !chance.is_multiple_of(EXPLORES_ONE_IN) {
        return None;
    }
    let start = usize::try_from((chance / EXPLORES_ONE_IN) % candidates.len() as u64).ok()?;
    let turned = (start..candidates.len()).chain(0..start);
    turned
        .into_iter()
        .find(|at| candidates.get(*at).is_some_and(|one| one.is_stale))
}

/// Two different numbers below `count`, which is at least two.
fn two(count: usize, random: u64) -> (usize, usize) {
    let wide = count as u64;
    let a = mix(random, 1) % wide;
    let b = (a + 1 + mix(random, 2) % (wide - 1)) % wide;
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
    fn the_faster_of_two_and_never_the_slowest_of_many() {
        assert_eq!(firsts(&[measured(1000), measured(100)]), [0, 10_000]);
        let counts = firsts(&[measured(300), measured(100), measured(200)]);
        assert_eq!(counts[0], 0, "{counts:?}");
        assert!(counts[1] > counts[2] && counts[2] > 2500, "{counts:?}");
    }

    #[test]
    fn a_crowd_and_errors_count_as_time() {
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
    fn old_measurements_are_renewed_by_few_requests_and_a_probe_at_once() {
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
