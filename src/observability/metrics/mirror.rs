//! Latency and cost of mirrored traffic beside those of what was served, and their lines on the metrics page.

use crate::base::names::Name;
use crate::observability::metrics::histogram::{DURATION_SECONDS, Histogram};
use crate::observability::metrics::prometheus::{Page, float};
use std::collections::HashMap;
use std::time::Duration;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// One request that both answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MirroredRequest {
    /// From the client's request to the end of its answer.
    pub served: Duration,
    /// How long the mirror took.
    pub mirror: Duration,
    /// What the mirror cost, in nano-dollars; `None` when that is not known.
    pub cost_nanousd: Option<u64>,
}

/// Numbers of one model's mirrors at one target.
#[derive(Debug, Clone)]
struct Stats {
    served: Histogram,
    mirror: Histogram,
    cost_nanousd: u64,
    cost_unknown: u64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            served: Histogram::new(DURATION_SECONDS),
            mirror: Histogram::new(DURATION_SECONDS),
            cost_nanousd: 0,
            cost_unknown: 0,
        }
    }
}

/// All mirrors of a core, by model and target, or the sum over several cores.
#[derive(Debug, Clone, Default)]
pub(crate) struct MirrorMetrics(Map<(Name, Name), Stats>);

impl MirrorMetrics {
    /// Counts one.
    pub(crate) fn record(&mut self, of: (Name, Name), seen: &MirroredRequest) {
        let stats = self.0.entry(of).or_default();
        stats.served.record(seen.served.as_secs_f64());
        stats.mirror.record(seen.mirror.as_secs_f64());
        stats.cost_nanousd += seen.cost_nanousd.unwrap_or(0);
        stats.cost_unknown += u64::from(seen.cost_nanousd.is_none());
    }

    /// Adds another core's.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (of, theirs) in &other.0 {
            let stats = self.0.entry(*of).or_default();
            stats.served.merge(&theirs.served);
            stats.mirror.merge(&theirs.mirror);
            stats.cost_nanousd += theirs.cost_nanousd;
            stats.cost_unknown += theirs.cost_unknown;
        }
    }

    /// Writes all; nothing where there are none.
    pub(crate) fn write(&self, page: &mut Page) {
        let mut all: Vec<_> = self.0.iter().collect();
        if all.is_empty() {
            return;
        }
        all.sort_unstable_by_key(|(of, _)| **of);
        let name = "ringside_mirror_duration_seconds";
        let help = "How long mirrors took, and the answers that were served.";
        page.metric(name, "histogram", help);
        for ((model, target), stats) in &all {
            let (model, target) = (model.text(), target.text());
            for (side, histogram) in [("mirror", &stats.mirror), ("served", &stats.served)] {
                let labels = [
                    ("gen_ai_request_model", &*model),
                    ("target", &*target),
                    ("side", side),
                ];
                page.histogram(name, &labels, histogram);
            }
        }
        type Value = fn(&Stats) -> u64;
        let counters: [(&str, &str, Value); 2] = [
            (
                "ringside_mirror_cost_nanousd_total",
                "What mirrors cost, in nano-dollars.",
                |stats| stats.cost_nanousd,
            ),
            (
                "ringside_mirror_cost_unknown_total",
                "Mirrors whose cost is not known.",
                |stats| stats.cost_unknown,
            ),
        ];
        for (name, help, value) in counters {
            page.metric(name, "counter", help);
            for ((model, target), stats) in &all {
                let (model, target) = (model.text(), target.text());
                let labels = [("gen_ai_request_model", &*model), ("target", &*target)];
                page.sample(name, &labels, float(value(stats)));
            }
        }
    }
}
