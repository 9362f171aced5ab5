//! A simulated server that collapses under a crowd, with a virtual clock, behind the fleet's limit and line,
//! and without.

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

/// Requests that do not slow each other, and what each takes alone: 200 per second at best.
const WIDTH: u32 = 20;
const ALONE_US: u64 = 100 * MS;
/// With more, each takes so many times as long, squared: the more are under way, the fewer are answered.
const QUEUE_MAX: usize = 100;
const QUEUE_DEADLINE_US: u64 = SECOND;
/// After so long the client has gone.
const PATIENCE_US: u64 = 2 * SECOND;

#[derive(Default)]
struct Story {
    /// When good answers came, for whom, and how long after the request.
    answered: Vec<(u64, KeyPriority, u64)>,
    shed: Vec<(u64, KeyPriority)>,
    limits: Vec<(u64, u32)>,
}

impl Story {
    fn per_second(&self, from_s: u64, to_s: u64) -> f64 {
        let times = self.answered.iter().map(|(at, ..)| *at);
        let count = times.filter(|at| (from_s * SECOND..to_s * SECOND).contains(at));
        count.count() as f64 / (to_s - from_s) as f64
    }

    fn shed(&self, from_s: u64, to_s: u64) -> usize {
        let times = self.shed.iter().map(|(at, _)| *at);
        times
            .filter(|at| (from_s * SECOND..to_s * SECOND).contains(at))
            .count()
    }

    fn of(&self, priority: KeyPriority) -> usize {
        let answered = self.answered.iter();
        answered.filter(|(_, one, _)| *one == priority).count()
    }

    fn p99_us(&self) -> u64 {
        let mut all: Vec<u64> = self.answered.iter().map(|(.., took)| *took).collect();
        all.sort_unstable();
        all[all.len() * 99 / 100]
    }
}

struct World {
    target_table: TargetTable,
    target_ref: TargetRef,
    seed: u64,
    drawn: u64,
    /// End, ticket, arrival, priority, begin.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    running: Vec<(Ticket, u64, KeyPriority, u64)>,
    /// Id, arrival, priority.
    in_line: Vec<(u64, u64, KeyPriority)>,
    story: Story,
}

impl World {
    fn draw(&mut self) -> f64 {
        self.drawn += 1;
        fraction(mix(self.seed, self.drawn))
    }

