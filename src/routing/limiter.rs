//! How many requests one core may have under way at a target: as many as it takes without becoming much
//! slower, found by what it does (additive increase, multiplicative decrease, as TCP does; Chiu, Jain
//! 1989). Pure: it is told of each answer.
//!
//! What is compared is the time to the first token of a stream, and the time per token of a whole answer,
//! each with what is usual for requests of its size: a long answer is no queue. It must not know who
//! waits for a place (`waiting.rs`).

use crate::routing::measurements::{SIZE_CLASSES, Series};

/// Requests under way at first: few, so that what is usual is learned without a crowd. Doubled with each
/// judgement until the first that finds it too high (TCP's slow start).
pub(crate) const LIMIT_FIRST: u32 = 4;
/// Answers that one judgement is based on …
const WINDOW: usize = 24;
/// … and as long as the limit is doubled, so that the first requests do not wait long.
const WINDOW_FIRST: usize = 8;
/// Answers of a size before it is known what is usual for it.
const LEARNT: u8 = 8;
/// A median so many times the usual one means that requests wait for each other at the target: at half as
/// much again a server has a queue half as long as what it works on, enough never to be idle.
const SLOWER: f32 = 1.75;
/// What is kept of the limit when it is too high, the less the slower the target is …
const DECREASE: f32 = 0.8;
/// … but half at least; and so when the target said that it is overloaded, or did not answer in time.
const DECREASE_MOST: f32 = 0.5;
/// Share of the limit that must have been in use for it to grow: else nothing was tried.
const USED: f32 = 0.7;
/// Share of the limit below which the target is not crowded: what it takes then is usual.
const IDLE: f32 = 0.5;
/// Weight of a new median in the usual one.
const WEIGHT: f32 = 0.2;
/// Judgements of a crowded target after which one is made at half the limit, to see again what is usual
/// without a crowd (as BBR does; Cardwell and others 2016): one in 64 costs under one per cent.
const LOOK_EVERY: u32 = 64;
/// Weight of such a look: it is one window, so it may be wrong too.
const LOOK_WEIGHT: f32 = 0.5;
/// Largest change of what is usual that it counts for.
const LOOK_SHIFT_MAX: f32 = 2.0;
/// Largest whole answer of each class but the last, in tokens.
const OUTPUT_CLASS_TOKENS: [u64; OUTPUT_CLASSES - 1] = [0, 64, 512];
const OUTPUT_CLASSES: usize = 4;
/// What a whole answer takes beside its tokens, in tokens: reading a short prompt and the way there and
/// back. What is left of a difference within a class is less than a factor of two.
const TOKENS_BESIDE: f32 = 32.0;
/// Streams by size of prompt, and whole answers by sizes of prompt and answer.
const SIZES: usize = SIZE_CLASSES * (1 + OUTPUT_CLASSES);

/// Fewest and most requests under way, both at least 1. Equal: the limit is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Fewest.
    pub min: u32,
    /// Most.
    pub max: u32,
}

impl Bounds {
    /// The part of one of so many cores. A core that may send nothing would serve nobody, so it is never
    /// less than one.
    #[must_use]
    pub fn per_core(self, cores: u32) -> Self {
        let cores = cores.max(1);
        let max = (self.max / cores).max(1);
        Self {
            min: (self.min / cores).clamp(1, max),
            max,
        }
    }
}

/// What was done for an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    size: usize,
    /// What its latency is divided by.
    share: f32,
}

impl Work {
    /// The first token of a stream, for a request with a body of so many bytes.
    #[must_use]
    pub fn first_token(body_bytes: usize) -> Self {
        Self {
            size: prompt_class(body_bytes),
            share: 1.0,
        }
    }

