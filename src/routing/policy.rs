//! Which targets, in which order. A policy is one file here and one line in [`POLICIES`].
//!
//! Everything here is pure: no sockets, no clock, no randomness of its own. Time is microseconds
//! since a core's start, random numbers are handed in, and so a test can run it by a virtual clock.
//! `fleet.rs` holds a core's state of all targets; policies see plain values.

use crate::routing::measurements::Series;
use crate::routing::policies::cheapest;
use crate::routing::policies::least_latency;
use crate::routing::policies::least_outstanding;
use crate::routing::policies::priority;
use crate::routing::policies::round_robin;
use crate::routing::policies::sticky;
use crate::routing::policies::throughput;
use crate::routing::policies::weighted;
use crate::routing::target_set::TARGETS_MAX;
use arrayvec::ArrayVec;

/// Positions of candidates, the first to be tried first. It lives on the stack: routing allocates nothing.
pub type Order = ArrayVec<usize, TARGETS_MAX>;

/// What a policy knows of a target that may take the request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Identity of the target, the same in every core and every process.
    pub identity: u64,
    /// Lower is tried first, whatever the policy.
    pub priority: u32,
    /// Relative share.
    pub weight: u32,
    /// Share of its recent answers that were good, 0 to 1.
    pub score: f32,
    /// It was open and may take one request as a probe.
    pub is_probe: bool,
    /// Requests under way at it from this core.
    pub outstanding: u32,
    /// Time that requests like this one take, in microseconds: of a stream to its first token, of a
    /// whole answer in all, both as a quantile; `None` until one was measured.
    pub expected_us: Option<u32>,
    /// What this request is estimated to cost there, in nano-dollars; `None` when its price is unknown,
    /// or no policy asked.
    pub cost_nanousd: Option<u64>,
    /// Tokens per second of answers of this kind; `None` until one was measured.
    pub tokens_per_s: Option<f32>,
    /// It was not chosen for a while, so what is known of its latency is old.
    pub is_stale: bool,
}

/// What routing knows of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestFacts {
    /// A number drawn for this request.
    pub random: u64,
    /// Hash of the session, or else of the virtual key; `None` for a request with neither.
    pub affinity_key: Option<u64>,
    /// The series that its latency belongs to.
    pub series: Series,
}

/// Orders the targets of a model.
pub trait RoutingPolicy: Sync {
    /// Name in the configuration.
    fn name(&self) -> &'static str;

    /// Whether it goes by costs, which are worked out only then.
    fn reads_costs(&self) -> bool {
        false
    }

    /// Whether it goes by tokens per second, which are measured of whole answers only then.
    fn reads_rates(&self) -> bool {
        false
    }

    /// Appends indices into `candidates`, each once, the first to be tried first. All of the
    /// candidates may take the request and have the same priority: those that may not are not shown,
    /// and those of another priority are ordered apart.
    ///
    /// `turn` counts the requests of this core for this model.
    fn order(&self, candidates: &[Candidate], facts: &RequestFacts, turn: u64, order: &mut Order);
}

/// Every policy there is.
pub static POLICIES: &[&dyn RoutingPolicy] = &[
    &priority::Priority,
    &weighted::Weighted,
    &round_robin::RoundRobin,
    &least_outstanding::LeastOutstanding,
    &least_latency::LeastLatency,
    &sticky::Sticky,
    &cheapest::Cheapest,
    &throughput::Throughput,
];

/// The policy called `name`.
#[must_use]
pub fn policy(name: &str) -> Option<&'static dyn RoutingPolicy> {
    POLICIES
        .iter()
        .copied()
        .find(|policy| policy.name() == name)
}

/// Appends every candidate's index, by `key`, the smallest first; equal ones stay in their order.
pub(crate) fn push_sorted(order: &mut Order, count: usize, key: impl Fn(usize) -> f64) {
    let mut keyed: ArrayVec<(f64, usize), TARGETS_MAX> = (0..count.min(TARGETS_MAX))
        .map(|at| (key(at), at))
        .collect();
    keyed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (_, at) in keyed {
        let _ = order.try_push(at);
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
        outstanding: 0,
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

    #[test]
    fn every_policy_names_every_candidate_once() {
        assert_eq!(TARGETS_MAX, crate::config::limits::TARGETS.max);
        let candidates: Vec<Candidate> = (0..TARGETS_MAX as u64)
            .map(|at| Candidate {
                identity: mix(at, 7),
                expected_us: (at % 3 > 0).then_some(1000 * at as u32),
                is_probe: at % 5 == 0,
                is_stale: at % 4 == 0,
                ..PLAIN
            })
            .collect();
        for policy in POLICIES {
            for random in 0..50 {
                for count in [0, 1, 2, 3, TARGETS_MAX] {
                    let mut order = ordered(*policy, &candidates[..count], &facts(random));
                    order.sort_unstable();
                    let all: Vec<usize> = (0..count).collect();
                    assert_eq!(order, all, "{}", policy.name());
                }
            }
        }
    }
}
