//! Seeded scenarios of a simulated fleet, and what must hold in all of them.

use crate::routing::health::{Outcome, Phase};
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::simulation::{Attempt, Behaviour, DEAD, FINE, MS, SECOND, run, slow};

/// Runs of a scenario.
const SEEDS: u64 = 40;
/// Runs of a scenario for each policy.
const SEEDS_EACH: u64 = 8;

/// The worst figure of several runs; printed with `--nocapture`.
struct Worst(f64);

impl Worst {
    fn take(&mut self, value: f64) {
        self.0 = self.0.max(value);
    }

    fn print(&self, what: &str) {
        println!("worst of all runs: {what} {:.4}", self.0);
    }
}

fn named(name: &str) -> &'static dyn RoutingPolicy {
    policy(name).unwrap()
}

const SPREADING: [&str; 5] = [
    "weighted",
    "round-robin",
    "least-outstanding",
    "least-latency",
    "sticky",
];

const ALL: [&str; 6] = [
    "priority",
    "weighted",
    "round-robin",
    "least-outstanding",
    "least-latency",
    "sticky",
];

#[test]
fn ten_times_slower_is_left_within_five_seconds_and_found_again_within_ten() {
    let mut worst = Worst(0.0);
    for seed in 0..SEEDS {
        let behaviour = |at, now_us| match (at, now_us / SECOND) {
            (0, 20..40) => slow(10),
            _ => FINE,
        };
        let story = run(named("least-latency"), 2, 200, 60, seed, &behaviour);
        let share = story.share(0, 25, 40, 2);
        worst.take(share);
        assert!(share <= 0.03, "seed {seed}: {share}");
        assert!(story.share(0, 10, 20, 2) > 0.3, "seed {seed}");
        assert!(
            story.share(0, 50, 60, 2) > 0.3,
            "seed {seed}: not found again"
        );
        assert!(story.count(0, 25, 40) > 0, "seed {seed}: starved");
    }
    worst.print("share of a target 10 times slower, 5 s after");
}

#[test]
fn a_slow_drift_moves_traffic_away() {
    for seed in 0..SEEDS {
        // Ten per cent slower each second, from 100 ms to 1.7 s.
        let drift = |at, now_us: u64| match at {
            0 => Behaviour {
                latency_us: (100_000.0 * 1.1_f64.powi((now_us / SECOND) as i32)) as u64,
                ..FINE
            },
            _ => FINE,
        };
        let story = run(named("least-latency"), 3, 100, 30, seed, &drift);
        assert!(story.share(0, 25, 30, 3) <= 0.03, "seed {seed}");
    }
}

#[test]
fn one_of_three_dies_and_nobody_notices() {
    let mut worst = Worst(0.0);
    // Nobody listens; or packets are lost, and each connect takes its whole deadline.
    let silent = Behaviour {
        latency_us: 2 * SECOND,
        failure: Outcome::TimedOut,
        ..DEAD
    };
    for (how, name) in [DEAD, silent]
        .into_iter()
        .flat_map(|how| ALL.map(|name| (how, name)))
    {
        for seed in 0..SEEDS_EACH {
            let behaviour = |at, now_us| match (at, now_us / SECOND) {
                (0, 10..30) => how,
                _ => FINE,
            };
            let story = run(named(name), 3, 500, 60, seed, &behaviour);
            assert_eq!(story.failed_at_us.len(), 0, "{name}, seed {seed}");
            // Once open, only probes go there.
            let probes = story.count(0, 12, 30);
            worst.take(probes as f64);
            assert!((2..=40).contains(&probes), "{name}, seed {seed}: {probes}");
            let factor = story.amplification();
            assert!(factor < 1.05, "{name}, seed {seed}: {factor}");
        }
    }
    worst.print("requests sent to a dead target from 2 s to 20 s after its death");
}