    fn has_room(&mut self, now_us: u64) -> bool {
        let asked = RouteInputs {
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
        let routed = self.target_table.route(
            ModelIndex::new(0),
            &[self.target_ref],
            policy,
            &asked,
            now_us,
        );
        assert_eq!(routed.order.is_empty(), routed.full.len() == 1);
        !routed.order.is_empty()
    }

    fn arrive(&mut self, priority: KeyPriority, now_us: u64) {
        if self.has_room(now_us) {
            return self.begin(now_us, priority, now_us);
        }
        let queue_entry = QueueEntry {
            model: ModelIndex::new(0),
            priority,
            slots: &[TargetSlot::new(0)],
        };
        match self.target_table.enqueue(queue_entry, QUEUE_MAX) {
            Some(id) => self.in_line.push((id, now_us, priority)),
            None => self.story.shed.push((now_us, priority)),
        }
    }

    fn begin(&mut self, arrived_us: u64, priority: KeyPriority, now_us: u64) {
        let ticket = self.target_table.begin(&self.target_ref, now_us);
        let summary = self.target_table.summary(TargetSlot::new(0), now_us);
        let crowd = (f64::from(summary.unwrap().in_flight) / f64::from(WIDTH))
            .max(1.0)
            .powi(2);
        let took_us = ALONE_US as f64 * crowd * (0.7 + 0.6 * self.draw());
        self.running.push((ticket, arrived_us, priority, now_us));
        let end = (now_us + took_us as u64, self.running.len() as u64 - 1);
        self.ends.push(Reverse(end));
    }

    fn end(&mut self, now_us: u64, at: u64) {
        let (ticket, arrived_us, priority, begun_us) = self.running[at as usize];
        let work = Work::first_token(100);
        self.target_table
            .record_success(&ticket, work, now_us - begun_us, now_us);
        self.target_table.end(ticket, Outcome::Good, now_us, 0);
        let took_us = now_us - arrived_us;
        if took_us <= PATIENCE_US {
            self.story.answered.push((now_us, priority, took_us));
        }
        self.call(now_us);
        if let Some(limit) = self.target_table.limit(TargetSlot::new(0)) {
            self.story.limits.push((now_us, limit));
        }
    }

    /// Those in line look whether they were called, or give up.
    fn call(&mut self, now_us: u64) {
        for (id, arrived_us, priority) in std::mem::take(&mut self.in_line) {
            match self.target_table.poll_queued(id, Waker::noop()) {
                Some(Wakeup::Permit(_)) => {
                    self.target_table
                        .take_permit(id, ModelIndex::new(0), now_us - arrived_us);
                    assert!(self.has_room(now_us), "called without a place");
                    self.begin(arrived_us, priority, now_us);
                }
                Some(Wakeup::Displaced) => {
                    self.target_table.leave_queue(id);
                    self.story.shed.push((now_us, priority));
                }
                None if now_us >= arrived_us + QUEUE_DEADLINE_US => {
                    self.target_table.leave_queue(id);
                    self.story.shed.push((now_us, priority));
                }
                None => self.in_line.push((id, arrived_us, priority)),
            }
        }
    }
}

/// Runs `seconds` of what `rate` says per second; `priority` of each by a random number.
fn run(
    seed: u64,
    bounds: Option<Bounds>,
    seconds: u64,
    rate: impl Fn(u64) -> u64,
    priority: impl Fn(f64) -> KeyPriority,
) -> Story {
    let mut world = World {
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
        running: Vec::new(),
        in_line: Vec::new(),
        story: Story::default(),
    };
    let mut arrives_us = 0;
    while arrives_us < seconds * SECOND || !world.ends.is_empty() {
        let due = world.ends.peek().map(|Reverse((at, _))| *at);
        if due.is_some_and(|at| at <= arrives_us || arrives_us >= seconds * SECOND) {
            let Reverse((at, which)) = world.ends.pop().unwrap();
            world.end(at, which);
            continue;
        }
        let drawn = world.draw();
        world.arrive(priority(drawn), arrives_us);
        let gap = -world.draw().ln() * SECOND as f64 / rate(arrives_us / SECOND) as f64;
        arrives_us += gap as u64 + 1;
    }
    // Nothing leaks.
    world.call(u64::MAX / 2);
    let summary = world.target_table.summary(TargetSlot::new(0), 0);
    assert_eq!(summary.unwrap().in_flight, 0);
    assert!(world.in_line.is_empty() && world.target_table.queue_length(ModelIndex::new(0)) == 0);
    world.story
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
        let (bad, good) = (without.per_second(10, 40), with.per_second(10, 40));
        println!("answers in time per second at 400: without {bad:.0}, with {good:.0} of 200");
        assert!(bad < 10.0, "seed {seed}: {bad}");
        assert!(good > 150.0, "seed {seed}: {good}");
        assert!(
            with.p99_us() <= QUEUE_DEADLINE_US + 6 * ALONE_US,
            "seed {seed}"
        );
    }
}

#[test]
fn after_a_peak_nobody_is_turned_away_and_the_limit_was_found() {
    for seed in 0..10 {
        let load = |second| if (10..20).contains(&second) { 600 } else { 120 };
        let story = run(seed, WIDE, 40, load, |_| Normal);
        assert!(story.shed(10, 20) > 1000, "seed {seed}");
        assert_eq!(story.shed(0, 10) + story.shed(23, 40), 0, "seed {seed}");
        let calm = story.per_second(25, 40);
        assert!((110.0..130.0).contains(&calm), "seed {seed}: {calm}");
        let at_peak = story
            .limits
            .iter()
            .filter(|(at, _)| (15 * SECOND..20 * SECOND).contains(at));
        let limits: Vec<u32> = at_peak.map(|(_, limit)| *limit).collect();
        let mean = f64::from(limits.iter().sum::<u32>()) / limits.len() as f64;
        assert!(
            (0.7..1.6).contains(&(mean / f64::from(WIDTH))),
            "seed {seed}: {mean}"
        );
    }
}

#[test]
fn a_cold_core_begins_with_the_limit_that_another_found() {
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
    // Bounds are divided by the cores, and what is not limited has no limit.
    cold.set_cores(1000);
    assert!(!cold.is_full(&target_ref));
    assert_eq!(cold.limit(TargetSlot::new(3)), Some(1));
    assert_eq!(warm.limit(TargetSlot::new(4)), None);
}

#[test]
fn the_high_come_first_and_the_low_are_not_starved() {
    for seed in 0..10 {
        // The high alone are as many as can be answered.
        let draw = |drawn: f64| match drawn {
            drawn if drawn < 0.5 => High,
            drawn if drawn < 0.75 => Normal,
            _ => Low,
        };
        let story = run(seed, WIDE, 40, |_| 400, draw);
        let (low, high) = (story.of(Low), story.of(High));
        let all = story.answered.len();
        assert!(high > all * 7 / 10, "seed {seed}: {high} of {all}");
        assert!(low > all / 50, "seed {seed}: {low} of {all}");
    }
}
