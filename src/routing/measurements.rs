//! Measurements of a target on one core: quantiles of its last latencies, and the outcomes of its attempts in the last
//! seconds. Latencies of different kinds are never mixed: the first token of a stream, a buffered response by class of
//! prompt sizes, and a connect have a series each.
//!
//! A quantile is computed when a response ends, so that choosing a target reads a single number. Nothing here allocates.

/// Latencies that a quantile is computed over. Few, so that a change shows soon; enough for the quantile in use.
pub const SAMPLES_MAX: usize = 64;

/// Age beyond which a latency no longer counts, in microseconds. With [`STALE_AFTER_US`] it bounds how long a target that was
/// slow is avoided.
pub const SAMPLE_AGE_MAX_US: u64 = 5_000_000;

/// A target that was not chosen for so long, in microseconds, is measured again with a request.
pub const STALE_AFTER_US: u64 = 1_000_000;

/// The quantile that targets are compared by, in percent. It is high, so that a slow tail counts. Of 64 responses it is the
/// seventh slowest, so that seven slow responses move traffic and a single one does not.
pub const QUANTILE_PERCENT: usize = 90;

/// Classes of prompt sizes.
pub const SIZE_CLASSES: usize = 4;

/// Largest request body of each class but the last, in bytes: about 500, 4,000 and 32,000 tokens of four bytes. The last class
/// is for long contexts, which a model needs seconds to read.
pub const SIZE_CLASS_BYTES: [usize; SIZE_CLASSES - 1] = [2 * 1024, 16 * 1024, 128 * 1024];

/// Shortest time between two computations of a quantile once the window is full, in microseconds: at thousands of responses per
/// second it is not computed for each.
const QUANTILE_EVERY_US: u64 = 5_000;

/// A kind of latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Series {
    /// From a request for a stream to the first bytes of its body, without connecting.
    FirstToken,
    /// From a request to the end of its buffered response, without connecting; by class of prompt sizes.
    Whole(usize),
    /// A connect with its TLS handshake.
    Connect,
}

impl Series {
    /// The series of a request with a body of `body_bytes`.
    #[must_use]
    pub fn of_request(streams: bool, body_bytes: usize) -> Self {
        if streams {
            return Self::FirstToken;
        }
        Self::Whole(SIZE_CLASS_BYTES.partition_point(|max| *max < body_bytes))
    }
}

/// The latencies of one target.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    first_token: Window,
    whole: [Window; SIZE_CLASSES],
    connect: Window,
}

impl Latencies {
    fn window(&mut self, series: Series) -> &mut Window {
        match series {
            Series::FirstToken => &mut self.first_token,
            Series::Connect => &mut self.connect,
            Series::Whole(class) => &mut self.whole[class.min(SIZE_CLASSES - 1)],
        }
    }

    /// Records a latency. One beyond `u32::MAX` microseconds counts as that.
    pub fn record(&mut self, series: Series, latency_us: u64, now_us: u64) {
        let latency_us = u32::try_from(latency_us).unwrap_or(u32::MAX);
        self.window(series).record(latency_us, now_us);
    }

    /// The quantile of a series in microseconds; `None` if its newest latency is too old to count.
    #[must_use]
    pub fn recent_us(&self, series: Series, now_us: u64) -> Option<u32> {
        let window = self.of(series)?;
        let newest = (window.next + SAMPLES_MAX - 1) % SAMPLES_MAX;
        let is_recent = window.at_us.get(newest)? + SAMPLE_AGE_MAX_US >= now_us;
        window.quantile_us.filter(|_| is_recent)
    }

    /// The quantile of a series in microseconds, over the latencies that counted when the last response ended.
    #[must_use]
    pub fn quantile_us(&self, series: Series) -> Option<u32> {
        self.of(series)?.quantile_us
    }

    fn of(&self, series: Series) -> Option<&Window> {
        match series {
            Series::FirstToken => Some(&self.first_token),
            Series::Connect => Some(&self.connect),
            Series::Whole(class) => self.whole.get(class),
        }
    }
}

/// The last latencies of one series.
#[derive(Debug, Clone)]
struct Window {
    latency_us: [u32; SAMPLES_MAX],
    at_us: [u64; SAMPLES_MAX],
    count: usize,
    next: usize,
    quantile_us: Option<u32>,
    quantile_at_us: u64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            latency_us: [0; SAMPLES_MAX],
            at_us: [0; SAMPLES_MAX],
            count: 0,
            next: 0,
            quantile_us: None,
            quantile_at_us: 0,
        }
    }
}

impl Window {
    fn record(&mut self, latency_us: u32, now_us: u64) {
        self.latency_us[self.next] = latency_us;
        self.at_us[self.next] = now_us;
        self.next = (self.next + 1) % SAMPLES_MAX;
        self.count = (self.count + 1).min(SAMPLES_MAX);
        if self.count < SAMPLES_MAX || now_us >= self.quantile_at_us + QUANTILE_EVERY_US {
            self.quantile_us = Some(self.quantile(now_us));
            self.quantile_at_us = now_us;
        }
    }

