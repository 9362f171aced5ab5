//! What is counted and timed while a run goes on.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// A slot of time is never shorter.
const SLOT: Duration = Duration::from_millis(100);
/// With more slots, two become one.
const SLOTS_MAX: usize = 240;

/// A slot of time.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Latencies in microseconds of what was to be sent in it.
    pub latency_us: Histogram<u64>,
    /// Answers that came in it.
    pub answers: u64,
    /// Errors that came in it.
    pub errors: u64,
    /// Its answers by `x-ringside-cache`; those without are not among them.
    pub cache: BTreeMap<String, u64>,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            // Two digits, and as large as what it holds.
            latency_us: Histogram::new(2)
                .unwrap_or_else(|_| unreachable!("two digits are allowed")),
            answers: 0,
            errors: 0,
            cache: BTreeMap::new(),
        }
    }
}

impl Slot {
    /// Records a latency in microseconds.
    pub fn time(&mut self, latency_us: u64) {
        // Not `saturating_record`: that does not let the histogram grow.
        let _ = self.latency_us.record(latency_us);
    }

    fn merge(&mut self, other: &Self) {
        // Cannot fail: the histogram grows.
        let _ = self.latency_us.add(&other.latency_us);
        self.answers += other.answers;
        self.errors += other.errors;
        add_counts(&mut self.cache, &other.cache);
    }
}

/// Slots from the beginning of the measurement.
#[derive(Debug, Clone)]
pub struct Series {
    /// Length of each.
    pub width: Duration,
    /// In the order of time.
    pub slots: Vec<Slot>,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            width: SLOT,
            slots: Vec::new(),
        }
    }
}

impl Series {
    /// The slot of a time; slots get longer when there are too many.
    pub fn slot(&mut self, at: Duration) -> &mut Slot {
        let number = |width: Duration| at.as_nanos() / width.as_nanos().max(1);
        while number(self.width) >= SLOTS_MAX as u128 {
            self.widen();
        }
        let at = usize::try_from(number(self.width)).unwrap_or(0);
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, Slot::default);
        }
        &mut self.slots[at]
    }

    fn widen(&mut self) {
        self.width *= 2;
        let pairs = self.slots.chunks(2);
        self.slots = pairs
            .map(|pair| {
                let mut slot = Slot::default();
                for other in pair {
                    slot.merge(other);
                }
                slot
            })
            .collect();
    }

    fn merge(&mut self, mut other: Self) {
        while self.width < other.width {
            self.widen();
        }
        while other.width < self.width {
            other.widen();
        }
        for (at, slot) in other.slots.iter().enumerate() {
            if self.slots.len() <= at {
                self.slots.push(Slot::default());
            }
            self.slots[at].merge(slot);
        }
    }
}

/// A part of a ramp.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Latencies in microseconds of what was to be sent in it.
    pub latency_us: Histogram<u64>,
    /// Answers that came in its time.
    pub completed: u64,
    /// Errors of what was to be sent in it.
    pub errors: u64,
}

/// Counts and times. Times are in microseconds.
#[derive(Debug, Clone)]
pub struct Recording {
    /// From the intended send time to the end of the answer.
    pub latency_us: Histogram<u64>,
    /// From the intended send time to the first event with something of the answer (streams).
    pub first_token_us: Histogram<u64>,
    /// Between two such events.
    pub gap_us: Histogram<u64>,
    /// What the gateway says it added.
    pub overhead_us: Histogram<u64>,
    /// From the intended send time until it was sent: the load generator's own lateness, and in
    /// an open loop the wait for a free connection.
    pub send_delay_us: Histogram<u64>,
    /// Such events per second, from the first to the last of a stream.
    pub tokens_per_s: Histogram<u64>,
    /// Good answers to requests of the time measured.
    pub answers: u64,
    /// Good answers that came in the time measured.
    pub in_window: u64,
    /// Stream events.
    pub events: u64,
    /// Answers that were made for another wording of the prompt: semantic hits.
    pub reworded: u64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Answers by `x-ringside-cache`.
    pub cache: BTreeMap<String, u64>,
    /// Over time.
    pub series: Series,
    /// By parts of a ramp; empty without one.
    pub stages: Vec<Stage>,
    /// When the last answer or error came.
    pub last_at: Duration,
}

