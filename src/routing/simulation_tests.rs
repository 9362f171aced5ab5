//! Tests of routing in seeded simulations: slow targets, outages, recoveries and rate limits.

use crate::routing::health::{Outcome, Phase};
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::simulation::{Attempt, Behaviour, DEAD, FINE, MS, SECOND, run, slow};

/// Number of runs of a scenario.
const SEEDS: u64 = 40;
/// Number of runs of a scenario for each policy.
const SEEDS_EACH: u64 = 8;

/// The worst value of several runs; printed with `--nocapture`.
struct Worst(f64);

impl Worst {
    fn record(&mut self, value: f64) {
        self.0 = self.0.max(value);
    }

    fn print(&self, what: &str) {
        println!("worst of all runs: {what} {:.4}", self.0);
    }
}

fn policy_named(name: &str) -> &'static dyn RoutingPolicy {
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
fn a_target_ten_times_slower_is_left_within_five_seconds_and_used_again_within_ten() {
    let mut worst = Worst(0.0);
    for seed in 0..SEEDS {
        let behaviour = |target, now_us| match (target, now_us / SECOND) {
            (0, 20..40) => slow(10),
            _ => FINE,
        };
        let result = run(policy_named("least-latency"), 2, 200, 60, seed, &behaviour);
        let share = result.share(0, 25, 40, 2);
        worst.record(share);
        assert!(share <= 0.03, "seed {seed}: {share}");
        assert!(result.share(0, 10, 20, 2) > 0.3, "seed {seed}");
        assert!(
            result.share(0, 50, 60, 2) > 0.3,
            "seed {seed}: not used again"
        );
        assert!(result.count(0, 25, 40) > 0, "seed {seed}: starved");
    }
    worst.print("share of a target 10 times slower, 5 s after");
}

#[test]
fn a_slow_drift_moves_traffic_away() {
    for seed in 0..SEEDS {
        // Ten per cent slower each second, from 100 ms to 1.7 s.
        let drift = |target, now_us: u64| match target {
            0 => Behaviour {
                latency_us: (100_000.0 * 1.1_f64.powi((now_us / SECOND) as i32)) as u64,
                ..FINE
            },
            _ => FINE,
        };
        let result = run(policy_named("least-latency"), 3, 100, 30, seed, &drift);
        assert!(result.share(0, 25, 30, 3) <= 0.03, "seed {seed}");
    }
}

#[test]
fn the_failure_of_one_of_three_targets_fails_no_request() {
    let mut worst = Worst(0.0);
    // Connects are refused; or packets are lost, and each connect takes its whole timeout.
    let silent = Behaviour {
        latency_us: 2 * SECOND,
        failure: Outcome::TimedOut,
        ..DEAD
    };
    for (failing, name) in [DEAD, silent]
        .into_iter()
        .flat_map(|failing| ALL.map(|name| (failing, name)))
    {
        for seed in 0..SEEDS_EACH {
            let behaviour = |target, now_us| match (target, now_us / SECOND) {
                (0, 10..30) => failing,
                _ => FINE,
            };
            let result = run(policy_named(name), 3, 500, 60, seed, &behaviour);
            assert_eq!(result.failed_at_us.len(), 0, "{name}, seed {seed}");
            // Once the target is open, it gets only probes.
            let probes = result.count(0, 12, 30);
            worst.record(probes as f64);
            assert!((2..=40).contains(&probes), "{name}, seed {seed}: {probes}");
            let factor = result.amplification();
            assert!(factor < 1.05, "{name}, seed {seed}: {factor}");
        }
    }
    worst.print("requests sent to a dead target from 2 s to 20 s after its death");
}

