//! Settling a request: which tokens were bought, which were saved, which are unknown.
//!
//! Nothing here guesses: tokens the provider did not report are counted as unknown, never as zero.

use crate::api::usage::Usage;
use crate::telemetry::Name;
use crate::telemetry::metrics::{CoreMetrics, count};

/// How a request ended, for the books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bought {
    /// The provider reported this usage.
    Reported(Usage),
    /// The provider answered and did not report usage (or the answer was cut off before it came).
    Unknown,
    /// A cached answer was served; this is what it had cost, where known.
    Saved(Option<Usage>),
    /// Nothing was bought: refused, failed, or no model was called.
    Nothing,
}

/// Books one request.
pub fn settle(metrics: &mut CoreMetrics, key: Option<Name>, model: Name, bought: Bought) {
    match bought {
        Bought::Reported(usage) => metrics.spend(key, model, usage),
        Bought::Unknown => count(&mut metrics.usage_missing, model),
        Bought::Saved(Some(usage)) => {
            *metrics.tokens_saved.entry(model).or_default() += usage.prompt + usage.completion;
        }
        Bought::Saved(None) | Bought::Nothing => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_is_not_zero_and_saved_is_not_spent() {
        let mut metrics = CoreMetrics::default();
        let model = Name::new("m");
        let usage = Usage {
            prompt: 3,
            completion: 4,
            cached: 1,
        };
        settle(&mut metrics, None, model, Bought::Unknown);
        settle(&mut metrics, None, model, Bought::Saved(Some(usage)));
        assert!(metrics.tokens.is_empty());
        assert_eq!(metrics.usage_missing[&model], 1);
        assert_eq!(metrics.tokens_saved[&model], 7);
        settle(&mut metrics, None, model, Bought::Reported(usage));
        let input = &metrics.tokens[&(None, model, "input")];
        assert_eq!((input.count(), input.sum()), (1, 3.0));
        assert_eq!(metrics.cached_tokens[&(None, model)], 1);
    }
}
