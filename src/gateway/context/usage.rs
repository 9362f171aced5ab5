//! What a request used and what it cost.

use crate::accounting::billing::{BilledUsage, Charge};
use crate::accounting::prices::PriceBook;
use crate::base::names::Name;
use crate::protocols::usage::Usage;

pub(crate) struct RequestUsage {
    billed: BilledUsage,
    charge: Charge,
}

impl Default for RequestUsage {
    fn default() -> Self {
        Self {
            billed: BilledUsage::Nothing,
            charge: Charge::Nothing,
        }
    }
}

impl RequestUsage {
    /// Sets usage and charge together.
    pub(crate) fn set(&mut self, billed: BilledUsage, target: Option<Name>, prices: &PriceBook) {
        self.billed = billed;
        self.charge = Charge::of(billed, target, prices);
    }

    #[must_use]
    pub(crate) fn billed(&self) -> BilledUsage {
        self.billed
    }

    #[must_use]
    pub(crate) fn charge(&self) -> &Charge {
        &self.charge
    }

    /// Tokens that the provider reported.
    #[must_use]
    pub(crate) fn reported(&self) -> Option<Usage> {
        match self.billed {
            BilledUsage::Reported(usage) => Some(usage),
            _ => None,
        }
    }

    /// Tokens that were paid for; `input_tokens` where the provider did not report them.
    #[must_use]
    pub(crate) fn tokens_or(&self, input_tokens: u64) -> u64 {
        match self.billed {
            BilledUsage::Reported(usage) | BilledUsage::Estimated(usage) => usage.total(),
            BilledUsage::Unknown => input_tokens,
            BilledUsage::Searches(_) | BilledUsage::Saved(_) | BilledUsage::Nothing => 0,
        }
    }
}