#[test]
fn a_recovery_is_noticed_within_ten_seconds_and_starts_slowly() {
    let mut worst = Worst(0.0);
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let behaviour = |target, now_us| match (target, now_us / SECOND) {
                (0, 10..40) => DEAD,
                _ => FINE,
            };
            let result = run(policy_named(name), 3, 100, 80, seed, &behaviour);
            let recovery = result.phases.iter().find(|(at_us, target, phase)| {
                *at_us >= 40 * SECOND && *target == 0 && *phase == Phase::SlowStart
            });
            let recovery_us = recovery
                .unwrap_or_else(|| panic!("{name}, seed {seed}: never"))
                .0;
            worst.record(recovery_us as f64 / SECOND as f64 - 40.0);
            assert!(
                recovery_us <= 50 * SECOND,
                "{name}, seed {seed}: {recovery_us}"
            );
            // In each second of the slow start it gets at most a few per cent more than its share.
            let usual = if name == "priority" { 1.0 } else { 1.0 / 3.0 };
            let second = |from: u64| recovery_us + from * SECOND..recovery_us + (from + 1) * SECOND;
            for from in 0..8 {
                let in_second =
                    |attempt: &&Attempt| second(from).contains(&attempt.at_us) && attempt.nth == 0;
                let all = result.attempts.iter().filter(in_second).count() as f64;
                let own = result
                    .attempts
                    .iter()
                    .filter(in_second)
                    .filter(|attempt| attempt.target == 0);
                let ramp = 0.1 + 0.9 * (from + 1) as f64 / 10.0;
                // Policies that choose the least loaded or the fastest target choose this target whenever it may get the request.
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
            let after = result.share(0, 70, 80, 3);
            assert!(after > usual * 0.6, "{name}, seed {seed}: {after}");
        }
    }
    worst.print("seconds until a recovery was noticed");
}

#[test]
fn a_total_outage_does_not_multiply_attempts() {
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
                let result = run(policy_named(name), 3, 200, 60, seed, &outage);
                let factor = result.amplification();
                worst.record(factor);
                assert!(factor <= 1.2, "{name}, {failure:?}, seed {seed}: {factor}");
            }
        }
    }
    worst.print("attempts per request in a total outage");
}

#[test]
fn a_second_after_a_total_outage_no_request_fails() {
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let behaviour = |_, now_us| match now_us / SECOND {
                10..30 => DEAD,
                _ => FINE,
            };
            let result = run(policy_named(name), 3, 100, 60, seed, &behaviour);
            // When all targets are open they are tried all the same, so the end of the outage is noticed at once.
            assert_eq!(result.failed(31, 60), 0, "{name}, seed {seed}");
        }
    }
}

#[test]
fn flapping_and_partly_failing_targets_are_not_starved_and_fail_few_requests() {
    for name in SPREADING {
        for seed in 0..SEEDS_EACH {
            let behaviour = |target, now_us: u64| match (target, now_us / (3 * SECOND) % 2) {
                (0, 1) => DEAD,
                (1, _) => Behaviour { fails: 0.3, ..FINE },
                _ => FINE,
            };
            let result = run(policy_named(name), 3, 100, 120, seed, &behaviour);
            for target in 0..3 {
                for from in (0..120).step_by(30) {
                    let count = result.count(target, from, from + 30);
                    assert!(
                        count > 0,
                        "{name}, seed {seed}: {target} starved at {from} s"
                    );
                }
            }
            let failed = result.failed_at_us.len() as f64 / result.requests as f64;
            assert!(failed < 0.01, "{name}, seed {seed}: {failed}");
            assert!(result.amplification() < 1.2, "{name}, seed {seed}");
        }
    }
}

#[test]
fn in_a_storm_of_429_each_limit_is_respected_and_attempts_are_not_multiplied() {
    for name in ALL {
        for seed in 0..SEEDS_EACH {
            let limited = |wait_us| Behaviour {
                latency_us: 10 * MS,
                fails: 1.0,
                failure: Outcome::RateLimited(Some(wait_us)),
            };
            let behaviour = |target, now_us| match (target, now_us / SECOND) {
                (_, 10..20) => limited(2 * SECOND),
                (0, 20..30) => limited(5 * SECOND),
                _ => FINE,
            };
            let result = run(policy_named(name), 2, 200, 60, seed, &behaviour);
            // Ten seconds of limits of two seconds: five waves to each target, each as large as the number of requests that were
            // in flight before the first 429 arrived.
            let storm = result.count(0, 10, 20) + result.count(1, 10, 20);
            assert!(storm < 120, "{name}, seed {seed}: {storm}");
            assert!(
                result.limited > 1500,
                "{name}, seed {seed}: {}",
                result.limited
            );
            assert_eq!(result.failed(22, 60), 0, "{name}, seed {seed}");
            assert!(result.amplification() < 1.05, "{name}, seed {seed}");
            let usual = if name == "priority" { 0.9 } else { 0.3 };
            assert!(result.share(0, 40, 60, 2) > usual, "{name}, seed {seed}");
        }
    }
}
