//! `round-robin`: each in turn, per core and model.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy};

/// The policy.
pub(crate) struct RoundRobin;

impl RoutingPolicy for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, order: &mut Order) {
        let count = candidates.len();
        let first = usize::try_from(facts.turn % count.max(1) as u64).unwrap_or(0);
        for at in (first..count).chain(0..first) {
            let _ = order.try_push(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn each_comes_first_in_its_turn() {
        let orders: Vec<Vec<usize>> = (0..4)
            .map(|turn| ordered(&RoundRobin, &[PLAIN; 3], &facts(turn)))
            .collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