    /// The quantile of the latencies that are not too old. At least one is there, because it was just recorded.
    fn quantile(&self, now_us: u64) -> u32 {
        let mut recent = [0; SAMPLES_MAX];
        let mut count = 0;
        let since_us = now_us.saturating_sub(SAMPLE_AGE_MAX_US);
        for (latency, at_us) in self.latency_us.iter().zip(&self.at_us).take(self.count) {
            if *at_us >= since_us {
                recent[count] = *latency;
                count += 1;
            }
        }
        let rank = (count * QUANTILE_PERCENT).div_ceil(100).max(1) - 1;
        let (_, quantile, _) = recent[..count].select_nth_unstable(rank);
        *quantile
    }
}

/// Class of outcomes that are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A good response.
    Good,
    /// No connection.
    Connect,
    /// No response in time.
    Timeout,
    /// A status of 5xx.
    Server,
    /// A response that is truncated, malformed or empty.
    Unusable,
    /// A stream that broke off.
    Stream,
    /// 429.
    RateLimited,
    /// 401 or 403: the key was refused.
    Refused,
}

const CLASSES: usize = 8;

/// Slices of the window of outcomes, and the length of a slice in microseconds: the window is ten seconds.
const SLICES: usize = 10;
const SLICE_US: u64 = 1_000_000;

/// Outcomes of the attempts in the last ten seconds.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    slices: [[u32; CLASSES]; SLICES],
    sums: [u32; CLASSES],
    newest: u64,
}

impl Outcomes {
    /// Counts an outcome.
    pub fn record(&mut self, class: Class, now_us: u64) {
        self.turn_to(now_us / SLICE_US);
        let slice = (self.newest % SLICES as u64) as usize;
        self.slices[slice][class as usize] += 1;
        self.sums[class as usize] += 1;
    }

    /// Removes all outcomes.
    pub fn clear(&mut self) {
        self.slices = Default::default();
        self.sums = Default::default();
    }

    /// Whether an outcome was recorded within the window.
    #[must_use]
    pub fn is_recent(&self, now_us: u64) -> bool {
        let is_any = self.sums.iter().any(|sum| *sum > 0);
        is_any && now_us / SLICE_US < self.newest + SLICES as u64
    }

    fn turn_to(&mut self, slice: u64) {
        let steps = slice.saturating_sub(self.newest).min(SLICES as u64);
        for step in 0..steps {
            let expired = ((slice - step) % SLICES as u64) as usize;
            let past = std::mem::take(&mut self.slices[expired]);
            for (sum, past) in self.sums.iter_mut().zip(past) {
                *sum -= past;
            }
        }
        self.newest = self.newest.max(slice);
    }

    /// Outcomes of one class in the window as it was when the last outcome was recorded.
    #[must_use]
    pub fn count(&self, class: Class) -> u32 {
        self.sums[class as usize]
    }

    /// Numbers of good and of bad outcomes. Rate limits and refused keys are neither: they do not show whether a target works.
    #[must_use]
    pub fn good_and_bad(&self) -> (u32, u32) {
        let bad = [
            Class::Connect,
            Class::Timeout,
            Class::Server,
            Class::Unusable,
            Class::Stream,
        ];
        let bad = bad.into_iter().map(|class| self.count(class)).sum();
        (self.count(Class::Good), bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seven_slow_responses_of_64_move_the_quantile_until_they_are_old() {
        let mut latencies = Latencies::default();
        let series = Series::of_request(false, 100);
        assert_eq!(latencies.quantile_us(series), None);
        let step = QUANTILE_EVERY_US;
        for index in 0..64 {
            latencies.record(series, 100, index * step);
        }
        for index in 64..70 {
            latencies.record(series, 1000, index * step);
            assert_eq!(latencies.quantile_us(series), Some(100));
        }
        latencies.record(series, 1000, 70 * step);
        assert_eq!(latencies.quantile_us(series), Some(1000));
        latencies.record(series, 90, 71 * step + SAMPLE_AGE_MAX_US);
        assert_eq!(latencies.quantile_us(series), Some(90));
        assert_eq!(latencies.quantile_us(Series::FirstToken), None);
    }

    #[test]
    fn each_prompt_size_has_a_class() {
        let class = |bytes| Series::of_request(false, bytes);
        assert_eq!(class(0), Series::Whole(0));
        assert_eq!(class(2048), Series::Whole(0));
        assert_eq!(class(2049), Series::Whole(1));
        assert_eq!(class(usize::MAX), Series::Whole(SIZE_CLASSES - 1));
        assert_eq!(Series::of_request(true, 2049), Series::FirstToken);
    }

    #[test]
    fn outcomes_expire_after_ten_seconds() {
        let mut outcomes = Outcomes::default();
        for second in 0..30 {
            outcomes.record(Class::Good, second * SLICE_US);
            outcomes.record(Class::Server, second * SLICE_US + 1);
            outcomes.record(Class::RateLimited, second * SLICE_US + 2);
        }
        assert_eq!(outcomes.good_and_bad(), (10, 10));
        outcomes.record(Class::Good, 34 * SLICE_US);
        assert_eq!(outcomes.good_and_bad(), (6, 5));
        outcomes.record(Class::Timeout, 1000 * SLICE_US);
        assert_eq!(outcomes.good_and_bad(), (0, 1));
    }
}
