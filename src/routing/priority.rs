//! `priority`: by the number given, then in the order of the file.

use super::{Candidate, RoutingPolicy};

/// The policy.
pub struct Priority;

impl RoutingPolicy for Priority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn order(&self, candidates: &[Candidate], order: &mut Vec<usize>) {
        order.extend(0..candidates.len());
        order.sort_by_key(|at| candidates.get(*at).map(|candidate| candidate.priority));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_numbers_first_then_the_order_of_the_file() {
        let candidates = [2, 1, 2, 1].map(|priority| Candidate {
            priority,
            weight: 1,
        });
        let mut order = Vec::new();
        Priority.order(&candidates, &mut order);
        assert_eq!(order, [1, 3, 0, 2]);
    }
}
