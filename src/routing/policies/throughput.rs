//! `throughput`: the most tokens per second, as measured of streams or of whole answers, whichever the
//! request is. Errors and requests under way count as slowness; as with `least-latency`, a target that
//! was not chosen for a while is tried now and then.

use crate::routing::policies::least_latency::{IN_FLIGHT_UNIT, explored, put_first};
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

/// The policy.
pub(crate) struct Throughput;

impl RoutingPolicy for Throughput {
    fn name(&self) -> &'static str {
        "throughput"
    }

    fn reads_rates(&self) -> bool {
        true
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        let rates = candidates.iter().filter_map(|one| one.tokens_per_s);
        // What was never measured is taken for a little better than the best, so that it is tried.
        let unknown = 1.1 * rates.fold(1.0_f32, f32::max);
        push_sorted(order, candidates.len(), |at| {
            let rate = |one: &Candidate| {
                let crowd = 1.0 + f64::from(one.in_flight) / IN_FLIGHT_UNIT;
                f64::from(one.tokens_per_s.unwrap_or(unknown)) * f64::from(one.score) / crowd
            };
            candidates.get(at).map_or(0.0, |one| -rate(one))
        });
        if candidates.len() > 1
            && let Some(first) = explored(candidates, facts)
        {
            put_first(order, first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    fn measured(tokens_per_s: f32) -> Candidate {
        Candidate {
            tokens_per_s: Some(tokens_per_s),
            ..PLAIN
        }
    }

    #[test]
    fn the_fastest_first_and_the_unmeasured_before_it() {
        let order = |candidates: &[Candidate]| ordered(&Throughput, candidates, &facts(1));
        assert_eq!(
            order(&[measured(40.0), measured(90.0), measured(60.0)]),
            [1, 2, 0]
        );
        assert_eq!(order(&[measured(40.0), PLAIN]), [1, 0]);
        let failing = Candidate {
            score: 0.3,
            ..measured(90.0)
        };
        assert_eq!(order(&[failing, measured(40.0)]), [1, 0]);
        let crowded = Candidate {
            in_flight: 40,
            ..measured(90.0)
        };
        assert_eq!(order(&[crowded, measured(40.0)]), [1, 0]);
    }

    #[test]
    fn old_measurements_are_renewed_by_few_requests() {
        let stale = Candidate {
            is_stale: true,
            ..measured(10.0)
        };
        let first = |random| ordered(&Throughput, &[stale, measured(90.0)], &facts(random))[0];
        let renewed = (0..10_000).filter(|random| first(*random) == 0).count();
        assert!((150..350).contains(&renewed), "{renewed}");
    }
}
