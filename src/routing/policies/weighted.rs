//! `weighted`: drawn by weight, less for a target that gives errors; what was not drawn follows, drawn
//! likewise.

use crate::base::random::{fraction, mix};
use crate::routing::policy::{Candidate, Order, RequestFacts, RoutingPolicy, push_sorted};

/// The policy.
pub(crate) struct Weighted;

impl RoutingPolicy for Weighted {
    fn name(&self) -> &'static str {
        "weighted"
    }

    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, _turn: u64, order: &mut Order) {
        push_sorted(order, candidates.len(), |at| {
            candidates
                .get(at)
                .map_or(0.0, |one| lot(one, mix(facts.random, at as u64 + 1)))
        });
    }
}

/// The lot of a candidate: the smallest of several wins with a chance proportional to its weight
/// (Efraimidis, Spirakis 2006, in its exponential form).
pub(crate) fn lot(candidate: &Candidate, random: u64) -> f64 {
    -fraction(random).ln()
        / (f64::from(candidate.weight) * f64::from(candidate.score.max(SCORE_MIN)))
}

/// A target that may take requests at all keeps a small share, or its getting better would go unseen.
const SCORE_MIN: f32 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};

    #[test]
    fn shares_are_as_weights_and_scores() {
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
        for (count, wanted) in first.into_iter().zip([2000, 6000, 2000]) {
            assert!(count.abs_diff(wanted) < 200, "{first:?}");
        }
    }
}
