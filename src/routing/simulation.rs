//! A simulated fleet with a virtual clock, run through the very code that the journey uses.

use crate::base::random::{fraction, mix};
use crate::routing::health::{Outcome, Phase};
use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::measurements::Series;
use crate::routing::policy::{RequestFacts, RoutingPolicy};
use crate::routing::route_inputs::RouteInputs;
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::routing::targets::{Change, TargetTable, Ticket};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub(crate) const MS: u64 = 1000;
pub(crate) const SECOND: u64 = 1000 * MS;

/// How a simulated provider behaves at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Median latency of an attempt, in microseconds; each is between 0.7 and 1.9 of it.
    pub latency_us: u64,
    /// Share of attempts that end badly.
    pub fails: f64,
    /// How these end.
    pub failure: Outcome,
}

pub(crate) const FINE: Behaviour = Behaviour {
    latency_us: 100 * MS,
    fails: 0.0,
    failure: Outcome::ServerError,
};

pub(crate) const DEAD: Behaviour = Behaviour {
    latency_us: MS,
    fails: 1.0,
    failure: Outcome::NotConnected,
};

pub(crate) fn slow(factor: u64) -> Behaviour {
    Behaviour {
        latency_us: factor * FINE.latency_us,
        ..FINE
    }
}

/// One attempt that was made.
pub(crate) struct Attempt {
    pub at_us: u64,
    pub target: usize,
    /// 0 for the first attempt of its request.
    pub nth: usize,
}

/// What happened in a run.
#[derive(Default)]
pub(crate) struct Story {
    pub attempts: Vec<Attempt>,
    pub requests: usize,
    /// When requests ended without an answer.
    pub failed_at_us: Vec<u64>,
    /// Requests that no target might be asked for.
    pub limited: usize,
    pub phases: Vec<(u64, usize, Phase)>,
}

impl Story {
    pub(crate) fn count(&self, target: usize, from_s: u64, to_s: u64) -> usize {
        let in_time = |one: &&Attempt| (from_s * SECOND..to_s * SECOND).contains(&one.at_us);
        let attempts = self.attempts.iter().filter(in_time);
        attempts.filter(|one| one.target == target).count()
    }

    pub(crate) fn share(&self, target: usize, from_s: u64, to_s: u64, targets: usize) -> f64 {
        let all: usize = (0..targets).map(|one| self.count(one, from_s, to_s)).sum();
        self.count(target, from_s, to_s) as f64 / all.max(1) as f64
    }

    pub(crate) fn amplification(&self) -> f64 {
        self.attempts.len() as f64 / self.requests as f64
    }

    pub(crate) fn failed(&self, from_s: u64, to_s: u64) -> usize {
        let times = self.failed_at_us.iter();
        times
            .filter(|at| (from_s * SECOND..to_s * SECOND).contains(*at))
            .count()
    }
}

/// A request on its way through its targets.
struct Request {
    order: Vec<usize>,
    next: usize,
    made: usize,
}

struct World<'w> {
    target_table: TargetTable,
    target_refs: Vec<TargetRef>,
    behaviour: &'w dyn Fn(usize, u64) -> Behaviour,
    seed: u64,
    drawn: u64,
    requests: Vec<Request>,
    ends: BinaryHeap<Reverse<(u64, u64, usize, usize)>>,
    tickets: Vec<(Ticket, Outcome, u64)>,
    story: Story,
}

