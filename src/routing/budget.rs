//! The retry budget of a core: repeats are a share of requests, so that an outage is not multiplied.
//!
//! A failover to a healthy target costs nothing, it meets capacity that is free as far as is known;
//! every other repeat is paid for here. See `fleet.rs`.

/// Requests that pay for one repeat: a tenth of the traffic. In a total outage that makes 1.1 attempts
/// per request, and leaves as much again of the bar of 1.2 for the time until the outage is known.
pub(crate) const REQUESTS_PER_REPEAT: u32 = 10;

/// Repeats that may be saved up: enough for the odd failure where there are few requests.
pub(crate) const REPEATS_SAVED_MAX: u32 = 10;

/// What may be spent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
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
    /// A request came.
    pub(crate) fn earn(&mut self) {
        self.requests = (self.requests + 1).min(REQUESTS_PER_REPEAT * REPEATS_SAVED_MAX);
    }

    /// Pays for a repeat; false when there is nothing to pay with.
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
