//! Tests of the concurrency limit against simulated servers, on a virtual clock.

use crate::base::random::{fraction, mix};
use crate::routing::limiter::{Bounds, LIMIT_FIRST, Limiter, Work};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

const MS: u64 = 1000;
const WIDE: Bounds = Bounds { min: 1, max: 1000 };

struct Request {
    body_bytes: usize,
    /// Zero for a stream.
    output_tokens: u64,
    /// How long the server works on it.
    work_ms: f64,
}

fn stream(body_bytes: usize, work_ms: f64) -> Request {
    Request {
        body_bytes,
        output_tokens: 0,
        work_ms,
    }
}

/// Simulates a server that works on `width` requests at once, under more load than it can take, for `seconds`.
/// Returns the limit at each second, and the sorted latencies of the second half.
fn run(
    seed: u64,
    width: usize,
    request: impl Fn(u64, f64) -> Request,
    seconds: u64,
) -> (Vec<u32>, Vec<u64>) {
    let mut limiter = Limiter::new(WIDE, None);
    let (mut now_us, mut drawn) = (0, 0);
    let mut free_at: Vec<u64> = vec![0; width];
    let mut ends: BinaryHeap<Reverse<(u64, u64, usize, u64)>> = BinaryHeap::new();
    let (mut limits, mut latencies) = (Vec::new(), Vec::new());
    while now_us < seconds * 1000 * MS {
        while (ends.len() as u32) < limiter.limit() {
            drawn += 1;
            let random = fraction(mix(seed, drawn));
            let request = request(now_us / 1000 / MS, random);
            let first = free_at.iter_mut().min().unwrap();
            *first = now_us.max(*first) + (request.work_ms * 1000.0) as u64;
            let (body, tokens) = (request.body_bytes, request.output_tokens);
            ends.push(Reverse((*first, now_us, body, tokens)));
        }
        let in_flight = ends.len() as u32;
        let Reverse((end_us, begun_us, body, tokens)) = ends.pop().unwrap();
        now_us = end_us;
        let latency_us = end_us - begun_us;
        let work = match tokens {
            0 => Work::first_token(body),
            tokens => Work::whole(body, tokens),
        };
        limiter.record_response(work, latency_us, begun_us, in_flight, now_us);
        let second = (now_us / 1000 / MS) as usize;
        limits.resize(second + 1, limiter.limit());
        if now_us > seconds * 500 * MS {
            latencies.push(latency_us);
        }
    }
    latencies.sort_unstable();
    (limits, latencies)
}

fn mean(limits: &[u32]) -> f64 {
    f64::from(limits.iter().sum::<u32>()) / limits.len() as f64
}

#[test]
fn the_limit_finds_the_width_of_a_server_and_keeps_its_latency() {
    for seed in 0..20 {
        for width in [4, 8, 20, 60] {
            let even = |_, random: f64| stream(100, 50.0 * (0.8 + 0.4 * random));
            let (limits, latencies) = run(seed, width, even, 60);
            let settled = &limits[30..];
            let wide = width as u32;
            assert!(
                mean(settled) >= f64::from(wide),
                "{width}, seed {seed}: {settled:?}"
            );
            let most = *settled.iter().max().unwrap();
            assert!(most <= 3 * wide + 4, "{width}, seed {seed}: {settled:?}");
            let p90_us = latencies[latencies.len() * 9 / 10];
            assert!(p90_us <= 4 * 50 * MS, "{width}, seed {seed}: {p90_us}");
        }
    }
}

#[test]
fn a_heavy_tail_of_latencies_does_not_lower_the_limit() {
    // Log-normal, its 90th percentile 2.5 times its median.
    let heavy = |_, random: f64| {
        let (u, v) = (fraction(mix(1, random.to_bits())), random);
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        stream(100, 50.0 * (0.7 * normal).exp())
    };
    for seed in 0..20 {
        let (limits, _) = run(seed, 20, heavy, 120);
        let settled = &limits[60..];
        assert!(mean(settled) >= 18.0, "seed {seed}: {settled:?}");
        assert!(mean(settled) <= 80.0, "seed {seed}: {settled:?}");
    }
}

#[test]
fn a_server_that_becomes_slower_for_good_keeps_its_limit() {
    for seed in 0..20 {
        let slower = |second, random: f64| {
            let work_ms = if second < 30 { 50.0 } else { 200.0 };
            stream(100, work_ms * (0.8 + 0.4 * random))
        };
        let (limits, _) = run(seed, 20, slower, 200);
        let settled = &limits[100..];
        assert!(mean(settled) >= 15.0, "seed {seed}: {settled:?}");
    }
}

#[test]
fn longer_responses_and_longer_prompts_do_not_lower_the_limit() {
    // At second 30 responses become 20 times longer, so each takes about 15 times as long.
    let longer = |second: u64, random: f64| {
        let tokens = if second < 30 { 50.0 } else { 1000.0 } * (0.5 + random);
        Request {
            body_bytes: 100,
            output_tokens: tokens as u64,
            work_ms: 20.0 + tokens,
        }
    };
    // Or prompts become longer: their first token comes 20 times later.
    let prompts = |second: u64, random: f64| {
        let (body, work_ms) = if second < 30 {
            (1000, 50.0)
        } else {
            (200_000, 1000.0)
        };
        stream(body, work_ms * (0.8 + 0.4 * random))
    };
    for seed in 0..20 {
        let (limits, _) = run(seed, 20, longer, 90);
        let least = limits[30..].iter().min().unwrap();
        assert!(*least >= 10, "seed {seed}: {limits:?}");
        let (limits, _) = run(seed, 20, prompts, 90);
        let least = limits[30..].iter().min().unwrap();
        assert!(*least >= 10, "seed {seed}: {limits:?}");
    }
}

#[test]
fn an_unused_limit_does_not_grow_and_overload_halves_it_once() {
    let mut limiter = Limiter::new(WIDE, None);
    for now_us in 0..1000 {
        limiter.record_response(Work::whole(9, 9), 50 * MS, now_us, 2, now_us);
    }
    assert_eq!(limiter.limit(), LIMIT_FIRST);
    limiter.set_bounds(Bounds { min: 1, max: 3 });
    assert_eq!(limiter.limit(), 3);
    limiter.set_bounds(WIDE);
    // All requests in flight are refused: that counts once.
    for _ in 0..32 {
        limiter.record_overload(500, 2000);
    }
    assert_eq!(limiter.limit(), LIMIT_FIRST / 2);
    for step in 0..100 {
        limiter.record_overload(2000 + step, 2001 + step);
    }
    assert_eq!(limiter.limit(), 1);
}

#[test]
fn bounds_hold_and_are_divided_among_cores() {
    let fixed = Bounds { min: 5, max: 5 };
    let mut limiter = Limiter::new(fixed, Some(400));
    limiter.record_overload(0, 1);
    assert_eq!((limiter.limit(), limiter.found()), (5, None));
    let bounds = Bounds { min: 8, max: 10 };
    assert_eq!(bounds.per_core(4), Bounds { min: 2, max: 2 });
    assert_eq!(bounds.per_core(100), Bounds { min: 1, max: 1 });
    assert_eq!(bounds.per_core(0), bounds);
}

#[test]
fn a_core_begins_with_the_limit_that_others_found_until_it_finds_its_own() {
    let mut limiter = Limiter::new(WIDE, None);
    limiter.adopt(40);
    assert_eq!((limiter.limit(), limiter.found()), (40, None));
    limiter.record_overload(0, 1);
    limiter.adopt(40);
    assert_eq!((limiter.limit(), limiter.found()), (20, Some(20)));
}
