//! `priority`: targets of the same priority in the order of the configuration file. (Every policy orders by priority
//! first.)

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy};

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
