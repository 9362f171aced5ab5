//! Tests of concurrency limits and queues: a simulated server that collapses under overload, with and without them, on a
//! virtual clock.

use crate::base::key_priority::KeyPriority;
use crate::base::key_priority::KeyPriority::{High, Low, Normal};
use crate::base::random::{fraction, mix};
use crate::routing::health::Outcome;
use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::limiter::{Bounds, LIMIT_FIRST, Work};
use crate::routing::measurements::Series;
use crate::routing::policies::registry::policy;
use crate::routing::policy::RequestFacts;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::shared_health::SharedHealth;
use crate::routing::simulation::{MS, SECOND};
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::routing::targets::{TargetTable, Ticket};
use crate::routing::wait_queue::{QueueEntry, Wakeup};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::task::Waker;

/// Requests that the server works on at once without delay: at [`SERVICE_US`] each, 200 per second at best. With more requests
/// in flight, each takes longer by the square of the overload, so the server completes fewer per second.
const WIDTH: u32 = 20;
const SERVICE_US: u64 = 100 * MS;
const QUEUE_MAX: usize = 100;
const QUEUE_DEADLINE_US: u64 = SECOND;
/// After this time the client has disconnected.
const CLIENT_DEADLINE_US: u64 = 2 * SECOND;

/// A request that got its response in time.
struct Completed {
    at_us: u64,
    priority: KeyPriority,
    /// From its arrival to the response.
    latency_us: u64,
}

#[derive(Default)]
struct RunResult {
    completed: Vec<Completed>,
    /// When requests were shed.
    shed_us: Vec<u64>,
    /// The limit, and when it applied.
    limits: Vec<(u64, u32)>,
}

impl RunResult {
    fn completed_per_second(&self, from_s: u64, to_s: u64) -> f64 {
        let times = self.completed.iter().map(|request| request.at_us);
        let count = times.filter(|at_us| (from_s * SECOND..to_s * SECOND).contains(at_us));
        count.count() as f64 / (to_s - from_s) as f64
    }

    fn shed(&self, from_s: u64, to_s: u64) -> usize {
        let times = self.shed_us.iter();
        times
            .filter(|at_us| (from_s * SECOND..to_s * SECOND).contains(*at_us))
            .count()
    }

    fn completed_with(&self, priority: KeyPriority) -> usize {
        let completed = self.completed.iter();
        completed
            .filter(|request| request.priority == priority)
            .count()
    }

    fn p99_us(&self) -> u64 {
        let latencies = self.completed.iter().map(|request| request.latency_us);
        let mut latencies: Vec<u64> = latencies.collect();
        latencies.sort_unstable();
        latencies[latencies.len() * 99 / 100]
    }
}

#[derive(Clone, Copy)]
struct Attempt {
    ticket: Ticket,
    arrived_us: u64,
    priority: KeyPriority,
    begun_us: u64,
}

struct Waiting {
    id: u64,
    arrived_us: u64,
    priority: KeyPriority,
}

struct Simulation {
    target_table: TargetTable,
    target_ref: TargetRef,
    seed: u64,
    drawn: u64,
    /// When attempts end, with their index in `attempts`.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    attempts: Vec<Attempt>,
    waiting: Vec<Waiting>,
    result: RunResult,
}

