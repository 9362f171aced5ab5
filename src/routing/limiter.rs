//! The concurrency limit of a target on one core: as many requests in flight as the target takes without becoming much
//! slower. The limit follows the latency of the responses (additive increase, multiplicative decrease, as TCP does; Chiu,
//! Jain 1989). Pure: each response is passed in.
//!
//! The limiter compares the time to the first token of a stream, and the time per token of a buffered response, with the
//! usual time for requests of the same size, so that long responses are not mistaken for a queue. It must not know which
//! requests wait for a permit (`wait_queue.rs`).

use crate::routing::measurements::{SIZE_CLASSES, Series};

/// The first limit: low, so that the usual latency is learnt from a target without a queue. Each evaluation doubles the limit
/// until one finds it too high (TCP's slow start).
pub(crate) const LIMIT_FIRST: u32 = 4;
/// Responses that one evaluation is based on.
const WINDOW: usize = 24;
/// The same while the limit is doubled: fewer, so that the first requests do not wait long.
const WINDOW_FIRST: usize = 8;
/// Responses of a size class from which its usual latency is learnt.
const LEARNT: u8 = 8;
/// A median latency so many times the usual one means that requests queue at the target. (At 1.5 times, a server's queue is
/// half as long as what it works on, which is enough to keep it busy.)
const SLOWER: f32 = 1.75;
/// A limit that is too high is multiplied by at most this; by less, the slower the target is.
const DECREASE: f32 = 0.8;
/// It is multiplied by at least this; and by exactly this when the target reports overload or does not respond in time.
const DECREASE_MOST: f32 = 0.5;
/// Share of the limit that must have been in use for the limit to grow: else the limit was not tested.
const USED: f32 = 0.7;
/// Share of the limit up to which the target is not crowded: its latency is the usual one then.
const IDLE: f32 = 0.5;
/// Weight of a new median in the usual latency.
const WEIGHT: f32 = 0.2;
/// Evaluations of a crowded target after which the limit is halved for one evaluation, to measure again the usual latency
/// without a queue (as BBR does; Cardwell and others 2016). One in 64 costs less than one per cent of the throughput.
const REMEASURE_EVERY: u32 = 64;
/// Weight of such a measurement in the usual latency: it is a single window, so it may be wrong.
const REMEASURE_WEIGHT: f32 = 0.5;
/// Largest factor by which such a measurement counts.
const REMEASURE_FACTOR_MAX: f32 = 2.0;
/// Largest buffered response of each class but the last, in tokens.
const OUTPUT_CLASS_TOKENS: [u64; OUTPUT_CLASSES - 1] = [0, 64, 512];
const OUTPUT_CLASSES: usize = 4;
/// Fixed part of a buffered response's time, as a number of tokens: network and the reading of a short prompt. With it, times
/// per token differ by less than a factor of two within a class.
const FIXED_TOKENS: f32 = 32.0;
/// Size classes: streams by prompt, buffered responses by prompt and output.
const SIZES: usize = SIZE_CLASSES * (1 + OUTPUT_CLASSES);

/// Lowest and highest limit, both at least 1. If they are equal, the limit is fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub min: u32,
    pub max: u32,
}

impl Bounds {
    /// The bounds of one of `cores` cores. They are at least 1, because a core with a limit of 0 could serve no request.
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

/// The work that a target did for a response.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Work {
    size: usize,
    /// Units of work; a latency is divided by them.
    units: f32,
}

impl Work {
    /// The first token of a stream, for a request with a body of `body_bytes`.
    #[must_use]
    pub fn first_token(body_bytes: usize) -> Self {
        Self {
            size: prompt_class(body_bytes),
            units: 1.0,
        }
    }

    /// A buffered response of `tokens` output tokens; zero when it has none or their number is not known.
    #[must_use]
    pub fn whole(body_bytes: usize, tokens: u64) -> Self {
        let class = OUTPUT_CLASS_TOKENS.partition_point(|max| *max < tokens);
        // Exact: numbers of tokens are far below 2^24.
        let units = tokens as f32 + FIXED_TOKENS;
        Self {
            size: SIZE_CLASSES * (1 + class) + prompt_class(body_bytes),
            units,
        }
    }
}

fn prompt_class(body_bytes: usize) -> usize {
    match Series::of_request(false, body_bytes) {
        Series::Whole(class) => class.min(SIZE_CLASSES - 1),
        Series::FirstToken | Series::Connect => 0,
    }
}

/// The usual latency of one size class.
#[derive(Debug, Clone, Copy, Default)]
struct Usual {
    /// Microseconds per unit of work.
    us: f32,
    /// Responses that it was learnt from, up to [`LEARNT`].
    responses: u8,
}

/// The limit of one target on one core.
#[derive(Debug, Clone)]
pub(crate) struct Limiter {
    bounds: Bounds,
    limit: f32,
    is_starting: bool,
    usual: [Usual; SIZES],
    /// Latencies of the responses since the last evaluation, as multiples of the usual latency of their size class.
    ratios: [f32; WINDOW],
    count: usize,
    /// The size classes of these responses, one bit for each.
    sizes: u32,
    /// Most requests in flight when one of these responses ended.
    peak: u32,
    /// When the limit changed last, in microseconds. Attempts that began earlier are ignored: another limit applied.
    changed_us: u64,
    /// This core found the limit by its own responses.
    is_found: bool,
    /// Evaluations since the target was last without a queue.
    crowded: u32,
    /// While the usual latency is measured again: the limit to return to.
    limit_before: Option<f32>,
}

