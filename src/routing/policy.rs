//! The trait of a routing policy and the plain values that a policy reads. It must not know any policy:
//! `policies/registry.rs` lists them.
//!
//! Policies are pure: no sockets, no clock, no source of randomness. Times (microseconds since the start of the core) and
//! random numbers are passed in, so that tests run on a virtual clock.

use crate::routing::measurements::Series;
use crate::routing::target_set::TARGETS_MAX;
use arrayvec::ArrayVec;

/// Positions of candidates in the order in which they are tried. It is on the stack: routing allocates nothing.
pub type Order = ArrayVec<usize, TARGETS_MAX>;

/// A target that the request may be sent to, as a policy sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Hash of the target's name: the same in all cores and processes.
    pub identity: u64,
    /// Lower is tried first, whatever the policy.
    pub priority: u32,
    /// Relative share.
    pub weight: u32,
    /// Share of its recent attempts that succeeded, 0 to 1.
    pub score: f32,
    /// It is half-open: it may take one request as a probe.
    pub is_probe: bool,
    /// Requests of this core in flight at the target.
    pub in_flight: u32,
    /// Expected latency of this request as a quantile of measured latencies, in microseconds: to the first token of a
    /// stream, or to the end of a buffered response. `None` until a latency was measured.
    pub expected_us: Option<u32>,
    /// Estimated cost of this request in nano-dollars; `None` when the price is unknown, or when the policy
    /// does not read costs.
    pub cost_nanousd: Option<u64>,
    /// Tokens per second of responses of this kind; `None` until a rate was measured.
    pub tokens_per_s: Option<f32>,
    /// It was not chosen for [`STALE_AFTER_US`](crate::routing::measurements::STALE_AFTER_US), so its measurements are
    /// old.
    pub is_stale: bool,
}

/// The facts of a request that routing reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// A number drawn for this request.
    pub random: u64,
    /// Hash of the session, or else of the virtual key; `None` for a request with neither.
    pub affinity_key: Option<u64>,
    /// The series that its latency is recorded in.
    pub series: Series,
}

/// Orders the targets of a model.
pub trait RoutingPolicy: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &'static str;

    /// Whether the policy reads costs. They are estimated only then.
    fn reads_costs(&self) -> bool {
        false
    }

    /// Whether the policy reads tokens per second. Buffered responses are measured only then.
    fn reads_rates(&self) -> bool {
        false
    }

    /// Appends the position of each candidate once, in the order in which they are to be tried. All candidates may take
    /// the request and have the same priority; the caller orders each priority on its own.
    ///
    /// `turn` counts the requests of this core for this model.
    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, turn: u64, order: &mut Order);
}

/// Appends the position of every candidate, ordered by `key`, the smallest first; candidates with equal keys keep their
/// order.
pub(crate) fn push_sorted(order: &mut Order, count: usize, key: impl Fn(usize) -> f64) {
    let mut keyed: ArrayVec<(f64, usize), TARGETS_MAX> = (0..count.min(TARGETS_MAX))
        .map(|position| (key(position), position))
        .collect();
    keyed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (_, position) in keyed {
        let _ = order.try_push(position);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::base::random::mix;

    /// A healthy target that was never measured.
    pub(crate) const PLAIN: Candidate = Candidate {
        identity: 0,
        priority: 1,
        weight: 1,
        score: 1.0,
        is_probe: false,
        in_flight: 0,
        expected_us: None,
        cost_nanousd: None,
        tokens_per_s: None,
        is_stale: false,
    };

    /// The order that `policy` gives `candidates`.
    pub(crate) fn ordered(
        policy: &dyn RoutingPolicy,
        candidates: &[Candidate],
        facts: &RequestFacts,
    ) -> Vec<usize> {
        let mut order = Order::new();
        policy.order(candidates, facts, 0, &mut order);
        order.to_vec()
    }

    /// Facts of a request with this random number.
    pub(crate) fn facts(random: u64) -> RequestFacts {
        RequestFacts {
            random: mix(random, 1),
            affinity_key: None,
            series: Series::FirstToken,
        }
    }
}