    /// A whole answer of so many tokens; zero when it has none or they are not known.
    #[must_use]
    pub fn whole(body_bytes: usize, tokens: u64) -> Self {
        let class = OUTPUT_CLASS_TOKENS.partition_point(|max| *max < tokens);
        // Counts of tokens are far below 2^24.
        #[allow(clippy::cast_precision_loss)]
        let share = tokens as f32 + TOKENS_BESIDE;
        Self {
            size: SIZE_CLASSES * (1 + class) + prompt_class(body_bytes),
            share,
        }
    }
}

fn prompt_class(body_bytes: usize) -> usize {
    match Series::of_request(false, body_bytes) {
        Series::Whole(class) => class.min(SIZE_CLASSES - 1),
        Series::FirstToken | Series::Connect => 0,
    }
}

/// What is usual for answers of one size.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    /// Microseconds per share of work.
    us: f32,
    /// Answers it was learnt from, up to [`LEARNT`].
    responses: u8,
}

/// The limit of one target on one core.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    bounds: Bounds,
    limit: f32,
    is_starting: bool,
    usual: [Usual; SIZES],
    /// The last answers, as multiples of what is usual for their size.
    ratios: [f32; WINDOW],
    count: usize,
    /// The sizes they are of, a bit each.
    sizes: u32,
    /// Most requests under way when one of them ended.
    peak: u32,
    /// Attempts begun before this, in microseconds, were sent under another limit: old news.
    changed_us: u64,
    judged: bool,
    /// Judgements since the target was last seen without a crowd.
    crowded: u32,
    /// The limit to go back to after such a look.
    look: Option<f32>,
}

impl Limiter {
    /// A limiter that knows nothing yet; or what another core found, `told`.
    #[must_use]
    pub(crate) fn new(bounds: Bounds, told: Option<u32>) -> Self {
        Self {
            bounds,
            limit: float(told.unwrap_or(LIMIT_FIRST)),
            is_starting: true,
            usual: [Usual::default(); SIZES],
            ratios: [0.0; WINDOW],
            count: 0,
            sizes: 0,
            peak: 0,
            changed_us: 0,
            judged: false,
            crowded: 0,
            look: None,
        }
    }

    /// Takes other bounds.
    pub(crate) fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Takes what the other cores found, unless this one has found out itself.
    pub(crate) fn adopt(&mut self, limit: u32) {
        if !self.judged {
            self.limit = float(limit);
        }
    }

    /// Requests that may be under way.
    #[must_use]
    pub(crate) fn limit(&self) -> u32 {
        // The limit is positive and small.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let limit = self.limit as u32;
        limit.clamp(self.bounds.min, self.bounds.max)
    }

    /// The limit, if this core found it by its own answers.
    #[must_use]
    pub(crate) fn found(&self) -> Option<u32> {
        self.judged.then(|| self.limit())
    }

    fn is_fixed(&self) -> bool {
        self.bounds.min >= self.bounds.max
    }

    /// A good answer to an attempt that began at `begun_us`; so many are under way, itself included.
    pub(crate) fn answered(
        &mut self,
        work: Work,
        latency_us: u64,
        begun_us: u64,
        under_way: u32,
        now_us: u64,
    ) {
        if self.is_fixed() || begun_us < self.changed_us {
            return;
        }
        self.peak = self.peak.max(under_way);
        // An hour is less than 2^32 microseconds, and seven digits are enough.
        #[allow(clippy::cast_precision_loss)]
        let took_us = latency_us.max(1) as f32 / work.share;
        let usual = &mut self.usual[work.size.min(SIZES - 1)];
        if usual.responses < LEARNT {
            // The geometric mean: one slow answer does not make slow ones usual.
            let weight = 1.0 / f32::from(usual.responses + 1);
            usual.us = if usual.responses == 0 {
                took_us
            } else {
                usual.us * (took_us / usual.us).powf(weight)
            };
            usual.responses += 1;
        }
        self.sizes |= 1 << work.size;
        self.ratios[self.count] = took_us / usual.us;
        self.count += 1;
        if self.count
            >= if self.is_starting {
                WINDOW_FIRST
            } else {
                WINDOW
            }
        {
            self.judge(now_us);
        }
    }