impl Simulation {
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        fraction(mix(self.seed, self.drawn))
    }

    fn has_permit(&mut self, now_us: u64) -> bool {
        let inputs = RouteInputs {
            facts: RequestFacts {
                random: self.seed ^ now_us,
                affinity_key: None,
                series: Series::FirstToken,
            },
            excluded: TargetSet::default(),
            costs_nanousd: &[],
        };
        let policy = policy("priority").unwrap();
        self.target_table.count_request();
        let route = self.target_table.route(
            ModelIndex::new(0),
            &[self.target_ref],
            policy,
            &inputs,
            now_us,
        );
        assert_eq!(route.order.is_empty(), route.full.len() == 1);
        !route.order.is_empty()
    }

    fn arrive(&mut self, priority: KeyPriority, now_us: u64) {
        if self.has_permit(now_us) {
            return self.begin(now_us, priority, now_us);
        }
        let queue_entry = QueueEntry {
            model: ModelIndex::new(0),
            priority,
            slots: &[TargetSlot::new(0)],
        };
        match self.target_table.enqueue(queue_entry, QUEUE_MAX) {
            Some(id) => self.waiting.push(Waiting {
                id,
                arrived_us: now_us,
                priority,
            }),
            None => self.result.shed_us.push(now_us),
        }
    }

    fn begin(&mut self, arrived_us: u64, priority: KeyPriority, now_us: u64) {
        let ticket = self.target_table.begin(&self.target_ref, now_us);
        let summary = self.target_table.summary(TargetSlot::new(0), now_us);
        let overload = f64::from(summary.unwrap().in_flight) / f64::from(WIDTH);
        let slowdown = overload.max(1.0).powi(2);
        let service_us = SERVICE_US as f64 * slowdown * (0.7 + 0.6 * self.draw());
        self.attempts.push(Attempt {
            ticket,
            arrived_us,
            priority,
            begun_us: now_us,
        });
        let end = (now_us + service_us as u64, self.attempts.len() as u64 - 1);
        self.ends.push(Reverse(end));
    }

    fn end(&mut self, now_us: u64, attempt: u64) {
        let Attempt {
            ticket,
            arrived_us,
            priority,
            begun_us,
        } = self.attempts[attempt as usize];
        let work = Work::first_token(100);
        self.target_table
            .record_success(&ticket, work, now_us - begun_us, now_us);
        self.target_table.end(ticket, Outcome::Good, now_us, 0);
        let latency_us = now_us - arrived_us;
        if latency_us <= CLIENT_DEADLINE_US {
            self.result.completed.push(Completed {
                at_us: now_us,
                priority,
                latency_us,
            });
        }
        self.poll_waiting(now_us);
        if let Some(limit) = self.target_table.limit(TargetSlot::new(0)) {
            self.result.limits.push((now_us, limit));
        }
    }

    /// Polls all waiting requests: they begin, are shed, or wait on.
    fn poll_waiting(&mut self, now_us: u64) {
        for waiting in std::mem::take(&mut self.waiting) {
            let Waiting {
                id,
                arrived_us,
                priority,
            } = waiting;
            match self.target_table.poll_queued(id, Waker::noop()) {
                Some(Wakeup::Permit(_)) => {
                    self.target_table
                        .take_permit(id, ModelIndex::new(0), now_us - arrived_us);
                    assert!(self.has_permit(now_us), "woken without a permit");
                    self.begin(arrived_us, priority, now_us);
                }
                Some(Wakeup::Displaced) => {
                    self.target_table.leave_queue(id);
                    self.result.shed_us.push(now_us);
                }
                None if now_us >= arrived_us + QUEUE_DEADLINE_US => {
                    self.target_table.leave_queue(id);
                    self.result.shed_us.push(now_us);
                }
                None => self.waiting.push(waiting),
            }
        }
    }
}

/// Simulates `seconds` with the requests per second that `rate` returns for each second. `priority` is called with a random
/// number for each request.
fn run(
    seed: u64,
    bounds: Option<Bounds>,
    seconds: u64,
    rate: impl Fn(u64) -> u64,
    priority: impl Fn(f64) -> KeyPriority,
) -> RunResult {
    let mut simulation = Simulation {
        target_table: TargetTable::default(),
        target_ref: TargetRef {
            slot: TargetSlot::new(0),
            identity: 1,
            priority: 1,
            weight: 1,
            keys: 1,
            bounds,
        },
        seed,
        drawn: 0,
        ends: BinaryHeap::new(),
        attempts: Vec::new(),
        waiting: Vec::new(),
        result: RunResult::default(),
    };
    let mut arrives_us = 0;
    while arrives_us < seconds * SECOND || !simulation.ends.is_empty() {
        let next_end = simulation.ends.peek().map(|Reverse((at_us, _))| *at_us);
        if next_end.is_some_and(|at_us| at_us <= arrives_us || arrives_us >= seconds * SECOND) {
            let Reverse((at_us, attempt)) = simulation.ends.pop().unwrap();
            simulation.end(at_us, attempt);
            continue;
        }
        let drawn = simulation.draw();
        simulation.arrive(priority(drawn), arrives_us);
        let gap = -simulation.draw().ln() * SECOND as f64 / rate(arrives_us / SECOND) as f64;
        arrives_us += gap as u64 + 1;
    }
    // No permit and no waiter is left over.
    simulation.poll_waiting(u64::MAX / 2);
    let summary = simulation.target_table.summary(TargetSlot::new(0), 0);
    assert_eq!(summary.unwrap().in_flight, 0);
    assert!(
        simulation.waiting.is_empty()
            && simulation.target_table.queue_length(ModelIndex::new(0)) == 0
    );
    simulation.result
}

