//! `cheapest`: the target with the lowest estimated cost of this request first. Targets without a known price come last,
//! because their price may be any.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

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
        push_sorted(order, candidates.len(), |position| {
            let cost = candidates
                .get(position)
                .and_then(|candidate| candidate.cost_nanousd);
            // Exact: the cost of one request stays far below 2^53 nano-dollars.
            cost.map_or(f64::INFINITY, |nanousd| nanousd as f64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn candidates_are_ordered_by_cost_then_by_the_file_and_unknown_costs_come_last() {
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
