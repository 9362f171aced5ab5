//! The retry budget of a core: repeats are a share of the requests, so that an outage does not multiply the load.
//!
//! A failover to a healthy target costs nothing, because that target has capacity as far as the core knows. Every other
//! repeat is paid for from this budget; `targets.rs` decides which.

/// Requests that pay for one repeat: repeats are a tenth of the traffic. In a total outage that makes 1.1 attempts per
/// request. The target is at most 1.2, so as much again is left for the time until the outage is noticed.
pub(crate) const REQUESTS_PER_REPEAT: u32 = 10;

/// Most repeats that can be saved: enough for occasional failures where there are few requests.
pub(crate) const REPEATS_SAVED_MAX: u32 = 10;

/// The repeats that may be made now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Requests that have not paid for a repeat yet.
    requests: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            requests: REQUESTS_PER_REPEAT * REPEATS_SAVED_MAX,
        }
    }
}

impl Budget {
    /// Counts a request, which earns its share of a repeat.
    pub(crate) fn earn(&mut self) {
        self.requests = (self.requests + 1).min(REQUESTS_PER_REPEAT * REPEATS_SAVED_MAX);
    }

    /// Pays for a repeat; false when the budget is spent.
    pub(crate) fn spend(&mut self) -> bool {
        let left = self.requests.checked_sub(REQUESTS_PER_REPEAT);
        self.requests = left.unwrap_or(self.requests);
        left.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_a_tenth_of_requests_and_a_burst() {
        let mut budget = Budget::default();
        let spent = (0..1000)
            .filter(|_| {
                budget.earn();
                budget.spend()
            })
            .count();
        assert_eq!(spent, 109);
    }
}
