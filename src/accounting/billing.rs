//! The billed usage of a request, and its charge: what the provider bills, what the cache saved, or why the cost is unknown.
//!
//! Tokens that the provider did not report are unknown, never zero. A cost is exact, or marked as an estimate, or unknown.

use crate::accounting::cost::Cost;
use crate::accounting::prices::PriceBook;
use crate::base::names::Name;
use crate::protocols::usage::Usage;

/// What a request used, for its charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BilledUsage {
    /// The provider reported this usage.
    Reported(Usage),
    /// The provider did not report the usage of a stream; this is an estimate. The tokens count as unknown, and the cost is an
    /// estimate.
    Estimated(Usage),
    /// The provider reported a number of search units and no tokens. Search units have no prices.
    Searches(u64),
    /// The provider responded and did not report usage.
    Unknown,
    /// The cache served the response; this is the usage it had when it was fetched, where known.
    Saved(Option<Usage>),
    /// Nothing is billed: the request was refused, it failed, or no model was called.
    Nothing,
}

/// What a request cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Nothing is billed.
    Nothing,
    /// From reported tokens and a known price.
    Reported(Cost),
    /// From estimated tokens and a known price.
    Estimated(Cost),
    /// The cache served the response; this is what it had cost when it was fetched, where known.
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
    /// The charge for usage at `target`.
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

    /// What the provider bills, in nano-dollars, estimates included; `None` when it is unknown or nothing is billed.
    #[must_use]
    pub(crate) fn paid_nanousd(&self) -> Option<u64> {
        match self {
            Self::Reported(cost) | Self::Estimated(cost) => Some(cost.total()),
            Self::Saved(_) => Some(0),
            Self::Nothing | Self::Unknown(_) => None,
        }
    }

    /// What the cache saved, in nano-dollars; `None` when it is unknown or the cache did not serve the response.
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
    fn a_charge_is_reported_estimated_unknown_or_saved() {
        let table = prices::shipped().unwrap();
        let book = PriceBook::of_test("p/gpt-4o", &table.prices, "gpt-4o");
        let (priced, unpriced) = (Some(Name::new("p/gpt-4o")), Some(Name::new("p/other")));
        let usage = Usage {
            prompt: 1000,
            completion: 100,
            ..Usage::default()
        };
        let of = |billed_usage, target| Charge::of(billed_usage, target, &book);
        let cost = 2_500_000 + 1_000_000;
        let reported = of(BilledUsage::Reported(usage), priced);
        assert!(matches!(reported, Charge::Reported(_)));
        assert_eq!(reported.paid_nanousd(), Some(cost));
        let estimated = of(BilledUsage::Estimated(usage), priced);
        assert!(matches!(estimated, Charge::Estimated(_)));
        let saved = of(BilledUsage::Saved(Some(usage)), priced);
        assert_eq!(saved.paid_nanousd(), Some(0));
        assert_eq!(saved.saved_nanousd(), Some(cost));
        assert_eq!(of(BilledUsage::Saved(None), priced).saved_nanousd(), None);
        for (billed_usage, target) in [
            (BilledUsage::Reported(usage), unpriced),
            (BilledUsage::Unknown, priced),
        ] {
            assert_eq!(of(billed_usage, target).paid_nanousd(), None);
        }
        assert_eq!(of(BilledUsage::Nothing, priced), Charge::Nothing);
    }
}
