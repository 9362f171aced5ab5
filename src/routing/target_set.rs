//! Small sets of targets or arms: one bit for each, so that a set is copied like a number.

use crate::routing::indices::{ArmIndex, TargetIndex};
use arrayvec::ArrayVec;
use std::marker::PhantomData;

/// Most targets of one model: as many as a set has bits. The configuration has the same limit.
pub const TARGETS_MAX: usize = u32::BITS as usize;

/// Targets of one model.
pub type TargetSet = IndexSet<TargetIndex>;

/// Arms of one experiment.
pub type ArmSet = IndexSet<ArmIndex>;

/// Targets of one model in the order in which they are tried. It is on the stack.
pub type TargetOrder = ArrayVec<TargetIndex, TARGETS_MAX>;

/// An index type that a set can hold.
pub trait SetIndex: Copy {
    /// The index with this number.
    fn from_usize(index: usize) -> Self;
    /// The index as a number.
    fn to_usize(self) -> usize;
}

impl SetIndex for TargetIndex {
    fn from_usize(index: usize) -> Self {
        Self::new(index)
    }

    fn to_usize(self) -> usize {
        self.get()
    }
}

impl SetIndex for ArmIndex {
    fn from_usize(index: usize) -> Self {
        Self::new(index)
    }

    fn to_usize(self) -> usize {
        self.get()
    }
}

/// A set of indices below 32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexSet<I> {
    bits: u32,
    index: PhantomData<I>,
}

impl<I: SetIndex> IndexSet<I> {
    /// The set whose bits are `bits`, the lowest for index 0.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self {
            bits,
            index: PhantomData,
        }
    }

    /// The bits, the lowest for index 0.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.bits
    }

    fn bit(index: I) -> u32 {
        let bit = u32::try_from(index.to_usize()).ok();
        let bit = bit.and_then(|shift| 1_u32.checked_shl(shift));
        debug_assert!(bit.is_some(), "index {} is in no set", index.to_usize());
        bit.unwrap_or(0)
    }

    /// Whether `index` is in the set.
    #[must_use]
    pub fn contains(self, index: I) -> bool {
        self.bits & Self::bit(index) != 0
    }

    /// Adds `index`.
    pub fn insert(&mut self, index: I) {
        self.bits |= Self::bit(index);
    }

    /// Removes `index`.
    pub fn remove(&mut self, index: I) {
        self.bits &= !Self::bit(index);
    }

    /// Whether the set has no index.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Number of indices in the set.
    #[must_use]
    pub fn len(self) -> usize {
        self.bits.count_ones() as usize
    }

    /// The indices that are in at least one of the two sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self::from_bits(self.bits | other.bits)
    }

    /// The indices that are in this set and not in `other`.
    #[must_use]
    pub fn difference(self, other: Self) -> Self {
        Self::from_bits(self.bits & !other.bits)
    }

    /// All indices that a set can hold and that are not in this set.
    #[must_use]
    pub fn complement(self) -> Self {
        Self::from_bits(!self.bits)
    }

    /// The indices, the lowest first.
    pub fn iter(self) -> impl Iterator<Item = I> {
        let mut bits = self.bits;
        std::iter::from_fn(move || {
            let index = (bits != 0).then(|| I::from_usize(bits.trailing_zeros() as usize))?;
            bits &= bits - 1;
            Some(index)
        })
    }
}

impl<I: SetIndex> FromIterator<I> for IndexSet<I> {
    fn from_iter<T: IntoIterator<Item = I>>(indices: T) -> Self {
        let mut set = Self::from_bits(0);
        for index in indices {
            set.insert(index);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;
    use std::collections::BTreeSet;

    /// A random set, as a bit set and as an ordered set.
    fn sets(seed: u64) -> (TargetSet, BTreeSet<TargetIndex>) {
        let bits = mix(seed, 1) as u32 & mix(seed, 2) as u32;
        let indices = (0..TARGETS_MAX).filter(|index| bits >> index & 1 == 1);
        let model: BTreeSet<TargetIndex> = indices.map(TargetIndex::new).collect();
        (model.iter().copied().collect(), model)
    }

    #[test]
    fn a_set_does_what_an_ordered_set_does() {
        for seed in 0..2_000 {
            let (mut set, mut model) = sets(seed);
            for step in 0..20 {
                let index = TargetIndex::new(mix(seed, 3 + step) as usize % TARGETS_MAX);
                if mix(seed, 100 + step).is_multiple_of(2) {
                    set.insert(index);
                    model.insert(index);
                } else {
                    set.remove(index);
                    model.remove(&index);
                }
                assert_eq!(set.contains(index), model.contains(&index));
                assert_eq!((set.len(), set.is_empty()), (model.len(), model.is_empty()));
                assert!(set.iter().eq(model.iter().copied()));
                assert_eq!(TargetSet::from_bits(set.bits()), set);
            }
        }
    }

    #[test]
    fn unions_and_differences_are_those_of_ordered_sets() {
        for seed in 0..2_000 {
            let ((a, model_a), (b, model_b)) = (sets(seed), sets(!seed));
            assert!(a.union(b).iter().eq(model_a.union(&model_b).copied()));
            assert!(
                a.difference(b)
                    .iter()
                    .eq(model_a.difference(&model_b).copied())
            );
            assert!(a.complement().iter().all(|index| !model_a.contains(&index)));
            assert_eq!(a.len() + a.complement().len(), TARGETS_MAX);
        }
    }
}