impl World<'_> {
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn)
    }

    /// The next attempt of a request, as the journey makes it.
    fn advance(&mut self, request: usize, now_us: u64) {
        loop {
            let one = &mut self.requests[request];
            let Some(at) = one.order.get(one.next).copied() else {
                self.story.failed_at_us.push(now_us);
                return;
            };
            one.next += 1;
            let nth = one.made;
            let target_ref = self.target_refs[at];
            if !self.target_table.may_try(&target_ref, nth == 0, now_us) {
                continue;
            }
            self.requests[request].made += 1;
            self.story.attempts.push(Attempt {
                at_us: now_us,
                target: at,
                nth,
            });
            let ticket = self.target_table.begin(&target_ref, now_us);
            let how = (self.behaviour)(at, now_us);
            let spread = 0.7 + 1.2 * fraction(self.draw()).powi(3);
            let latency_us = (how.latency_us as f64 * spread) as u64;
            let outcome = if fraction(self.draw()) <= how.fails {
                how.failure
            } else {
                Outcome::Good
            };
            self.tickets.push((ticket, outcome, latency_us));
            let order = self.draw();
            self.ends.push(Reverse((
                now_us + latency_us,
                order,
                self.tickets.len() - 1,
                request,
            )));
            return;
        }
    }

    fn end(&mut self, now_us: u64, ticket: usize, request: usize) {
        let (ticket, outcome, latency_us) = self.tickets[ticket];
        if outcome == Outcome::Good {
            self.target_table
                .measure(&ticket, Series::FirstToken, latency_us, now_us);
        }
        let random = self.draw();
        let at = self.requests[request].order[self.requests[request].next - 1];
        if let Some(Change::Phase(phase)) = self.target_table.end(ticket, outcome, now_us, random) {
            self.story.phases.push((now_us, at, phase));
        }
        if outcome != Outcome::Good {
            self.advance(request, now_us);
        }
    }
}

/// A target; under the policy `priority` the first in the file is the first.
fn target_ref(at: usize, policy: &dyn RoutingPolicy) -> TargetRef {
    let is_ranked = policy.name() == "priority";
    TargetRef {
        slot: TargetSlot::new(at),
        identity: mix(at as u64, 77),
        priority: if is_ranked { at as u32 } else { 1 },
        weight: 1,
        keys: 1,
        bounds: None,
    }
}

/// Runs `seconds` of `rate` requests per second, at random moments.
pub(crate) fn run(
    policy: &dyn RoutingPolicy,
    targets: usize,
    rate: u64,
    seconds: u64,
    seed: u64,
    behaviour: &dyn Fn(usize, u64) -> Behaviour,
) -> Story {
    let mut world = World {
        target_table: TargetTable::default(),
        target_refs: (0..targets).map(|at| target_ref(at, policy)).collect(),
        behaviour,
        seed,
        drawn: 0,
        requests: Vec::new(),
        ends: BinaryHeap::new(),
        tickets: Vec::new(),
        story: Story::default(),
    };
    let mut arrives_us = 0;
    loop {
        let due = world.ends.peek().map(|Reverse((at, ..))| *at);
        if due.is_some_and(|at| at <= arrives_us) {
            let Some(Reverse((at, _, ticket, request))) = world.ends.pop() else {
                unreachable!()
            };
            world.end(at, ticket, request);
            continue;
        }
        if arrives_us >= seconds * SECOND {
            break;
        }
        let asked = RouteInputs {
            facts: RequestFacts {
                random: world.draw(),
                affinity_key: Some(world.draw()),
                series: Series::FirstToken,
            },
            excluded: TargetSet::default(),
            costs_nanousd: &[],
        };
        world.target_table.count_request();
        let routed = world.target_table.route(
            ModelIndex::new(0),
            &world.target_refs,
            policy,
            &asked,
            arrives_us,
        );
        world.story.requests += 1;
        if routed.order.is_empty() {
            assert!(
                routed.limited_until_us.is_some(),
                "a request without a target"
            );
            world.story.limited += 1;
        } else {
            world.requests.push(Request {
                order: routed.order.iter().map(|index| index.get()).collect(),
                next: 0,
                made: 0,
            });
            world.advance(world.requests.len() - 1, arrives_us);
        }
        let gap = -fraction(world.draw()).ln() * SECOND as f64 / rate as f64;
        arrives_us += gap as u64;
    }
    world.story
}
