//! `cheapest`: the lowest price of this request at its estimated size; what has no known price comes
//! last, for a price that nobody knows may be any.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

/// The policy.
pub(crate) struct Cheapest;

impl RoutingPolicy for Cheapest {
    fn name(&self) -> &'static str {
        "cheapest"
    }

    fn reads_costs(&self) -> bool {
        true
    }

    fn order(
        &self,
        candidates: &[Candidate],
        _facts: &RequestFacts,
        _turn: u64,
        order: &mut Order,
    ) {
        push_sorted(order, candidates.len(), |at| {
            let cost = candidates.get(at).and_then(|one| one.cost_nanousd);
            // Costs of one request stay far below 2^53 nano-dollars.
            #[allow(clippy::cast_precision_loss)]
            cost.map_or(f64::INFINITY, |nanousd| nanousd as f64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn by_cost_then_as_in_the_file_and_the_unknown_last() {
        let costs = [None, Some(500), Some(20), None, Some(500), Some(0)];
        let candidates = costs.map(|cost_nanousd| Candidate {
            cost_nanousd,
            ..PLAIN
        });
        assert_eq!(
            ordered(&Cheapest, &candidates, &facts(1)),
            [5, 2, 1, 4, 0, 3]
        );
    }
}
