//! Which arm of an experiment a request belongs to: the same for the same subject, by weighted rendezvous
//! hashing (Thaler, Ravishankar 1998), so that other weights move as few subjects as possible.
//!
//! It must not know what an arm is compared by (`canary.rs`).

use crate::base::random::{fraction, mix};

/// An arm, as far as drawing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm {
    /// Hash of its name.
    pub identity: u64,
    /// Relative share; 0 takes nobody.
    pub weight: u32,
    /// Its targets among the model's, a bit each.
    pub target_refs: u32,
}

/// The arm that was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Drawn {
    /// Its place among the arms.
    pub at: usize,
    /// Every arm could have taken the request, so the arms may be compared by it.
    pub is_fair: bool,
}

/// Draws an arm for `subject` (who is to stay, or a random number). `seed` tells experiments apart, `off`
/// are arms that take nobody now, `excluded` targets that may not be asked, a bit each. `None` when no arm
/// can take the request.
#[must_use]
pub(crate) fn draw(
    seed: u64,
    arms: &[Arm],
    off: u32,
    excluded: u32,
    subject: u64,
) -> Option<Drawn> {
    let is_on = |(at, arm): &(usize, &Arm)| arm.weight > 0 && !bit(off, *at);
    let open = arms.iter().enumerate().filter(is_on);
    let fits = |arm: &Arm| arm.target_refs & !excluded != 0;
    let is_fair = open.clone().all(|(_, arm)| fits(arm));
    let lot = |arm: &Arm| -fraction(mix(subject ^ seed, arm.identity)).ln() / f64::from(arm.weight);
    let lots = open
        .filter(|(_, arm)| fits(arm))
        .map(|(at, arm)| (at, lot(arm)));
    let (at, _) = lots.min_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(Drawn { at, is_fair })
}

/// Whether the bit in place `at` is set.
#[must_use]
pub(crate) fn bit(bits: u32, at: usize) -> bool {
    let place = u32::try_from(at).unwrap_or(u32::MAX);
    bits & 1_u32.checked_shl(place).unwrap_or(0) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arms(weights: &[u32]) -> Vec<Arm> {
        let arm = |(at, weight): (usize, &u32)| Arm {
            identity: mix(at as u64, 77),
            weight: *weight,
            target_refs: 1 << at,
        };
        weights.iter().enumerate().map(arm).collect()
    }

    fn at(weights: &[u32], subject: u64) -> usize {
        draw(5, &arms(weights), 0, 0, mix(subject, 3)).unwrap().at
    }

    #[test]
    fn shares_are_as_weights_and_subjects_stay() {
        let mut counts = [0_u32; 3];
        for subject in 0..20_000 {
            let place = at(&[70, 20, 10], subject);
            assert_eq!(at(&[70, 20, 10], subject), place);
            counts[place] += 1;
        }
        // 14,000, 4,000 and 2,000, within four standard deviations.
        for (count, (wanted, within)) in
            counts
                .into_iter()
                .zip([(14_000, 260), (4_000, 227), (2_000, 170)])
        {
            assert!(u32::abs_diff(count, wanted) < within, "{counts:?}");
        }
    }

    #[test]
    fn other_weights_move_only_towards_the_arm_that_grew() {
        let mut moved = 0;
        for subject in 0..20_000 {
            let (before, after) = (at(&[90, 10], subject), at(&[80, 20], subject));
            assert!(before == after || (before, after) == (0, 1));
            moved += u32::from(before != after);
        }
        // A tenth of them, within four standard deviations.
        assert!(moved.abs_diff(2_000) < 170, "{moved}");
        // An arm that is off gives its subjects to the others, who keep theirs.
        for subject in 0..2_000 {
            let off = draw(5, &arms(&[50, 30, 20]), 0b100, 0, mix(subject, 3)).unwrap();
            let before = at(&[50, 30, 20], subject);
            assert!(off.at == before || before == 2);
            assert_ne!(off.at, 2);
        }
    }

    #[test]
    fn two_experiments_split_the_same_subjects_apart() {
        let both = (0..10_000).filter(|subject| {
            let place = |seed| {
                draw(seed, &arms(&[50, 50]), 0, 0, mix(*subject, 3))
                    .unwrap()
                    .at
            };
            place(1) == 0 && place(2) == 0
        });
        // A quarter, within four standard deviations.
        assert!(both.count().abs_diff(2_500) < 174);
    }

    #[test]
    fn an_arm_that_cannot_take_a_request_makes_it_unfair() {
        let arms = arms(&[50, 50, 0]);
        for subject in 0..100 {
            let drawn = draw(5, &arms, 0, 0b10, mix(subject, 3)).unwrap();
            assert_eq!((drawn.at, drawn.is_fair), (0, false));
            // One without weight has no say.
            assert!(draw(5, &arms, 0, 0b100, mix(subject, 3)).unwrap().is_fair);
            assert_eq!(draw(5, &arms, 0, 0b11, mix(subject, 3)), None);
        }
        assert_eq!(draw(5, &arms, 0b11, 0, 1), None);
    }
}