impl Limiter {
    /// A limiter that begins with the limit that other cores found, or else with [`LIMIT_FIRST`].
    #[must_use]
    pub(crate) fn new(bounds: Bounds, shared_limit: Option<u32>) -> Self {
        Self {
            bounds,
            limit: float(shared_limit.unwrap_or(LIMIT_FIRST)),
            is_starting: true,
            usual: [Usual::default(); SIZES],
            ratios: [0.0; WINDOW],
            count: 0,
            sizes: 0,
            peak: 0,
            changed_us: 0,
            is_found: false,
            crowded: 0,
            limit_before: None,
        }
    }

    pub(crate) fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Takes the limit that other cores found, unless this core has found a limit itself.
    pub(crate) fn adopt(&mut self, limit: u32) {
        if !self.is_found {
            self.limit = float(limit);
        }
    }

    /// Requests that may be in flight from this core.
    #[must_use]
    pub(crate) fn limit(&self) -> u32 {
        // The limit is positive and small; its fraction is dropped.
        let limit = self.limit as u32;
        limit.clamp(self.bounds.min, self.bounds.max)
    }

    /// The limit, if this core found it by its own responses.
    #[must_use]
    pub(crate) fn found(&self) -> Option<u32> {
        self.is_found.then(|| self.limit())
    }

    fn is_fixed(&self) -> bool {
        self.bounds.min >= self.bounds.max
    }

    /// Records a good response to an attempt that began at `begun_us`. `in_flight` includes this attempt.
    pub(crate) fn record_response(
        &mut self,
        work: Work,
        latency_us: u64,
        begun_us: u64,
        in_flight: u32,
        now_us: u64,
    ) {
        if self.is_fixed() || begun_us < self.changed_us {
            return;
        }
        self.peak = self.peak.max(in_flight);
        // Seven digits of precision are enough.
        let unit_us = latency_us.max(1) as f32 / work.units;
        let usual = &mut self.usual[work.size.min(SIZES - 1)];
        if usual.responses < LEARNT {
            // The geometric mean, because a single slow response must not raise the usual latency much.
            let weight = 1.0 / f32::from(usual.responses + 1);
            usual.us = if usual.responses == 0 {
                unit_us
            } else {
                usual.us * (unit_us / usual.us).powf(weight)
            };
            usual.responses += 1;
        }
        self.sizes |= 1 << work.size;
        self.ratios[self.count] = unit_us / usual.us;
        self.count += 1;
        let window = if self.is_starting {
            WINDOW_FIRST
        } else {
            WINDOW
        };
        if self.count >= window {
            self.evaluate(now_us);
        }
    }

    /// Records that the target reported overload, or did not respond in time.
    pub(crate) fn record_overload(&mut self, begun_us: u64, now_us: u64) {
        if begun_us >= self.changed_us && !self.is_fixed() {
            self.lower(DECREASE_MOST, now_us);
        }
    }

    /// Compares the responses since the last evaluation with the usual latency, and adjusts the limit.
    fn evaluate(&mut self, now_us: u64) {
        let limit = self.limit();
        let ratios = &mut self.ratios[..self.count];
        let (_, median, _) = ratios.select_nth_unstable_by(self.count / 2, f32::total_cmp);
        let median = *median;
        let used = float(self.peak) / float(limit);
        let was_used = used >= USED;
        let can_fall = limit > self.bounds.min;
        let sizes = self.sizes;
        self.clear_window();
        if let Some(limit_before) = self.limit_before.take() {
            let factor = median.clamp(1.0 / REMEASURE_FACTOR_MAX, REMEASURE_FACTOR_MAX);
            self.scale_usual(sizes, 1.0 + REMEASURE_WEIGHT * (factor - 1.0));
            self.crowded = 0;
            self.change(limit_before, now_us);
            return;
        }
        if median > SLOWER && was_used && can_fall {
            self.lower((SLOWER / median).clamp(DECREASE_MOST, DECREASE), now_us);
            return;
        }
        // The usual latency is learnt only from a target without a queue: if that is slower, the target itself is slower.
        let is_idle = used <= IDLE || !can_fall;
        if median < 1.0 || is_idle {
            self.scale_usual(sizes, 1.0 + WEIGHT * (median - 1.0));
        }
        // At the lowest limit the search begins again, with doubling.
        self.is_starting |= !can_fall;
        self.crowded = if is_idle { 0 } else { self.crowded + 1 };
        if !was_used || median > SLOWER {
            return;
        }
        let limit = self.limit.max(float(limit));
        if self.crowded >= REMEASURE_EVERY {
            self.change(limit * IDLE, now_us);
            self.limit_before = Some(limit);
        } else if self.is_starting {
            self.change(2.0 * limit, now_us);
        } else {
            self.change(limit + 1.0, now_us);
        }
    }

    /// Multiplies the usual latency of the size classes in `sizes`.
    fn scale_usual(&mut self, sizes: u32, factor: f32) {
        for (size, usual) in self.usual.iter_mut().enumerate() {
            if sizes & (1 << size) != 0 {
                usual.us *= factor;
            }
        }
    }

    fn lower(&mut self, factor: f32, now_us: u64) {
        self.is_starting = false;
        self.limit_before = None;
        self.crowded += 1;
        self.change(float(self.limit()) * factor, now_us);
    }

    fn change(&mut self, limit: f32, now_us: u64) {
        let (min, max) = (float(self.bounds.min), float(self.bounds.max));
        self.limit = limit.clamp(min, max);
        self.changed_us = now_us;
        self.is_found = true;
        self.clear_window();
    }

    fn clear_window(&mut self) {
        (self.count, self.sizes, self.peak) = (0, 0, 0);
    }
}

/// Exact: limits are far below 2^24.
fn float(limit: u32) -> f32 {
    limit as f32
}
