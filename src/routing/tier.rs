//! Candidates that stand alike, put in order: by priority, then by the policy.

use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, TARGETS_MAX};
use arrayvec::ArrayVec;

/// Candidates of one standing, with their places among the members.
#[derive(Default)]
pub(crate) struct Tier {
    places: Order,
    candidates: ArrayVec<Candidate, TARGETS_MAX>,
}

impl Tier {
    pub(crate) fn push(&mut self, at: usize, candidate: Candidate) {
        self.places.push(at);
        self.candidates.push(candidate);
    }

    /// Appends the places: those of a lower priority first, those of the same in the policy's order.
    pub(crate) fn append_to(
        &mut self,
        policy: &dyn RoutingPolicy,
        facts: &RequestFacts,
        order: &mut Order,
    ) {
        if !self.candidates.is_sorted_by_key(|one| one.priority) {
            let mut both: ArrayVec<(Candidate, usize), TARGETS_MAX> = self
                .candidates
                .drain(..)
                .zip(self.places.drain(..))
                .collect();
            both.sort_by_key(|(one, _)| one.priority);
            both.into_iter().for_each(|(one, at)| self.push(at, one));
        }
        let mut start = 0;
        for group in self.candidates.chunk_by(|a, b| a.priority == b.priority) {
            let mut ordered = Order::new();
            policy.order(group, facts, &mut ordered);
            let places = ordered.iter().filter_map(|at| self.places.get(start + *at));
            order.extend(places.copied());
            start += group.len();
        }
    }
}
