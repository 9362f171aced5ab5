//! What was measured, as a table or as JSON.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Counts and latencies of a run. Times are in microseconds.
pub struct Report {
    /// From the intended send time to the end of the answer.
    pub latency_us: Histogram<u64>,
    /// From the intended send time to the first content event (streams).
    pub first_token_us: Histogram<u64>,
    /// Between two content events.
    pub gap_us: Histogram<u64>,
    /// What the gateway says it added.
    pub overhead_us: Histogram<u64>,
    /// Good answers.
    pub answers: u64,
    /// Stream events.
    pub events: u64,
    /// Errors by kind.
    pub errors: BTreeMap<String, u64>,
    /// Answers by `x-ringside-cache`.
    pub cache: BTreeMap<String, u64>,
    /// Time measured.
    pub elapsed: Duration,
    /// CPU time of this process over the whole run.
    pub cpu: Duration,
}

impl Default for Report {
    fn default() -> Self {
        // From a microsecond to an hour, with three digits.
        let histogram = || {
            Histogram::new_with_bounds(1, 3_600_000_000, 3)
                .unwrap_or_else(|_| unreachable!("these bounds are valid"))
        };
        Self {
            latency_us: histogram(),
            first_token_us: histogram(),
            gap_us: histogram(),
            overhead_us: histogram(),
            answers: 0,
            events: 0,
            errors: BTreeMap::new(),
            cache: BTreeMap::new(),
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
        }
    }
}

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];

impl Report {
    /// Answers per second.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn rate(&self) -> f64 {
        self.answers as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Errors of all kinds.
    #[must_use]
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    fn histograms(&self) -> [(&'static str, &Histogram<u64>); 4] {
        [
            ("latency", &self.latency_us),
            ("first token", &self.first_token_us),
            ("gap between tokens", &self.gap_us),
            ("gateway overhead", &self.overhead_us),
        ]
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = serde_json::json!({
            "answers": self.answers,
            "answers_per_s": self.rate(),
            "events": self.events,
            "errors": self.errors,
            "cache": self.cache,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "own_cpu_s": self.cpu.as_secs_f64(),
        });
        for (name, histogram) in self.histograms() {
            let quantiles: serde_json::Map<_, _> = QUANTILES
                .iter()
                .map(|(label, at)| ((*label).to_owned(), histogram.value_at_quantile(*at).into()))
                .collect();
            json[format!("{}_us", name.replace(' ', "_"))] = quantiles.into();
        }
        json
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} answers in {:.2} s = {:.0}/s, {} events, {} errors, own CPU {:.2} s",
            self.answers,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.events,
            self.error_count(),
            self.cpu.as_secs_f64(),
        )?;
        write!(f, "{:20}", "microseconds")?;
        for (label, _) in QUANTILES {
            write!(f, "{label:>10}")?;
        }
        writeln!(f)?;
        for (name, histogram) in self.histograms() {
            if histogram.is_empty() {
                continue;
            }
            write!(f, "{name:20}")?;
            for (_, at) in QUANTILES {
                write!(f, "{:>10}", histogram.value_at_quantile(at))?;
            }
            writeln!(f)?;
        }
        for (title, counts) in [("cache", &self.cache), ("errors", &self.errors)] {
            for (kind, count) in counts {
                writeln!(f, "{title} {kind}: {count}")?;
            }
        }
        Ok(())
    }
}
