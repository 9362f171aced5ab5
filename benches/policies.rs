//! What each policy costs: one of ten targets is chosen, all of them fit or half of them left out, and an
//! attempt is counted and measured. Not among the workloads, whose instructions are recorded: that list has one.

use super::workloads::ten_members;
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

/// Benches all of them.
pub(crate) fn all(criterion: &mut Criterion) {
    for policy in POLICIES {
        for (what, excluded, is_whole) in [
            ("one of 10 targets", TargetSet::default(), false),
            ("one of 10 targets, 5 left out", HALF, false),
            (
                "one of 10 targets, and what came of it",
                TargetSet::default(),
                true,
            ),
        ] {
            let mut turns = Turns::new(*policy, excluded, is_whole);
            let name = format!("policy/{}, {what}", policy.name());
            criterion.bench_function(&name, |bencher| bencher.iter(|| turns.next()));
        }
    }
}

/// Requests one after the other, a tenth of a millisecond apart, on one fleet.
struct Turns {
    policy: &'static dyn RoutingPolicy,
    excluded: TargetSet,
    is_whole: bool,
    target_table: TargetTable,
    target_refs: Vec<TargetRef>,
    round: u64,
}

impl Turns {
    fn new(policy: &'static dyn RoutingPolicy, excluded: TargetSet, is_whole: bool) -> Self {
        Self {
            policy,
            excluded,
            is_whole,
            target_table: TargetTable::default(),
            target_refs: ten_members(),
            round: 0,
        }
    }

    fn next(&mut self) {
        self.round += 1;
        let (round, now_us) = (self.round, self.round * 100);
        let asked = RouteInputs {
            facts: RequestFacts {
                random: mix(round, 1),
                affinity_key: Some(round),
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
            &asked,
            now_us,
        );
        let first = black_box(routed.order[0]);
        if self.is_whole {
            let ticket = self
                .target_table
                .begin(&self.target_refs[first.get()], now_us);
            self.target_table
                .measure(&ticket, Series::FirstToken, 1000 + round % 512, now_us);
            self.target_table.end(ticket, Outcome::Good, now_us, round);
        }
    }
}
