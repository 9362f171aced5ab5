//! Settling a request: which tokens were bought, which were saved, which are unknown, and what they cost.
//!
//! Tokens the provider did not report are counted as unknown, never as zero. A cost is exact, or marked
//! as an estimate, or unknown.

use crate::accounting::cost::Cost;
use crate::accounting::prices::PriceBook;
use crate::base::names::Name;
use crate::protocols::usage::Usage;

/// How a request ended, for the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BilledUsage {
    /// The provider reported this usage.
    Reported(Usage),
    /// The provider did not report usage of a stream; this is what it may have been. Tokens stay
    /// unknown, the cost is an estimate.
    Estimated(Usage),
    /// The provider reported so many search units, and no tokens; there are no prices for them.
    Searches(u64),
    /// The provider answered and did not report usage.
    Unknown,
    /// A cached answer was served; this is what it had cost, where known.
    Saved(Option<Usage>),
    /// Nothing was bought: refused, failed, or no model was called.
    Nothing,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Nothing was bought.
    Nothing,
    /// By reported tokens and a known price.
    Reported(Cost),
    /// By estimated tokens and a known price.
    Estimated(Cost),
    /// A cached answer was served, which had cost this, where known.
    Saved(Option<Cost>),
    /// The provider was used, but the cost cannot be computed.
    Unknown(MissingCostInput),
}

/// What is missing to compute a cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MissingCostInput {
    /// The target has no price, or none for what it reported.
    Price,
    /// The provider reported no usage.
    Usage,
}

impl MissingCostInput {
    /// Value in metrics.
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Usage => "usage",
        }
    }
}

impl Charge {
    /// The bill for what was bought from `target`.
    #[must_use]
    pub(crate) fn of(billed_usage: BilledUsage, target: Option<Name>, prices: &PriceBook) -> Self {
        let cost = |usage| target.and_then(|target| prices.cost(target, usage));
        let no_price = Self::Unknown(MissingCostInput::Price);
        match billed_usage {
            BilledUsage::Nothing => Self::Nothing,
            BilledUsage::Unknown => Self::Unknown(MissingCostInput::Usage),
            BilledUsage::Searches(_) => no_price,
            BilledUsage::Saved(usage) => Self::Saved(usage.and_then(cost)),
            BilledUsage::Reported(usage) => cost(usage).map_or(no_price, Self::Reported),
            BilledUsage::Estimated(usage) => cost(usage).map_or(no_price, Self::Estimated),
        }
    }

    /// What was paid, in nano-dollars, estimates included; `None` when unknown or nothing was bought.
    #[must_use]
    pub(crate) fn paid_nanousd(&self) -> Option<u64> {
        match self {
            Self::Reported(cost) | Self::Estimated(cost) => Some(cost.total()),
            Self::Saved(_) => Some(0),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }

    /// What a cached answer saved, in nano-dollars; `None` when unknown or none was served.
    #[must_use]
    pub(crate) fn saved_nanousd(&self) -> Option<u64> {
        match self {
            Self::Saved(cost) => cost.as_ref().map(Cost::total),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::prices;

    #[test]
    fn a_bill_is_known_estimated_unknown_or_saved() {
        let table = prices::shipped().unwrap();
        let book = PriceBook::of_test("p/gpt-4o", &table.prices, "gpt-4o");
        let (known, unknown) = (Some(Name::new("p/gpt-4o")), Some(Name::new("p/other")));
        let usage = Usage {
            prompt: 1000,
            completion: 100,
            ..Usage::default()
        };
        let of = |billed_usage, target| Charge::of(billed_usage, target, &book);
        let cost = 2_500_000 + 1_000_000;
        let reported = of(BilledUsage::Reported(usage), known);
        assert!(matches!(reported, Charge::Reported(_)));
        assert_eq!(reported.paid_nanousd(), Some(cost));
        let estimated = of(BilledUsage::Estimated(usage), known);
        assert!(matches!(estimated, Charge::Estimated(_)));
        let saved = of(BilledUsage::Saved(Some(usage)), known);
        assert_eq!(saved.paid_nanousd(), Some(0));
        assert_eq!(saved.saved_nanousd(), Some(cost));
        assert_eq!(of(BilledUsage::Saved(None), known).saved_nanousd(), None);
        for (billed_usage, target) in [
            (BilledUsage::Reported(usage), unknown),
            (BilledUsage::Unknown, known),
        ] {
            assert_eq!(of(billed_usage, target).paid_nanousd(), None);
        }
        assert_eq!(of(BilledUsage::Nothing, known), Charge::Nothing);
    }
}