    /// The target said that it is overloaded, or did not answer in time.
    pub(crate) fn refused(&mut self, begun_us: u64, now_us: u64) {
        if begun_us >= self.changed_us && !self.is_fixed() {
            self.lower(DECREASE_MOST, now_us);
        }
    }

    fn judge(&mut self, now_us: u64) {
        let limit = self.limit();
        let ratios = &mut self.ratios[..self.count];
        let (_, median, _) = ratios.select_nth_unstable_by(self.count / 2, f32::total_cmp);
        let median = *median;
        let used = float(self.peak) / float(limit);
        let was_used = used >= USED;
        let can_fall = limit > self.bounds.min;
        let sizes = self.sizes;
        self.forget();
        if let Some(before) = self.look.take() {
            let by = median.clamp(1.0 / LOOK_SHIFT_MAX, LOOK_SHIFT_MAX);
            self.shift(sizes, 1.0 + LOOK_WEIGHT * (by - 1.0));
            self.crowded = 0;
            self.change(before, now_us);
            return;
        }
        if median > SLOWER && was_used && can_fall {
            self.lower((SLOWER / median).clamp(DECREASE_MOST, DECREASE), now_us);
            return;
        }
        // Slower without a crowd: then it is just slower. A crowd must not teach what is usual.
        let is_alone = used <= IDLE || !can_fall;
        if median < 1.0 || is_alone {
            self.shift(sizes, 1.0 + WEIGHT * (median - 1.0));
        }
        // At the floor all is learnt anew, so the way up is that of the beginning.
        self.is_starting |= !can_fall;
        self.crowded = if is_alone { 0 } else { self.crowded + 1 };
        if !was_used || median > SLOWER {
            return;
        }
        let limit = self.limit.max(float(limit));
        if self.crowded >= LOOK_EVERY {
            self.change(limit * IDLE, now_us);
            self.look = Some(limit);
        } else if self.is_starting {
            self.change(2.0 * limit, now_us);
        } else {
            self.change(limit + 1.0, now_us);
        }
    }

    /// Multiplies what is usual for these sizes.
    fn shift(&mut self, sizes: u32, by: f32) {
        for (at, usual) in self.usual.iter_mut().enumerate() {
            if sizes & (1 << at) != 0 {
                usual.us *= by;
            }
        }
    }

    fn lower(&mut self, keep: f32, now_us: u64) {
        self.is_starting = false;
        self.look = None;
        self.crowded += 1;
        self.change(float(self.limit()) * keep, now_us);
    }

    fn change(&mut self, limit: f32, now_us: u64) {
        let (min, max) = (float(self.bounds.min), float(self.bounds.max));
        self.limit = limit.clamp(min, max);
        self.changed_us = now_us;
        self.judged = true;
        self.forget();
    }

    fn forget(&mut self) {
        (self.count, self.sizes, self.peak) = (0, 0, 0);
    }
}

