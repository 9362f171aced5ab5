//! `weighted`: draws the targets by weight, one after the other. Errors lower a target's weight.

use crate::base::random::{fraction, mix};
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

pub(crate) struct Weighted;

impl RoutingPolicy for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        push_sorted(order, candidates.len(), |position| {
            candidates.get(position).map_or(0.0, |candidate| {
                weighted_draw(candidate, mix(facts.random, position as u64 + 1))
            })
        });
    }
}

/// A random number for a candidate. Among several candidates, the chance to have the smallest number is proportional to
/// the weight (Efraimidis, Spirakis 2006, in its exponential form).
pub(crate) fn weighted_draw(candidate: &Candidate, random: u64) -> f64 {
    -fraction(random).ln()
        / (f64::from(candidate.weight) * f64::from(candidate.score.max(SCORE_MIN)))
}

/// Every target that may take requests keeps a small share, so that a recovery is noticed.
const SCORE_MIN: f32 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn shares_are_proportional_to_weights_and_scores() {
        let candidates = [(1, 1.0), (3, 1.0), (2, 0.5)].map(|(weight, score)| Candidate {
            weight,
            score,
            ..PLAIN
        });
        let mut first = [0_u32; 3];
        for random in 0..10_000 {
            first[ordered(&Weighted, &candidates, &facts(random))[0]] += 1;
        }
        // 1 : 3 : 1, within four standard deviations.
        for (count, expected) in first.into_iter().zip([2000, 6000, 2000]) {
            assert!(count.abs_diff(expected) < 200, "{first:?}");
        }
    }
}
