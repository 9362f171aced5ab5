//! Money of one core, in nano-dollars, and its lines on the metrics page.

use crate::base::names::Name;
use crate::observability::metrics::prometheus::{Page, float};
use std::collections::HashMap;
use std::hash::Hash;

type Map<K> = HashMap<K, u64, foldhash::fast::RandomState>;

/// What was spent, saved, and is not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct CostMetrics {
    /// Nano-dollars by key, model and part (`input`, `cached_input`, `cache_write`, `output`).
    pub spent: Map<(Option<Name>, Name, &'static str)>,
    /// Nano-dollars among them that are estimates, by model.
    pub estimated: Map<Name>,
    /// Nano-dollars that cached answers saved, by model.
    pub saved: Map<Name>,
    /// Answers whose cost is unknown, by model and what is missing (`price`, `usage`).
    pub unknown: Map<(Name, &'static str)>,
}

impl CostMetrics {
    /// Books the parts of a cost.
    pub(crate) fn spend(
        &mut self,
        key: Option<Name>,
        model: Name,
        parts: [(&'static str, u64); 4],
        is_estimate: bool,
    ) {
        for (part, nanousd) in parts {
            if nanousd > 0 {
                add(&mut self.spent, (key, model, part), nanousd);
                if is_estimate {
                    add(&mut self.estimated, model, nanousd);
                }
            }
        }
    }

    /// Books what a cached answer saved.
    pub(crate) fn save(&mut self, model: Name, nanousd: u64) {
        add(&mut self.saved, model, nanousd);
    }

    /// Books an answer of unknown cost.
    pub(crate) fn unknown(&mut self, model: Name, why: &'static str) {
        add(&mut self.unknown, (model, why), 1);
    }

    /// Adds another core's.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge(&mut self.spent, &other.spent);
        merge(&mut self.estimated, &other.estimated);
        merge(&mut self.saved, &other.saved);
        merge(&mut self.unknown, &other.unknown);
    }

    /// Writes all.
    pub(crate) fn write(&self, page: &mut Page) {
        const MODEL: &str = "gen_ai_request_model";
        let name = "ringside_cost_nanousd_total";
        let help = "What was bought, in nano-dollars (10^-9 US dollars), estimates included.";
        page.metric(name, "counter", help);
        for ((key, model, part), nanousd) in sorted(&self.spent) {
            let key = key.map_or_else(|| "".into(), Name::text);
            let labels = [
                ("ringside_key", &*key),
                (MODEL, &*model.text()),
                ("gen_ai_token_type", part),
            ];
            page.sample(name, &labels, float(nanousd));
        }
        let by_model = [
            (
                "ringside_cost_estimated_nanousd_total",
                "The part of the cost that is estimated, in nano-dollars.",
                &self.estimated,
            ),
            (
                "ringside_cost_saved_nanousd_total",
                "What cached answers had cost when they were bought, in nano-dollars.",
                &self.saved,
            ),
        ];
        for (name, help, sums) in by_model {
            page.metric(name, "counter", help);
            for (model, nanousd) in sorted(sums) {
                page.sample(name, &[(MODEL, &*model.text())], float(nanousd));
            }
        }
        let name = "ringside_cost_unknown_total";
        let help = "Answers whose cost is unknown, by what is missing.";
        page.metric(name, "counter", help);
        for ((model, why), count) in sorted(&self.unknown) {
            let labels = [(MODEL, &*model.text()), ("missing", why)];
            page.sample(name, &labels, float(count));
        }
    }
}

fn add<K: Hash + Eq>(sums: &mut Map<K>, key: K, amount: u64) {
    let sum = sums.entry(key).or_default();
    *sum = sum.saturating_add(amount);
}

fn merge<K: Hash + Eq + Copy>(into: &mut Map<K>, from: &Map<K>) {
    for (key, amount) in from {
        add(into, *key, *amount);
    }
}

fn sorted<K: Ord + Copy>(sums: &Map<K>) -> Vec<(K, u64)> {
    let mut sums: Vec<_> = sums.iter().map(|(key, sum)| (*key, *sum)).collect();
    sums.sort_unstable();
    sums
}
