//! `throughput`: the target with the most tokens per second first, as measured of streams or of buffered responses,
//! whichever the request wants. Errors and requests in flight lower a target's rate. As with `least-latency`, a small share
//! of the requests goes to a target that was not chosen for a while.

use crate::routing::policies::least_latency::{IN_FLIGHT_UNIT, explored, put_first};
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

pub(crate) struct Throughput;

impl RoutingPolicy for Throughput {
    fn name(&self) -> &'static str {
        "throughput"
    }

    fn reads_rates(&self) -> bool {
        true
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        let rates = candidates
            .iter()
            .filter_map(|candidate| candidate.tokens_per_s);
        // A target that was never measured is assumed to be a little faster than the fastest, so that it is tried.
        let assumed = 1.1 * rates.fold(1.0_f32, f32::max);
        let rate = |candidate: &Candidate| {
            let crowd = 1.0 + f64::from(candidate.in_flight) / IN_FLIGHT_UNIT;
            let tokens_per_s = candidate.tokens_per_s.unwrap_or(assumed);
            f64::from(tokens_per_s) * f64::from(candidate.score) / crowd
        };
        push_sorted(order, candidates.len(), |position| {
            candidates
                .get(position)
                .map_or(0.0, |candidate| -rate(candidate))
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
    fn the_fastest_comes_first_and_an_unmeasured_target_before_it() {
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
    fn few_requests_renew_old_measurements() {
        let stale = Candidate {
            is_stale: true,
            ..measured(10.0)
        };
        let first = |random| ordered(&Throughput, &[stale, measured(90.0)], &facts(random))[0];
        let renewed = (0..10_000).filter(|random| first(*random) == 0).count();
        assert!((150..350).contains(&renewed), "{renewed}");
    }
}
