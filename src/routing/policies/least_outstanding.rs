//! `least-outstanding`: the target with the fewest requests in flight per weight first; targets with equally many come in
//! random order. A target that may be probed comes first.

use crate::base::random::{fraction, mix};
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

pub(crate) struct LeastOutstanding;

impl RoutingPolicy for LeastOutstanding {
    fn name(&self) -> &'static str {
        "least-outstanding"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        push_sorted(order, candidates.len(), |position| {
            candidates.get(position).map_or(0.0, |candidate| {
                if candidate.is_probe {
                    return -1.0;
                }
                // Far below what one request more adds at the largest weight.
                let tie_break = fraction(mix(facts.random, position as u64 + 1)) * 1e-9;
                f64::from(candidate.in_flight + 1)
                    / f64::from(candidate.weight)
                    / f64::from(candidate.score.max(0.05))
                    + tie_break
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn the_fewest_in_flight_per_weight_come_first_and_a_probe_before_them() {
        let with = |in_flight, weight| Candidate {
            in_flight,
            weight,
            ..PLAIN
        };
        let mut candidates = [with(4, 1), with(5, 3), with(3, 1)];
        assert_eq!(
            ordered(&LeastOutstanding, &candidates, &facts(1)),
            [1, 2, 0]
        );
        candidates[0].is_probe = true;
        assert_eq!(ordered(&LeastOutstanding, &candidates, &facts(1))[0], 0);
        let firsts: Vec<usize> = (0..20)
            .map(|random| ordered(&LeastOutstanding, &[PLAIN; 2], &facts(random))[0])
            .collect();
        assert!(firsts.contains(&0) && firsts.contains(&1));
    }
}
