//! The cost of each policy: it chooses one of ten targets, with all of them eligible or half excluded, and an
//! attempt is counted and measured. The workloads, whose instructions are recorded, contain one policy.

use super::workloads::ten_targets;
use criterion::Criterion;
use ringside::base::random::mix;
use ringside::routing::health::Outcome;
use ringside::routing::indices::ModelIndex;
use ringside::routing::measurements::Series;
use ringside::routing::policies::registry::POLICIES;
use ringside::routing::policy::{RequestFacts, RoutingPolicy};
use ringside::routing::route_inputs::RouteInputs;
use ringside::routing::target_ref::TargetRef;
use ringside::routing::target_set::TargetSet;
use ringside::routing::targets::TargetTable;
use std::hint::black_box;

/// Every second of ten targets, as a filter leaves them out.
const HALF: TargetSet = TargetSet::from_bits(0b01_0101_0101);

/// Measures every policy.
pub(crate) fn all(criterion: &mut Criterion) {
    for policy in POLICIES {
        for (case, excluded, with_attempt) in [
            ("one of 10 targets", TargetSet::default(), false),
            ("one of 10 targets, 5 left out", HALF, false),
            (
                "one of 10 targets, and what came of it",
                TargetSet::default(),
                true,
            ),
        ] {
            let mut requests = Requests::new(*policy, excluded, with_attempt);
            let name = format!("policy/{}, {case}", policy.name());
            criterion.bench_function(&name, |bencher| bencher.iter(|| requests.next()));
        }
    }
}

/// Successive requests, a tenth of a millisecond apart, over one target table.
struct Requests {
    policy: &'static dyn RoutingPolicy,
    excluded: TargetSet,
    with_attempt: bool,
    target_table: TargetTable,
    target_refs: Vec<TargetRef>,
    request: u64,
}

impl Requests {
    fn new(policy: &'static dyn RoutingPolicy, excluded: TargetSet, with_attempt: bool) -> Self {
        Self {
            policy,
            excluded,
            with_attempt,
            target_table: TargetTable::default(),
            target_refs: ten_targets(),
            request: 0,
        }
    }

    fn next(&mut self) {
        self.request += 1;
        let (request, now_us) = (self.request, self.request * 100);
        let inputs = RouteInputs {
            facts: RequestFacts {
                random: mix(request, 1),
                affinity_key: Some(request),
                series: Series::FirstToken,
            },
            excluded: self.excluded,
            costs_nanousd: &[],
        };
        self.target_table.count_request();
        let routed = self.target_table.route(
            ModelIndex::new(0),
            &self.target_refs,
            self.policy,
            &inputs,
            now_us,
        );
        let first = black_box(routed.order[0]);
        if self.with_attempt {
            let ticket = self
                .target_table
                .begin(&self.target_refs[first.get()], now_us);
            self.target_table
                .measure(&ticket, Series::FirstToken, 1000 + request % 512, now_us);
            self.target_table
                .end(ticket, Outcome::Good, now_us, request);
        }
    }
}
