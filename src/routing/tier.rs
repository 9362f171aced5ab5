//! Candidates of the same availability, and their order: by priority, then by the policy.

use crate::routing::indices::TargetIndex;
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy};
use crate::routing::target_set::{TARGETS_MAX, TargetOrder};
use arrayvec::ArrayVec;

/// Candidates of the same availability, with their indices among the model's targets.
#[derive(Default)]
pub(crate) struct Tier {
    indices: TargetOrder,
    candidates: ArrayVec<Candidate, TARGETS_MAX>,
}

impl Tier {
    pub(crate) fn push(&mut self, index: TargetIndex, candidate: Candidate) {
        self.indices.push(index);
        self.candidates.push(candidate);
    }

    /// Appends the indices: the lowest priority number first, and those of the same priority in the policy's order.
    pub(crate) fn append_to(
        &mut self,
        policy: &dyn RoutingPolicy,
        facts: &RequestFacts,
        turn: u64,
        order: &mut TargetOrder,
    ) {
        if !self
            .candidates
            .is_sorted_by_key(|candidate| candidate.priority)
        {
            let mut indexed: ArrayVec<(Candidate, TargetIndex), TARGETS_MAX> = self
                .candidates
                .drain(..)
                .zip(self.indices.drain(..))
                .collect();
            indexed.sort_by_key(|(candidate, _)| candidate.priority);
            indexed
                .into_iter()
                .for_each(|(candidate, index)| self.push(index, candidate));
        }
        let mut start = 0;
        for group in self.candidates.chunk_by(|a, b| a.priority == b.priority) {
            let mut ordered = Order::new();
            policy.order(group, facts, turn, &mut ordered);
            let indices = ordered
                .iter()
                .filter_map(|position| self.indices.get(start + *position));
            order.extend(indices.copied());
            start += group.len();
        }
    }
}
