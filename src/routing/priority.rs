//! `priority`: by the number given, then in the order of the file.

use super::{Candidate, Facts, Order, RoutingPolicy, push_sorted};

/// The policy.
pub struct Priority;

impl RoutingPolicy for Priority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn order(&self, candidates: &[Candidate], _facts: &Facts, order: &mut Order) {
        push_sorted(order, candidates.len(), |at| {
            candidates
                .get(at)
                .map_or(0.0, |one| f64::from(one.priority))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{PLAIN, facts, ordered};
    use super::*;

    #[test]
    fn lower_numbers_first_then_the_order_of_the_file() {
        let candidates = [2, 1, 2, 1].map(|priority| Candidate { priority, ..PLAIN });
        assert_eq!(ordered(&Priority, &candidates, &facts(0)), [1, 3, 0, 2]);
    }
}