/// Limits are far below 2^24.
#[allow(clippy::cast_precision_loss)]
fn float(limit: u32) -> f32 {
    limit as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::{fraction, mix};
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    const MS: u64 = 1000;
    const WIDE: Bounds = Bounds { min: 1, max: 1000 };

    /// What one request asks for: its body's bytes, its answer's tokens (zero for a stream), and the
    /// milliseconds a server works on it.
    type Request = (usize, u64, f64);

    /// A server that works on `width` requests at once under more demand than it can take, for `seconds`:
    /// the limit each second, and the latencies of the last half.
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
                let (body, tokens, work_ms) = request(now_us / 1000 / MS, random);
                let first = free_at.iter_mut().min().unwrap();
                *first = now_us.max(*first) + (work_ms * 1000.0) as u64;
                ends.push(Reverse((*first, now_us, body, tokens)));
            }
            let under_way = ends.len() as u32;
            let Reverse((end_us, begun_us, body, tokens)) = ends.pop().unwrap();
            now_us = end_us;
            let latency_us = end_us - begun_us;
            let work = match tokens {
                0 => Work::first_token(body),
                tokens => Work::whole(body, tokens),
            };
            limiter.answered(work, latency_us, begun_us, under_way, now_us);
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
                let even = |_, random: f64| (100, 0, 50.0 * (0.8 + 0.4 * random));
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
    fn a_heavy_tail_is_no_crowd() {
        // Log-normal, its 90th percentile 2.5 times its median.
        let heavy = |_, random: f64| {
            let (u, v) = (fraction(mix(1, random.to_bits())), random);
            let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
            (100, 0, 50.0 * (0.7 * normal).exp())
        };
        for seed in 0..20 {
            let (limits, _) = run(seed, 20, heavy, 120);
            let settled = &limits[60..];
            assert!(mean(settled) >= 18.0, "seed {seed}: {settled:?}");
            assert!(mean(settled) <= 80.0, "seed {seed}: {settled:?}");
        }
    }

    #[test]
    fn a_server_that_becomes_slower_for_good_is_not_choked() {
        for seed in 0..20 {
            let slower = |second, random: f64| {
                let work_ms = if second < 30 { 50.0 } else { 200.0 };
                (100, 0, work_ms * (0.8 + 0.4 * random))
            };
            let (limits, _) = run(seed, 20, slower, 200);
            let settled = &limits[100..];
            assert!(mean(settled) >= 15.0, "seed {seed}: {settled:?}");
        }
    }

    #[test]
    fn longer_answers_and_longer_prompts_are_no_crowd() {
        // At second 30 answers become 20 times longer, so each takes about 15 times as long.
        let longer = |second: u64, random: f64| {
            let tokens = if second < 30 { 50.0 } else { 1000.0 } * (0.5 + random);
            (100, tokens as u64, 20.0 + tokens)
        };
        // Or prompts: their first token comes 20 times later.
        let prompts = |second: u64, random: f64| {
            let (body, work_ms) = if second < 30 {
                (1000, 50.0)
            } else {
                (200_000, 1000.0)
            };
            (body, 0, work_ms * (0.8 + 0.4 * random))
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
    fn what_little_traffic_does_not_use_does_not_grow_and_a_refusal_halves_once() {
        let mut limiter = Limiter::new(WIDE, None);
        for at in 0..1000 {
            limiter.answered(Work::whole(9, 9), 50 * MS, at, 2, at);
        }
        assert_eq!(limiter.limit(), LIMIT_FIRST);
        limiter.bound(Bounds { min: 1, max: 3 });
        assert_eq!(limiter.limit(), 3);
        limiter.bound(WIDE);
        // All that were under way are refused: that is said once.
        for _ in 0..32 {
            limiter.refused(500, 2000);
        }
        assert_eq!(limiter.limit(), LIMIT_FIRST / 2);
        for at in 0..100 {
            limiter.refused(2000 + at, 2001 + at);
        }
        assert_eq!(limiter.limit(), 1);
    }

    #[test]
    fn bounds_are_kept_and_shared_among_cores() {
        let fixed = Bounds { min: 5, max: 5 };
        let mut limiter = Limiter::new(fixed, Some(400));
        limiter.refused(0, 1);
        assert_eq!((limiter.limit(), limiter.found()), (5, None));
        let bounds = Bounds { min: 8, max: 10 };
        assert_eq!(bounds.per_core(4), Bounds { min: 2, max: 2 });
        assert_eq!(bounds.per_core(100), Bounds { min: 1, max: 1 });
        assert_eq!(bounds.per_core(0), bounds);
    }

    #[test]
    fn a_core_begins_with_what_the_others_found_until_it_knows_itself() {
        let mut limiter = Limiter::new(WIDE, None);
        limiter.adopt(40);
        assert_eq!((limiter.limit(), limiter.found()), (40, None));
        limiter.refused(0, 1);
        limiter.adopt(40);
        assert_eq!((limiter.limit(), limiter.found()), (20, Some(20)));
    }
}
