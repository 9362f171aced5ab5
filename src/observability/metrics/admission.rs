//! What one core counts of requests that wait for a place at a target, and its lines on the metrics page.

use crate::base::names::Name;
use crate::observability::metrics::histogram::{DURATION_SECONDS, Histogram};
use crate::observability::metrics::prometheus::{Page, float};
use std::collections::HashMap;
use std::time::Duration;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Waits, and who was turned away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admission {
    /// How long those who got a place had waited for it, by model.
    waits: Map<Name, Histogram>,
    /// Requests that waited or wanted to and got no place, by model and reason.
    shed: Map<(Name, &'static str), u64>,
    /// Requests in line now and at most (gauge), by model.
    lines: Map<Name, (u64, u64)>,
    /// Requests that may be under way at a target (gauge).
    limits: Map<Name, u64>,
}

impl Admission {
    /// Books a wait that ended with a place.
    pub(crate) fn waited(&mut self, model: Name, time: Duration) {
        self.waits
            .entry(model)
            .or_insert_with(|| Histogram::new(DURATION_SECONDS))
            .record(time.as_secs_f64());
    }

    /// Books a request that got no place.
    pub(crate) fn shed(&mut self, model: Name, reason: &'static str) {
        *self.shed.entry((model, reason)).or_default() += 1;
    }

    /// Forgets what was so at a moment.
    pub(crate) fn clear_gauges(&mut self) {
        self.lines.clear();
        self.limits.clear();
    }

    /// Sets how many wait for a model, and how many may.
    pub(crate) fn line(&mut self, model: Name, length: u64, max: u64) {
        self.lines.insert(model, (length, max));
    }

    /// Sets how many requests may be under way at a target.
    pub(crate) fn limit(&mut self, target: Name, limit: u64) {
        self.limits.insert(target, limit);
    }

    /// Adds another core's.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (model, histogram) in &other.waits {
            self.waits
                .entry(*model)
                .and_modify(|mine| mine.merge(histogram))
                .or_insert_with(|| histogram.clone());
        }
        for (key, count) in &other.shed {
            *self.shed.entry(*key).or_default() += count;
        }
        for (model, (length, max)) in &other.lines {
            let line = self.lines.entry(*model).or_default();
            *line = (line.0 + length, line.1 + max);
        }
        for (target, limit) in &other.limits {
            *self.limits.entry(*target).or_default() += limit;
        }
    }

    /// Writes all.
    pub(crate) fn write(&self, page: &mut Page) {
        const MODEL: &str = "gen_ai_request_model";
        let name = "ringside_target_limit";
        page.metric(name, "gauge", "Requests that may be under way at a target.");
        for (target, limit) in sorted(&self.limits) {
            page.sample(name, &[("target", &target.text())], float(limit));
        }
        let lines = sorted(&self.lines);
        let name = "ringside_admission_queue";
        page.metric(name, "gauge", "Requests that wait for a place at a target.");
        for (model, (length, _)) in &lines {
            page.sample(name, &[(MODEL, &model.text())], float(*length));
        }
        let name = "ringside_admission_queue_max";
        page.metric(name, "gauge", "Requests that may wait.");
        for (model, (_, max)) in &lines {
            page.sample(name, &[(MODEL, &model.text())], float(*max));
        }
        let name = "ringside_admission_wait_seconds";
        let help = "How long those who got a place had waited for it.";
        page.metric(name, "histogram", help);
        for (model, histogram) in sorted(&self.waits) {
            page.histogram(name, &[(MODEL, &model.text())], &histogram);
        }
        let name = "ringside_admission_shed_total";
        let help = "Requests that wanted a place at a target and got none, by reason.";
        page.metric(name, "counter", help);
        for ((model, reason), count) in sorted(&self.shed) {
            let labels = [(MODEL, &*model.text()), ("reason", reason)];
            page.sample(name, &labels, float(count));
        }
    }
}

fn sorted<K: Ord + Copy, V: Clone>(map: &Map<K, V>) -> Vec<(K, V)> {
    let mut all: Vec<(K, V)> = map
        .iter()
        .map(|(key, value)| (*key, value.clone()))
        .collect();
    all.sort_unstable_by_key(|(key, _)| *key);
    all
}
