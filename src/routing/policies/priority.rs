//! `priority`: by the number given, as with every policy, then in the order of the file.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy};

/// The policy.
pub(crate) struct Priority;

impl RoutingPolicy for Priority {
    fn name(&self) -> &'static str {
        "priority"
    }

    fn order(
        &self,
        candidates: &[Candidate],
        _facts: &RequestFacts,
        _turn: u64,
        order: &mut Order,
    ) {
        order.extend(0..candidates.len().min(order.remaining_capacity()));
    }
}
