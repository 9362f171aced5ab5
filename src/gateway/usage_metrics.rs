//! Counts the usage and the charge of a request in the metrics of a core. It must not know how either is
//! found out.

use crate::accounting::billing::{BilledUsage, Charge};
use crate::base::names::Name;
use crate::observability::metrics::core_metrics::CoreMetrics;

/// Counts what one request used and what it cost.
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
            metrics.cache.tokens_saved.add(model, usage.total());
        }
        BilledUsage::Saved(None) | BilledUsage::Nothing => {}
    }
    let costs = &mut metrics.cost;
    match charge {
        Charge::Reported(cost) => costs.charge(key, model, cost.parts(), false),
        Charge::Estimated(cost) => costs.charge(key, model, cost.parts(), true),
        Charge::Saved(Some(cost)) => costs.saved.add(model, cost.total()),
        Charge::Unknown(missing) => costs.unknown.increment((model, *missing)),
        Charge::Saved(None) | Charge::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::billing::MissingCostInput;
    use crate::accounting::cost::{Cost, TokenType};
    use crate::protocols::usage::Usage;

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
            record_usage(&mut metrics, None, model, billed_usage, &charge);
        };
        record_usage(
            BilledUsage::Unknown,
            Charge::Unknown(MissingCostInput::Usage),
        );
        record_usage(BilledUsage::Saved(Some(usage)), Charge::Saved(Some(cost)));
        record_usage(BilledUsage::Estimated(usage), Charge::Estimated(cost));
        assert!(
            metrics
                .usage
                .tokens
                .get((None, model, TokenType::Input))
                .is_none()
        );
        assert_eq!(metrics.usage.missing.get(model), 2);
        assert_eq!(metrics.cache.tokens_saved.get(model), 7);
        let mut record_usage = |billed_usage, charge| {
            super::record_usage(&mut metrics, None, model, billed_usage, &charge);
        };
        record_usage(BilledUsage::Reported(usage), Charge::Reported(cost));
        record_usage(
            BilledUsage::Reported(usage),
            Charge::Unknown(MissingCostInput::Price),
        );
        let input = metrics
            .usage
            .tokens
            .get((None, model, TokenType::Input))
            .unwrap();
        assert_eq!((input.count(), input.sum()), (2, 6.0));
        assert_eq!(metrics.usage.cached_input_tokens.get((None, model)), 2);
        let costs = &metrics.cost;
        assert_eq!(costs.charged.get((None, model, TokenType::Output)), 12);
        assert_eq!(costs.estimated.get(model), 11);
        assert_eq!(costs.saved.get(model), 11);
        assert_eq!(costs.unknown.get((model, MissingCostInput::Price)), 1);
        assert_eq!(costs.unknown.get((model, MissingCostInput::Usage)), 1);
    }
}
