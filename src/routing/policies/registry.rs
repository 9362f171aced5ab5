//! The list of routing policies. A new policy is one file beside this file and one line in [`POLICIES`].

use crate::routing::policies::cheapest;
use crate::routing::policies::least_latency;
use crate::routing::policies::least_outstanding;
use crate::routing::policies::priority;
use crate::routing::policies::round_robin;
use crate::routing::policies::sticky;
use crate::routing::policies::throughput;
use crate::routing::policies::weighted;
use crate::routing::policy::RoutingPolicy;

/// All routing policies.
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

/// The policy called `name` in the configuration.
#[must_use]
pub fn policy(name: &str) -> Option<&'static dyn RoutingPolicy> {
    POLICIES
        .iter()
        .copied()
        .find(|policy| policy.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;
    use crate::routing::policy::Candidate;
    use crate::routing::policy::tests::{PLAIN, facts, ordered};
    use crate::routing::target_set::TARGETS_MAX;

    #[test]
    fn every_policy_orders_every_candidate_once() {
        assert_eq!(TARGETS_MAX, crate::config::limits::TARGETS.max);
        let candidates: Vec<Candidate> = (0..TARGETS_MAX as u64)
            .map(|index| Candidate {
                identity: mix(index, 7),
                expected_us: (index % 3 > 0).then_some(1000 * index as u32),
                is_probe: index % 5 == 0,
                is_stale: index % 4 == 0,
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