const WIDE: Option<Bounds> = Some(Bounds { min: 1, max: 1000 });

#[test]
fn twice_the_load_collapses_without_a_limit_and_not_with_one() {
    for seed in 0..10 {
        let load = |_| 400;
        let (without, with) = (
            run(seed, None, 40, load, |_| Normal),
            run(seed, WIDE, 40, load, |_| Normal),
        );
        let (bad, good) = (
            without.completed_per_second(10, 40),
            with.completed_per_second(10, 40),
        );
        println!("responses in time per second at 400: without {bad:.0}, with {good:.0} of 200");
        assert!(bad < 10.0, "seed {seed}: {bad}");
        assert!(good > 150.0, "seed {seed}: {good}");
        assert!(
            with.p99_us() <= QUEUE_DEADLINE_US + 6 * SERVICE_US,
            "seed {seed}"
        );
    }
}

#[test]
fn after_a_peak_no_request_is_shed_and_the_limit_is_near_the_servers_width() {
    for seed in 0..10 {
        let load = |second| if (10..20).contains(&second) { 600 } else { 120 };
        let result = run(seed, WIDE, 40, load, |_| Normal);
        assert!(result.shed(10, 20) > 1000, "seed {seed}");
        assert_eq!(result.shed(0, 10) + result.shed(23, 40), 0, "seed {seed}");
        let calm = result.completed_per_second(25, 40);
        assert!((110.0..130.0).contains(&calm), "seed {seed}: {calm}");
        let at_peak = result
            .limits
            .iter()
            .filter(|(at_us, _)| (15 * SECOND..20 * SECOND).contains(at_us));
        let limits: Vec<u32> = at_peak.map(|(_, limit)| *limit).collect();
        let mean = f64::from(limits.iter().sum::<u32>()) / limits.len() as f64;
        assert!(
            (0.7..1.6).contains(&(mean / f64::from(WIDTH))),
            "seed {seed}: {mean}"
        );
    }
}

#[test]
fn a_core_without_outcomes_begins_with_the_limit_that_another_found() {
    let target_ref = TargetRef {
        slot: TargetSlot::new(3),
        identity: 1,
        priority: 1,
        weight: 1,
        keys: 1,
        bounds: WIDE,
    };
    let (mut warm, mut cold) = (TargetTable::default(), TargetTable::default());
    assert!(!warm.is_full(&target_ref));
    let ticket = warm.begin(&target_ref, 1);
    warm.record_overload(&ticket, 2);
    warm.end(ticket, Outcome::ServerError, 2, 0);
    assert_eq!(warm.limit(TargetSlot::new(3)), Some(LIMIT_FIRST / 2));
    cold.merge_shared_health(&Arc::new(SharedHealth::of(1, &[warm.observations(3)])), 9);
    assert!(!cold.is_full(&target_ref));
    assert_eq!(cold.limit(TargetSlot::new(3)), Some(LIMIT_FIRST / 2));
    // The cores share the bounds, and a target without bounds has no limit.
    cold.set_cores(1000);
    assert!(!cold.is_full(&target_ref));
    assert_eq!(cold.limit(TargetSlot::new(3)), Some(1));
    assert_eq!(warm.limit(TargetSlot::new(4)), None);
}

#[test]
fn high_priorities_come_first_and_low_ones_are_not_starved() {
    for seed in 0..10 {
        // The requests of high priority alone are as many as the server can complete.
        let draw = |drawn: f64| match drawn {
            drawn if drawn < 0.5 => High,
            drawn if drawn < 0.75 => Normal,
            _ => Low,
        };
        let result = run(seed, WIDE, 40, |_| 400, draw);
        let (low, high) = (result.completed_with(Low), result.completed_with(High));
        let all = result.completed.len();
        assert!(high > all * 7 / 10, "seed {seed}: {high} of {all}");
        assert!(low > all / 50, "seed {seed}: {low} of {all}");
    }
}
