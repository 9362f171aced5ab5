//! Tests of the target table: which targets may be tried for a request, and what is counted.

use crate::base::random::mix;
use crate::routing::health::{Outcome, Phase};
use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::measurements::Series;
use crate::routing::policies::registry::policy;
use crate::routing::policy::RequestFacts;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::routing::targets::*;

const SECOND: u64 = 1_000_000;

fn target_refs(priorities: &[u32]) -> Vec<TargetRef> {
    let target_ref = |(slot, priority): (usize, &u32)| TargetRef {
        slot: TargetSlot::new(slot),
        identity: slot as u64,
        priority: *priority,
        weight: 1,
        keys: 0,
        bounds: None,
    };
    priorities.iter().enumerate().map(target_ref).collect()
}

fn order(
    target_table: &mut TargetTable,
    name: &str,
    target_refs: &[TargetRef],
    random: u64,
    now_us: u64,
) -> Route {
    let inputs = RouteInputs {
        facts: RequestFacts {
            random: mix(random, 3),
            affinity_key: None,
            series: Series::FirstToken,
        },
        excluded: TargetSet::default(),
        costs_nanousd: &[],
    };
    target_table.route(
        ModelIndex::new(0),
        target_refs,
        policy(name).unwrap(),
        &inputs,
        now_us,
    )
}

fn indices(route: &Route) -> Vec<usize> {
    route.order.iter().map(|index| index.get()).collect()
}

fn fail(target_table: &mut TargetTable, target_ref: &TargetRef, outcome: Outcome, times: usize) {
    for _ in 0..times {
        let ticket = target_table.begin(target_ref, 0);
        target_table.end(ticket, outcome, 0, 0);
    }
}

#[test]
fn lower_priority_numbers_come_first_then_the_order_of_the_file_or_of_the_policy() {
    let (mut target_table, target_refs) = (TargetTable::default(), target_refs(&[2, 1, 2, 1]));
    let route = order(&mut target_table, "priority", &target_refs, 0, 0);
    assert_eq!(indices(&route), [1, 3, 0, 2]);
    let orders: Vec<Vec<usize>> = (0..50)
        .map(|random| {
            indices(&order(
                &mut target_table,
                "weighted",
                &target_refs,
                random,
                0,
            ))
        })
        .collect();
    assert!(
        orders
            .iter()
            .all(|order| order[0] % 2 == 1 && order[1] % 2 == 1)
    );
    for first in [1, 3] {
        assert!(orders.iter().any(|order| order[0] == first));
    }
}

#[test]
fn open_targets_are_left_out_unless_all_are() {
    let (mut target_table, target_refs) = (TargetTable::default(), target_refs(&[1, 1]));
    fail(&mut target_table, &target_refs[0], Outcome::TimedOut, 5);
    let route = order(&mut target_table, "priority", &target_refs, 0, 1);
    assert_eq!((indices(&route), route.is_last_resort), (vec![1], false));
    fail(&mut target_table, &target_refs[1], Outcome::TimedOut, 5);
    let route = order(&mut target_table, "priority", &target_refs, 0, 1);
    assert_eq!((route.order.len(), route.is_last_resort), (2, true));
    // The first attempt costs nothing; a second attempt at an open target is paid for.
    assert!(target_table.may_try(&target_refs[0], true, 1));
    let paid = (0..1000).filter(|_| target_table.may_try(&target_refs[1], false, 1));
    assert!(paid.count() <= 10);
}

#[test]
fn a_limited_target_is_left_out_even_if_it_is_the_only_one() {
    let (mut target_table, target_refs) = (TargetTable::default(), target_refs(&[1]));
    fail(
        &mut target_table,
        &target_refs[0],
        Outcome::RateLimited(Some(SECOND)),
        1,
    );
    let route = order(&mut target_table, "priority", &target_refs, 0, 1);
    assert_eq!(
        (route.order.len(), route.limited_until_us),
        (0, Some(SECOND))
    );
    let route = order(&mut target_table, "priority", &target_refs, 0, SECOND);
    assert_eq!((route.order.len(), route.limited_until_us), (1, None));
}

#[test]
fn attempts_in_flight_are_counted_until_they_end() {
    let (mut target_table, target_refs) = (TargetTable::default(), target_refs(&[1]));
    let mut stream = target_table.begin(&target_refs[0], 0);
    let buffered = target_table.begin(&target_refs[0], 0);
    target_table.began(&mut stream, 1, 0);
    let healthy = |in_flight| {
        Some(TargetSummary {
            phase: Phase::Healthy,
            score: 1.0,
            in_flight,
        })
    };
    assert_eq!(target_table.summary(TargetSlot::new(0), 1), healthy(2));
    target_table.end(stream, Outcome::StreamBroke, 2, 0);
    target_table.end(buffered, Outcome::Abandoned, 2, 0);
    assert_eq!(target_table.summary(TargetSlot::new(0), 2), healthy(0));
    assert_eq!(target_table.summary(TargetSlot::new(7), 2), None);
}
