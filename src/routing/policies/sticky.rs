//! `sticky`: requests with the same affinity key go to the same target, so that the provider's prompt cache is warm. It
//! uses weighted rendezvous hashing (Thaler, Ravishankar 1998): when a target goes, only its own keys move.

use crate::base::random::mix;
use crate::routing::policies::weighted::weighted_draw;
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

pub(crate) struct Sticky;

impl RoutingPolicy for Sticky {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        // Without an affinity key the target is drawn by weight.
        let affinity_key = facts.affinity_key.unwrap_or(facts.random);
        push_sorted(order, candidates.len(), |position| {
            candidates.get(position).map_or(0.0, |candidate| {
                // Single errors do not move an affinity key to another target; an open target does.
                let without_errors = Candidate {
                    score: 1.0,
                    ..*candidate
                };
                weighted_draw(&without_errors, mix(affinity_key, candidate.identity))
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    fn first(candidates: &[Candidate], affinity_key: u64, random: u64) -> u64 {
        let facts = RequestFacts {
            affinity_key: Some(mix(affinity_key, 9)),
            ..facts(random)
        };
        candidates[ordered(&Sticky, candidates, &facts)[0]].identity
    }

    #[test]
    fn an_affinity_key_keeps_its_target_and_only_keys_of_a_lost_target_move() {
        let all = [11, 22, 33].map(|identity| Candidate { identity, ..PLAIN });
        let mut counts = std::collections::BTreeMap::new();
        for affinity_key in 0..3000 {
            let target = first(&all, affinity_key, 1);
            assert_eq!(first(&all, affinity_key, 2), target);
            *counts.entry(target).or_insert(0) += 1;
            let left = [all[0], all[2]];
            if target != 22 {
                assert_eq!(first(&left, affinity_key, 3), target);
            }
        }
        assert!(counts.values().all(|count| *count > 850), "{counts:?}");
    }
}
