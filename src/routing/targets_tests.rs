//! Who may be tried for a request, and what is counted.

use crate::routing::health::{Outcome, Phase};
use crate::routing::measurements::Series;
use crate::routing::policy::{mix, policy};
use crate::routing::route_inputs::RouteInputs;
use crate::routing::targets::*;

const SECOND: u64 = 1_000_000;

fn members(priorities: &[u32]) -> Vec<TargetRef> {
    let member = |(slot, priority): (usize, &u32)| TargetRef {
        slot,
        identity: slot as u64,
        priority: *priority,
        weight: 1,
        keys: 0,
        bounds: None,
    };
    priorities.iter().enumerate().map(member).collect()
}

fn order(
    fleet: &mut TargetTable,
    name: &str,
    members: &[TargetRef],
    random: u64,
    now_us: u64,
) -> Route {
    let asked = RouteInputs {
        random: mix(random, 3),
        asker: None,
        series: Series::FirstToken,
        excluded: 0,
        costs_nanousd: &[],
    };
    fleet.route(0, members, policy(name).unwrap(), &asked, now_us)
}

fn fail(fleet: &mut TargetTable, member: &TargetRef, outcome: Outcome, times: usize) {
    for _ in 0..times {
        let ticket = fleet.begin(member, 0);
        fleet.end(ticket, outcome, 0, 0);
    }
}

#[test]
fn lower_numbers_first_then_the_order_of_the_file_or_of_the_policy() {
    let (mut fleet, members) = (TargetTable::default(), members(&[2, 1, 2, 1]));
    let route = order(&mut fleet, "priority", &members, 0, 0);
    assert_eq!(route.order[..], [1, 3, 0, 2]);
    let orders: Vec<Vec<usize>> = (0..50)
        .map(|random| {
            order(&mut fleet, "weighted", &members, random, 0)
                .order
                .to_vec()
        })
        .collect();
    assert!(orders.iter().all(|one| one[0] % 2 == 1 && one[1] % 2 == 1));
    for first in [1, 3] {
        assert!(orders.iter().any(|one| one[0] == first));
    }
}

#[test]
fn open_targets_are_left_out_unless_all_are() {
    let (mut fleet, members) = (TargetTable::default(), members(&[1, 1]));
    fail(&mut fleet, &members[0], Outcome::TimedOut, 5);
    let route = order(&mut fleet, "priority", &members, 0, 1);
    assert_eq!((&route.order[..], route.is_last_resort), (&[1][..], false));
    fail(&mut fleet, &members[1], Outcome::TimedOut, 5);
    let route = order(&mut fleet, "priority", &members, 0, 1);
    assert_eq!((route.order.len(), route.is_last_resort), (2, true));
    // The first is free, a second at an open target costs budget.
    assert!(fleet.may_try(&members[0], true, 1));
    let paid = (0..1000).filter(|_| fleet.may_try(&members[1], false, 1));
    assert!(paid.count() <= 10);
}

#[test]
fn a_limited_target_is_left_out_even_if_it_is_the_only_one() {
    let (mut fleet, members) = (TargetTable::default(), members(&[1]));
    fail(
        &mut fleet,
        &members[0],
        Outcome::RateLimited(Some(SECOND)),
        1,
    );
    let route = order(&mut fleet, "priority", &members, 0, 1);
    assert_eq!(
        (route.order.len(), route.limited_until_us),
        (0, Some(SECOND))
    );
    let route = order(&mut fleet, "priority", &members, 0, SECOND);
    assert_eq!((route.order.len(), route.limited_until_us), (1, None));
}

#[test]
fn what_is_under_way_is_counted_until_it_ends() {
    let (mut fleet, members) = (TargetTable::default(), members(&[1]));
    let mut stream = fleet.begin(&members[0], 0);
    let whole = fleet.begin(&members[0], 0);
    fleet.began(&mut stream, 1, 0);
    assert_eq!(fleet.look(0, 1), Some((Phase::Healthy, 1.0, 2)));
    fleet.end(stream, Outcome::StreamBroke, 2, 0);
    fleet.end(whole, Outcome::Abandoned, 2, 0);
    assert_eq!(fleet.look(0, 2), Some((Phase::Healthy, 1.0, 0)));
    assert_eq!(fleet.look(7, 2), None);
}