#[test]
fn recovery_is_noticed_within_ten_seconds_and_starts_slowly() {
    let mut worst = Worst(0.0);
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let behaviour = |at, now_us| match (at, now_us / SECOND) {
                (0, 10..40) => DEAD,
                _ => FINE,
            };
            let story = run(named(name), 3, 100, 80, seed, &behaviour);
            let back = story.phases.iter().find(|(at, target, phase)| {
                *at >= 40 * SECOND && *target == 0 && *phase == Phase::SlowStart
            });
            let back_us = back
                .unwrap_or_else(|| panic!("{name}, seed {seed}: never"))
                .0;
            worst.take(back_us as f64 / SECOND as f64 - 40.0);
            assert!(back_us <= 50 * SECOND, "{name}, seed {seed}: {back_us}");
            // In its first second of a slow start at most a few per cent above its share.
            let usual = if name == "priority" { 1.0 } else { 1.0 / 3.0 };
            let second = |from: u64| back_us + from * SECOND..back_us + (from + 1) * SECOND;
            for from in 0..8 {
                let in_second = |one: &&Attempt| second(from).contains(&one.at_us) && one.nth == 0;
                let all = story.attempts.iter().filter(in_second).count() as f64;
                let own = story
                    .attempts
                    .iter()
                    .filter(in_second)
                    .filter(|one| one.target == 0);
                let ramp = 0.1 + 0.9 * (from + 1) as f64 / 10.0;
                // Where the idlest or the fastest is chosen, the newcomer is it whenever admitted.
                let most = if name.starts_with("least") {
                    ramp
                } else {
                    ramp * usual
                };
                let slack = 4.0 * (most * (1.0 - most).max(0.05) / all).sqrt() + 0.03;
                let share = own.count() as f64 / all;
                assert!(
                    share <= most + slack,
                    "{name}, seed {seed}, second {from}: {share} > {most}"
                );
            }
            let after = story.share(0, 70, 80, 3);
            assert!(after > usual * 0.6, "{name}, seed {seed}: {after}");
        }
    }
    worst.print("seconds until a recovery was noticed");
}

#[test]
fn a_total_outage_is_not_multiplied() {
    let mut worst = Worst(0.0);
    for name in ALL {
        for (latency_us, failure) in [(MS, Outcome::NotConnected), (2 * SECOND, Outcome::TimedOut)]
        {
            for seed in 0..SEEDS_EACH {
                let outage = |_, _| Behaviour {
                    latency_us,
                    failure,
                    fails: 1.0,
                };
                let story = run(named(name), 3, 200, 60, seed, &outage);
                let factor = story.amplification();
                worst.take(factor);
                assert!(factor <= 1.2, "{name}, {failure:?}, seed {seed}: {factor}");
            }
        }
    }
    worst.print("attempts per request in a total outage");
}

#[test]
fn an_outage_ends_for_everybody_within_ten_seconds() {
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let behaviour = |_, now_us| match now_us / SECOND {
                10..30 => DEAD,
                _ => FINE,
            };
            let story = run(named(name), 3, 100, 60, seed, &behaviour);
            // An open target is tried when all are open, so that the end is seen at once.
            assert_eq!(story.failed(31, 60), 0, "{name}, seed {seed}");
        }
    }
}

#[test]
fn flapping_and_grey_failure_starve_nobody_and_reach_few_clients() {
    for name in SPREADING {
        for seed in 0..SEEDS_EACH {
            let behaviour = |at, now_us: u64| match (at, now_us / (3 * SECOND) % 2) {
                (0, 1) => DEAD,
                (1, _) => Behaviour { fails: 0.3, ..FINE },
                _ => FINE,
            };
            let story = run(named(name), 3, 100, 120, seed, &behaviour);
            for target in 0..3 {
                for from in (0..120).step_by(30) {
                    let count = story.count(target, from, from + 30);
                    assert!(
                        count > 0,
                        "{name}, seed {seed}: {target} starved at {from} s"
                    );
                }
            }
            let lost = story.failed_at_us.len() as f64 / story.requests as f64;
            assert!(lost < 0.01, "{name}, seed {seed}: {lost}");
            assert!(story.amplification() < 1.2, "{name}, seed {seed}");
        }
    }
}

#[test]
fn in_a_storm_of_429_each_limit_is_kept_and_no_request_multiplied() {
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let limited = |wait_us| Behaviour {
                latency_us: 10 * MS,
                fails: 1.0,
                failure: Outcome::RateLimited(Some(wait_us)),
            };
            let behaviour = |at, now_us| match (at, now_us / SECOND) {
                (_, 10..20) => limited(2 * SECOND),
                (0, 20..30) => limited(5 * SECOND),
                _ => FINE,
            };
            let story = run(named(name), 2, 200, 60, seed, &behaviour);
            // Ten seconds of limits of two seconds: five waves to each target, each as wide as what
            // was under way before the first 429 came back.
            let storm = story.count(0, 10, 20) + story.count(1, 10, 20);
            assert!(storm < 120, "{name}, seed {seed}: {storm}");
            assert!(
                story.limited > 1500,
                "{name}, seed {seed}: {}",
                story.limited
            );
            assert_eq!(story.failed(22, 60), 0, "{name}, seed {seed}");
            assert!(story.amplification() < 1.05, "{name}, seed {seed}");
            let usual = if name == "priority" { 0.9 } else { 0.3 };
            assert!(story.share(0, 40, 60, 2) > usual, "{name}, seed {seed}");
        }
    }
}