impl Recording {
    /// Nothing yet, with so many parts of a ramp.
    #[must_use]
    pub fn new(stages: usize) -> Self {
        let stage = || Stage {
            latency_us: micros(),
            completed: 0,
            errors: 0,
        };
        Self {
            latency_us: micros(),
            first_token_us: micros(),
            gap_us: micros(),
            overhead_us: micros(),
            send_delay_us: micros(),
            tokens_per_s: micros(),
            answers: 0,
            in_window: 0,
            events: 0,
            reworded: 0,
            errors: BTreeMap::new(),
            cache: BTreeMap::new(),
            series: Series::default(),
            stages: std::iter::repeat_with(stage).take(stages).collect(),
            last_at: Duration::ZERO,
        }
    }

    /// Adds what another worker or round recorded.
    pub fn merge(&mut self, other: Self) {
        for (own, its) in [
            (&mut self.latency_us, &other.latency_us),
            (&mut self.first_token_us, &other.first_token_us),
            (&mut self.gap_us, &other.gap_us),
            (&mut self.overhead_us, &other.overhead_us),
            (&mut self.send_delay_us, &other.send_delay_us),
            (&mut self.tokens_per_s, &other.tokens_per_s),
        ] {
            // Cannot fail: the bounds are the same.
            let _ = own.add(its);
        }
        self.answers += other.answers;
        self.in_window += other.in_window;
        self.events += other.events;
        self.reworded += other.reworded;
        add_counts(&mut self.errors, &other.errors);
        add_counts(&mut self.cache, &other.cache);
        self.series.merge(other.series);
        for (own, its) in self.stages.iter_mut().zip(&other.stages) {
            let _ = own.latency_us.add(&its.latency_us);
            own.completed += its.completed;
            own.errors += its.errors;
        }
        self.last_at = self.last_at.max(other.last_at);
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Microseconds for a histogram.
#[must_use]
pub fn as_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// From a microsecond to an hour, with three digits.
fn micros() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3)
        .unwrap_or_else(|_| unreachable!("these bounds are valid"))
}

fn add_counts(own: &mut BTreeMap<String, u64>, its: &BTreeMap<String, u64>) {
    for (name, count) in its {
        *own.entry(name.clone()).or_default() += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_widen_and_lose_nothing() {
        let mut series = Series::default();
        for second in 0..1000 {
            let slot = series.slot(Duration::from_secs(second));
            slot.answers += 1;
            slot.time((second + 1) * 1000);
        }
        assert!(series.slots.len() <= SLOTS_MAX);
        assert_eq!(series.width, SLOT * 64);
        assert_eq!(
            series.slots.iter().map(|slot| slot.answers).sum::<u64>(),
            1000
        );
        let last = series.slots.last().unwrap();
        assert!(last.latency_us.max() > 990_000, "{}", last.latency_us.max());
        let mut short = Series::default();
        short.slot(Duration::ZERO).answers = 5;
        short.merge(series);
        assert_eq!(
            short.slots.iter().map(|slot| slot.answers).sum::<u64>(),
            1005
        );
        assert_eq!(
            short
                .slots
                .iter()
                .map(|slot| slot.latency_us.len())
                .sum::<u64>(),
            1000
        );
    }

    #[test]
    fn recordings_add_up() {
        let one = || {
            let mut one = Recording::new(2);
            one.answers = 3;
            one.latency_us.saturating_record(50);
            one.errors.insert("timeout".into(), 2);
            one.stages[1].completed = 4;
            one
        };
        let mut both = one();
        both.merge(one());
        assert_eq!((both.answers, both.error_count()), (6, 4));
        assert_eq!((both.latency_us.len(), both.stages[1].completed), (2, 8));
    }
}
