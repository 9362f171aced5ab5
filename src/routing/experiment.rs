//! Chooses the arm of an experiment for a request: the same arm for the same subject. It uses weighted rendezvous hashing
//! (Thaler, Ravishankar 1998), so that a change of weights moves as few subjects as possible.
//!
//! It must not know how arms are compared (`canary.rs`).

use crate::base::random::{fraction, mix};
use crate::routing::indices::ArmIndex;
use crate::routing::target_set::{ArmSet, TargetSet};

/// An arm of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    /// Hash of its name.
    pub identity: u64,
    /// Relative share of the subjects; with 0 it gets none.
    pub weight: u32,
    /// The targets of the model that belong to it.
    pub targets: TargetSet,
}

/// The arm that was chosen for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    pub arm: ArmIndex,
    /// Every arm could have taken the request, so the request may count in the comparison of the arms.
    pub is_fair: bool,
}

/// Chooses an arm for `subject`: the hash of what always gets the same arm, or a random number. `seed` differs between
/// experiments, so that they split the subjects independently. Arms that are `off` get no requests; no request is sent to
/// `excluded` targets. `None` when no arm can take the request.
#[must_use]
pub(crate) fn draw(
    seed: u64,
    arms: &[Arm],
    off: ArmSet,
    excluded: TargetSet,
    subject: u64,
) -> Option<Drawn> {
    let indexed = arms.iter().enumerate();
    let indexed = indexed.map(|(index, arm)| (ArmIndex::new(index), arm));
    let is_on = |(index, arm): &(ArmIndex, &Arm)| arm.weight > 0 && !off.contains(*index);
    let open = indexed.filter(is_on);
    let fits = |arm: &Arm| !arm.targets.difference(excluded).is_empty();
    let is_fair = open.clone().all(|(_, arm)| fits(arm));
    let draw =
        |arm: &Arm| -fraction(mix(subject ^ seed, arm.identity)).ln() / f64::from(arm.weight);
    let draws = open
        .filter(|(_, arm)| fits(arm))
        .map(|(index, arm)| (index, draw(arm)));
    let (arm, _) = draws.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Drawn { arm, is_fair })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(weights: &[u32]) -> Vec<Arm> {
        let arm = |(index, weight): (usize, &u32)| Arm {
            identity: mix(index as u64, 77),
            weight: *weight,
            targets: TargetSet::from_bits(1 << index),
        };
        weights.iter().enumerate().map(arm).collect()
    }

    fn drawn(arms: &[Arm], off: u32, excluded: u32, subject: u64) -> Option<Drawn> {
        let (off, excluded) = (ArmSet::from_bits(off), TargetSet::from_bits(excluded));
        draw(5, arms, off, excluded, subject)
    }

    fn arm_of(weights: &[u32], subject: u64) -> usize {
        drawn(&arms(weights), 0, 0, mix(subject, 3))
            .unwrap()
            .arm
            .get()
    }

    #[test]
    fn shares_are_proportional_to_weights_and_subjects_keep_their_arm() {
        let mut counts = [0_u32; 3];
        for subject in 0..20_000 {
            let arm = arm_of(&[70, 20, 10], subject);
            assert_eq!(arm_of(&[70, 20, 10], subject), arm);
            counts[arm] += 1;
        }
        // 14,000, 4,000 and 2,000, within four standard deviations.
        for (count, (expected, within)) in
            counts
                .into_iter()
                .zip([(14_000, 260), (4_000, 227), (2_000, 170)])
        {
            assert!(u32::abs_diff(count, expected) < within, "{counts:?}");
        }
    }

    #[test]
    fn a_change_of_weights_moves_subjects_only_to_the_arm_that_grew() {
        let mut moved = 0;
        for subject in 0..20_000 {
            let (before, after) = (arm_of(&[90, 10], subject), arm_of(&[80, 20], subject));
            assert!(before == after || (before, after) == (0, 1));
            moved += u32::from(before != after);
        }
        // A tenth of them, within four standard deviations.
        assert!(moved.abs_diff(2_000) < 170, "{moved}");
        // The subjects of an arm that is off move to other arms; all others stay.
        for subject in 0..2_000 {
            let off = drawn(&arms(&[50, 30, 20]), 0b100, 0, mix(subject, 3)).unwrap();
            let off = off.arm.get();
            let before = arm_of(&[50, 30, 20], subject);
            assert!(off == before || before == 2);
            assert_ne!(off, 2);
        }
    }

    #[test]
    fn two_experiments_split_the_same_subjects_independently() {
        let both = (0..10_000).filter(|subject| {
            let arm = |seed| {
                draw(
                    seed,
                    &arms(&[50, 50]),
                    ArmSet::default(),
                    TargetSet::default(),
                    mix(*subject, 3),
                )
                .unwrap()
                .arm
                .get()
            };
            arm(1) == 0 && arm(2) == 0
        });
        // A quarter, within four standard deviations.
        assert!(both.count().abs_diff(2_500) < 174);
    }

    #[test]
    fn an_arm_that_cannot_take_a_request_makes_it_unfair() {
        let arms = arms(&[50, 50, 0]);
        for subject in 0..100 {
            let unfair = drawn(&arms, 0, 0b10, mix(subject, 3)).unwrap();
            assert_eq!((unfair.arm.get(), unfair.is_fair), (0, false));
            // An arm without weight does not count.
            assert!(drawn(&arms, 0, 0b100, mix(subject, 3)).unwrap().is_fair);
            assert_eq!(drawn(&arms, 0, 0b11, mix(subject, 3)), None);
        }
        assert_eq!(drawn(&arms, 0b11, 0, 1), None);
    }
}
