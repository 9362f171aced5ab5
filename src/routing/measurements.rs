//! What is measured of a target on one core: latencies as quantiles over its last answers, and how its
//! attempts ended, over the last seconds. Each number has one meaning: the first token of a stream, a
//! whole answer of a class of prompt sizes, and a connect are never mixed.
//!
//! A quantile is worked out when an answer ends, so that choosing a target reads one number. Nothing
//! here allocates.

/// Answers that a quantile is taken over. Few, so that a change shows after a few answers; enough for
/// the quantile used.
pub const SAMPLES_MAX: usize = 64;

/// Oldest answer that counts, in microseconds: with [`STALE_AFTER_US`] this bounds how long a target
/// is remembered as slow.
pub const SAMPLE_AGE_MAX_US: u64 = 5_000_000;

/// A target that was not chosen for so long, in microseconds, is worth one request to look again.
pub const STALE_AFTER_US: u64 = 1_000_000;

/// The quantile that targets are compared by, in percent. High enough to see a slow tail; of 64 answers
/// the seventh slowest, so that seven slow ones are enough to move traffic, one is not.
pub const QUANTILE_PERCENT: usize = 90;

/// Classes of prompt sizes.
pub const SIZE_CLASSES: usize = 4;

/// Largest request body of each class but the last, in bytes: about 500, 4,000 and 32,000 tokens at
/// four bytes each. Beyond lie long contexts, which take seconds to read.
pub const SIZE_CLASS_BYTES: [usize; SIZE_CLASSES - 1] = [2 * 1024, 16 * 1024, 128 * 1024];

/// How often a quantile is worked out anew while all its samples are recent, in microseconds: at
/// thousands of answers per second not for each.
const QUANTILE_EVERY_US: u64 = 5_000;

/// What a latency is the latency of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Series {
    /// From a request for a stream to the first bytes of its body, connecting left out.
    FirstToken,
    /// From a request to the end of its whole answer, connecting left out; by class of prompt sizes.
    Whole(usize),
    /// A connect with its TLS handshake.
    Connect,
}

impl Series {
    /// The series of a request with a body of so many bytes.
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

    /// Records a latency.
    pub fn record(&mut self, series: Series, latency_us: u64, now_us: u64) {
        let latency_us = u32::try_from(latency_us).unwrap_or(u32::MAX);
        self.window(series).record(latency_us, now_us);
    }

    /// The same, if an answer of late counts.
    #[must_use]
    pub fn recent_us(&self, series: Series, now_us: u64) -> Option<u32> {
        let window = self.of(series)?;
        let newest = (window.next + SAMPLES_MAX - 1) % SAMPLES_MAX;
        let is_recent = window.at_us.get(newest)? + SAMPLE_AGE_MAX_US >= now_us;
        window.quantile_us.filter(|_| is_recent)
    }

    /// The quantile of a series in microseconds, over what counted when the last answer ended.
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

/// The last answers of one series.
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

    /// The quantile of what is not too old. Something was just recorded, so there is one.
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

/// How an attempt ended, as far as counting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// With a good answer.
    Good,
    /// No connection.
    Connect,
    /// No answer in time.
    Timeout,
    /// A status of 5xx.
    Server,
    /// An answer that is truncated, malformed or empty.
    Unusable,
    /// A stream that broke off.
    Stream,
    /// Rate-limited.
    RateLimited,
    /// The key was refused.
    Refused,
}

const CLASSES: usize = 8;

/// Slices of the window of outcomes, and the length of each in microseconds: ten seconds in all.
const SLICES: usize = 10;
const SLICE_US: u64 = 1_000_000;

/// How attempts ended, over the last ten seconds.
#[derive(Debug, Clone, Default)]
pub struct Outcomes {
    slices: [[u32; CLASSES]; SLICES],
    sums: [u32; CLASSES],
    newest: u64,
}

impl Outcomes {
    /// Counts one.
    pub fn record(&mut self, class: Class, now_us: u64) {
        self.turn_to(now_us / SLICE_US);
        let at = (self.newest % SLICES as u64) as usize;
        self.slices[at][class as usize] += 1;
        self.sums[class as usize] += 1;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.slices = Default::default();
        self.sums = Default::default();
    }

    /// Whether one was counted within the window.
    #[must_use]
    pub fn is_recent(&self, now_us: u64) -> bool {
        let is_any = self.sums.iter().any(|sum| *sum > 0);
        is_any && now_us / SLICE_US < self.newest + SLICES as u64
    }

    fn turn_to(&mut self, slice: u64) {
        let steps = slice.saturating_sub(self.newest).min(SLICES as u64);
        for step in 0..steps {
            let at = ((slice - step) % SLICES as u64) as usize;
            let past = std::mem::take(&mut self.slices[at]);
            for (sum, past) in self.sums.iter_mut().zip(past) {
                *sum -= past;
            }
        }
        self.newest = self.newest.max(slice);
    }

    /// Outcomes of one class in the window as it was when the last was recorded.
    #[must_use]
    pub fn count(&self, class: Class) -> u32 {
        self.sums[class as usize]
    }

    /// Good and bad ones. A rate limit or a refused key says nothing about whether a target works.
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
    fn seven_slow_answers_of_64_move_the_quantile_and_age_takes_them_away() {
        let mut latencies = Latencies::default();
        let series = Series::of_request(false, 100);
        assert_eq!(latencies.quantile_us(series), None);
        let step = QUANTILE_EVERY_US;
        for at in 0..64 {
            latencies.record(series, 100, at * step);
        }
        for at in 64..70 {
            latencies.record(series, 1000, at * step);
            assert_eq!(latencies.quantile_us(series), Some(100));
        }
        latencies.record(series, 1000, 70 * step);
        assert_eq!(latencies.quantile_us(series), Some(1000));
        latencies.record(series, 90, 71 * step + SAMPLE_AGE_MAX_US);
        assert_eq!(latencies.quantile_us(series), Some(90));
        assert_eq!(latencies.quantile_us(Series::FirstToken), None);
    }

    #[test]
    fn sizes_have_classes() {
        let class = |bytes| Series::of_request(false, bytes);
        assert_eq!(class(0), Series::Whole(0));
        assert_eq!(class(2048), Series::Whole(0));
        assert_eq!(class(2049), Series::Whole(1));
        assert_eq!(class(usize::MAX), Series::Whole(SIZE_CLASSES - 1));
        assert_eq!(Series::of_request(true, 2049), Series::FirstToken);
    }

    #[test]
    fn outcomes_are_forgotten_after_ten_seconds() {
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
