//! `sticky`: who asks again comes to the same target, so that a provider's prompt cache is warm. By
//! weighted rendezvous hashing (Thaler, Ravishankar 1998): when a target goes, only its askers move.

use crate::base::random::mix;
use crate::routing::policies::weighted::lot;
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

/// The policy.
pub(crate) struct Sticky;

impl RoutingPolicy for Sticky {
    fn name(&self) -> &'static str {
        "sticky"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        // Nobody to be told apart: anywhere, by weight.
        let affinity_key = facts.affinity_key.unwrap_or(facts.random);
        push_sorted(order, candidates.len(), |at| {
            candidates.get(at).map_or(0.0, |one| {
                // Errors do not move an asker; an open target does.
                let steady = Candidate { score: 1.0, ..*one };
                lot(&steady, mix(affinity_key, one.identity))
            })
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    fn first(candidates: &[Candidate], affinity_key: u64, random: u64) -> u64 {
        let asked = RequestFacts {
            affinity_key: Some(mix(affinity_key, 9)),
            ..facts(random)
        };
        candidates[ordered(&Sticky, candidates, &asked)[0]].identity
    }

    #[test]
    fn an_asker_stays_and_only_those_of_a_lost_target_move() {
        let all = [11, 22, 33].map(|identity| Candidate { identity, ..PLAIN });
        let mut counts = std::collections::BTreeMap::new();
        for affinity_key in 0..3000 {
            let place = first(&all, affinity_key, 1);
            assert_eq!(first(&all, affinity_key, 2), place);
            *counts.entry(place).or_insert(0) += 1;
            let left = [all[0], all[2]];
            if place != 22 {
                assert_eq!(first(&left, affinity_key, 3), place);
            }
        }
        assert!(counts.values().all(|count| *count > 850), "{counts:?}");
    }
}
