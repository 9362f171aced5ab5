//! Settling a request: which tokens were bought, which were saved, which are unknown, and what they cost.
//!
//! Tokens the provider did not report are counted as unknown, never as zero. A cost is exact, or marked
//! as an estimate, or unknown.

use crate::accounting::cost::Cost;
use crate::accounting::prices::PriceBook;
use crate::base::names::Name;
use crate::observability::metrics::core_metrics::CoreMetrics;
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
    Known(Cost),
    /// By estimated tokens and a known price.
    Estimated(Cost),
    /// A cached answer was served, which had cost this, where known.
    Saved(Option<Cost>),
    /// Something was bought, and nobody knows for how much: because of the `price` or the `usage`.
    Unknown(&'static str),
}

impl Charge {
    /// The bill for what was bought from `target`.
    #[must_use]
    pub(crate) fn of(billed_usage: BilledUsage, target: Option<Name>, prices: &PriceBook) -> Self {
        let cost = |usage| target.and_then(|target| prices.cost(target, usage));
        match billed_usage {
            BilledUsage::Nothing => Self::Nothing,
            BilledUsage::Unknown => Self::Unknown("usage"),
            BilledUsage::Searches(_) => Self::Unknown("price"),
            BilledUsage::Saved(usage) => Self::Saved(usage.and_then(cost)),
            BilledUsage::Reported(usage) => cost(usage).map_or(Self::Unknown("price"), Self::Known),
            BilledUsage::Estimated(usage) => {
                cost(usage).map_or(Self::Unknown("price"), Self::Estimated)
            }
        }
    }

    /// What was paid, in nano-dollars, estimates included; `None` when unknown or nothing was bought.
    #[must_use]
    pub(crate) fn paid_nanousd(&self) -> Option<u64> {
        match self {
            Self::Known(cost) | Self::Estimated(cost) => Some(cost.total()),
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

/// Books one request.
pub(crate) fn record_usage(
    metrics: &mut CoreMetrics,
    key: Option<Name>,
    model: Name,
    billed_usage: BilledUsage,
    charge: &Charge,
) {
    match billed_usage {
        BilledUsage::Reported(usage) => metrics.record_tokens(key, model, usage),
        BilledUsage::Unknown | BilledUsage::Estimated(_) => metrics.usage.missing.increment(model),
        BilledUsage::Searches(units) => {
            metrics.usage.search_units.add((key, model), units);
        }
        BilledUsage::Saved(Some(usage)) => {
            metrics
                .cache
                .tokens_saved
                .add(model, usage.prompt + usage.completion);
        }
        BilledUsage::Saved(None) | BilledUsage::Nothing => {}
    }
    let costs = &mut metrics.cost;
    match charge {
        Charge::Known(cost) => costs.charge(key, model, cost.parts(), false),
        Charge::Estimated(cost) => costs.charge(key, model, cost.parts(), true),
        Charge::Saved(Some(cost)) => costs.saved.add(model, cost.total()),
        Charge::Unknown(why) => costs.unknown.increment((model, why)),
        Charge::Saved(None) | Charge::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::prices;

    #[test]
    fn unknown_is_not_zero_and_saved_is_not_spent() {
        let mut metrics = CoreMetrics::default();
        let model = Name::new("m");
        let usage = Usage {
            prompt: 3,
            completion: 4,
            cached: 1,
            ..Usage::default()
        };
        let cost = Cost {
            input: 5,
            output: 6,
            ..Cost::default()
        };
        let mut record_usage = |billed_usage, charge| {
            super::record_usage(&mut metrics, None, model, billed_usage, &charge)
        };
        record_usage(BilledUsage::Unknown, Charge::Unknown("usage"));
        record_usage(BilledUsage::Saved(Some(usage)), Charge::Saved(Some(cost)));
        record_usage(BilledUsage::Estimated(usage), Charge::Estimated(cost));
        assert!(metrics.usage.tokens.get((None, model, "input")).is_none());
        assert_eq!(metrics.usage.missing.get(model), 2);
        assert_eq!(metrics.cache.tokens_saved.get(model), 7);
        let mut record_usage = |billed_usage, charge| {
            super::record_usage(&mut metrics, None, model, billed_usage, &charge)
        };
        record_usage(BilledUsage::Reported(usage), Charge::Known(cost));
        record_usage(BilledUsage::Reported(usage), Charge::Unknown("price"));
        let input = metrics.usage.tokens.get((None, model, "input")).unwrap();
        assert_eq!((input.count(), input.sum()), (2, 6.0));
        assert_eq!(metrics.usage.cached_input_tokens.get((None, model)), 2);
        let costs = &metrics.cost;
        assert_eq!(costs.charged.get((None, model, "output")), 12);
        assert_eq!(costs.estimated.get(model), 11);
        assert_eq!(costs.saved.get(model), 11);
        assert_eq!(costs.unknown.get((model, "price")), 1);
        assert_eq!(costs.unknown.get((model, "usage")), 1);
    }

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
        assert!(matches!(reported, Charge::Known(_)));
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
