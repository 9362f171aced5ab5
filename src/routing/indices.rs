//! Indices into the tables of routing. Each table has an index type of its own, so that an index cannot be used with
//! the wrong table.

macro_rules! indices {
    ($($(#[$doc:meta])* $name:ident($number:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($number);

        impl $name {
            /// The entry at `index`. The type holds more than any table has entries.
            #[must_use]
            pub fn new(index: usize) -> Self {
                let number = <$number>::try_from(index);
                debug_assert!(number.is_ok(), "no table has so many entries: {index}");
                Self(number.unwrap_or(<$number>::MAX))
            }

            /// The index as a number.
            #[must_use]
            pub fn get(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

indices! {
    /// A target of one model, in the order of the configuration.
    TargetIndex(u8);
    /// An arm of one experiment, in the order of the configuration.
    ArmIndex(u8);
    /// An API key of one provider, in the order of the configuration.
    KeyIndex(u32);
    /// A model, or an arm of a model's experiment. Each core counts the requests of each.
    ModelIndex(u32);
    /// A target in the [`TargetTable`](crate::routing::targets::TargetTable) of each core. Models that
    /// share a target share its slot.
    TargetSlot(u32);
}
