//! `round-robin`: the targets take turns. Each core counts the turns of each model.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy};

pub(crate) struct RoundRobin;

impl RoutingPolicy for RoundRobin {
    fn name(&self) -> &'static str {
        "round-robin"
    }

    fn order(&self, candidates: &[Candidate], _facts: &RequestFacts, turn: u64, order: &mut Order) {
        let count = candidates.len();
        let first = usize::try_from(turn % count.max(1) as u64).unwrap_or(0);
        for position in (first..count).chain(0..first) {
            let _ = order.try_push(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts};

    #[test]
    fn each_target_comes_first_in_its_turn() {
        let ordered = |turn| {
            let mut order = Order::new();
            RoundRobin.order(&[PLAIN; 3], &facts(0), turn, &mut order);
            order.to_vec()
        };
        let orders: Vec<Vec<usize>> = (0..4).map(ordered).collect();
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }
}
