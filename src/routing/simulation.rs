//! Simulates requests to several targets on a virtual clock, with the same calls of the target table that the gateway makes.

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

/// How a simulated target behaves at a given time.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Typical latency of an attempt, in microseconds; each attempt takes between 0.7 and 1.9 times as long.
    pub latency_us: u64,
    /// Share of attempts that fail.
    pub fails: f64,
    /// Outcome of the attempts that fail.
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

/// An attempt that was sent.
pub(crate) struct Attempt {
    pub at_us: u64,
    pub target: usize,
    /// Number of the attempt within its request, from 0.
    pub nth: usize,
}

/// What happened in a run.
#[derive(Default)]
pub(crate) struct RunResult {
    pub attempts: Vec<Attempt>,
    pub requests: usize,
    /// When requests ended without a good response.
    pub failed_at_us: Vec<u64>,
    /// Requests that could be sent to no target because of rate limits.
    pub limited: usize,
    /// When which target came into which phase.
    pub phases: Vec<(u64, usize, Phase)>,
}

impl RunResult {
    pub(crate) fn count(&self, target: usize, from_s: u64, to_s: u64) -> usize {
        let times = from_s * SECOND..to_s * SECOND;
        let attempts = self.attempts.iter();
        attempts
            .filter(|attempt| attempt.target == target && times.contains(&attempt.at_us))
            .count()
    }

    pub(crate) fn share(&self, target: usize, from_s: u64, to_s: u64, targets: usize) -> f64 {
        let all: usize = (0..targets)
            .map(|target| self.count(target, from_s, to_s))
            .sum();
        self.count(target, from_s, to_s) as f64 / all.max(1) as f64
    }

    pub(crate) fn amplification(&self) -> f64 {
        self.attempts.len() as f64 / self.requests as f64
    }

    pub(crate) fn failed(&self, from_s: u64, to_s: u64) -> usize {
        let times = self.failed_at_us.iter();
        times
            .filter(|at_us| (from_s * SECOND..to_s * SECOND).contains(*at_us))
            .count()
    }
}

/// A request and how far it is in its order of targets.
struct Request {
    order: Vec<usize>,
    /// Position in `order` of the next target.
    next: usize,
    /// Attempts sent.
    attempts: usize,
}

struct Simulation<'w> {
    target_table: TargetTable,
    target_refs: Vec<TargetRef>,
    behaviour: &'w dyn Fn(usize, u64) -> Behaviour,
    seed: u64,
    drawn: u64,
    requests: Vec<Request>,
    /// When attempts end, a random number, and the indices of ticket and request.
    ends: BinaryHeap<Reverse<(u64, u64, usize, usize)>>,
    /// Tickets of the attempts, with their outcomes and latencies.
    tickets: Vec<(Ticket, Outcome, u64)>,
    result: RunResult,
}

impl Simulation<'_> {
    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        mix(self.seed, self.drawn)
    }

    /// Routes a new request and sends its first attempt.
    fn arrive(&mut self, policy: &dyn RoutingPolicy, now_us: u64) {
        let inputs = RouteInputs {
            facts: RequestFacts {
                random: self.draw(),
                affinity_key: Some(self.draw()),
                series: Series::FirstToken,
            },
            excluded: TargetSet::default(),
            costs_nanousd: &[],
        };
        self.target_table.count_request();
        let route = self.target_table.route(
            ModelIndex::new(0),
            &self.target_refs,
            policy,
            &inputs,
            now_us,
        );
        self.result.requests += 1;
        if route.order.is_empty() {
            assert!(
                route.limited_until_us.is_some(),
                "a request without a target"
            );
            self.result.limited += 1;
        } else {
            self.requests.push(Request {
                order: route.order.iter().map(|index| index.get()).collect(),
                next: 0,
                attempts: 0,
            });
            self.advance(self.requests.len() - 1, now_us);
        }
    }

    /// Sends the next attempt of a request, as the gateway does.
    fn advance(&mut self, index: usize, now_us: u64) {
        loop {
            let request = &mut self.requests[index];
            let Some(target) = request.order.get(request.next).copied() else {
                self.result.failed_at_us.push(now_us);
                return;
            };
            request.next += 1;
            let nth = request.attempts;
            let target_ref = self.target_refs[target];
            if !self.target_table.may_try(&target_ref, nth == 0, now_us) {
                continue;
            }
            self.requests[index].attempts += 1;
            self.result.attempts.push(Attempt {
                at_us: now_us,
                target,
                nth,
            });
            let ticket = self.target_table.begin(&target_ref, now_us);
            let behaviour = (self.behaviour)(target, now_us);
            let spread = 0.7 + 1.2 * fraction(self.draw()).powi(3);
            let latency_us = (behaviour.latency_us as f64 * spread) as u64;
            let outcome = if fraction(self.draw()) <= behaviour.fails {
                behaviour.failure
            } else {
                Outcome::Good
            };
            self.tickets.push((ticket, outcome, latency_us));
            let order = self.draw();
            self.ends.push(Reverse((
                now_us + latency_us,
                order,
                self.tickets.len() - 1,
                index,
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
        let target = self.requests[request].order[self.requests[request].next - 1];
        if let Some(Change::Phase(phase)) = self.target_table.end(ticket, outcome, now_us, random) {
            self.result.phases.push((now_us, target, phase));
        }
        if outcome != Outcome::Good {
            self.advance(request, now_us);
        }
    }
}

/// A target. With the policy `priority`, each target has a priority of its own.
fn target_ref(index: usize, policy: &dyn RoutingPolicy) -> TargetRef {
    let is_ranked = policy.name() == "priority";
    TargetRef {
        slot: TargetSlot::new(index),
        identity: mix(index as u64, 77),
        priority: if is_ranked { index as u32 } else { 1 },
        weight: 1,
        keys: 1,
        bounds: None,
    }
}

/// Simulates `seconds` of `rate` requests per second, which arrive at random times.
pub(crate) fn run(
    policy: &dyn RoutingPolicy,
    targets: usize,
    rate: u64,
    seconds: u64,
    seed: u64,
    behaviour: &dyn Fn(usize, u64) -> Behaviour,
) -> RunResult {
    let mut simulation = Simulation {
        target_table: TargetTable::default(),
        target_refs: (0..targets)
            .map(|index| target_ref(index, policy))
            .collect(),
        behaviour,
        seed,
        drawn: 0,
        requests: Vec::new(),
        ends: BinaryHeap::new(),
        tickets: Vec::new(),
        result: RunResult::default(),
    };
    let mut arrives_us = 0;
    loop {
        let next_end = simulation.ends.peek().map(|Reverse((at_us, ..))| *at_us);
        if next_end.is_some_and(|at_us| at_us <= arrives_us) {
            let Some(Reverse((at_us, _, ticket, request))) = simulation.ends.pop() else {
                unreachable!()
            };
            simulation.end(at_us, ticket, request);
            continue;
        }
        if arrives_us >= seconds * SECOND {
            break;
        }
        simulation.arrive(policy, arrives_us);
        let gap = -fraction(simulation.draw()).ln() * SECOND as f64 / rate as f64;
        arrives_us += gap as u64;
    }
    simulation.result
}
