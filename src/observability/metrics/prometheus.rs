//! Prometheus text format (version 0.0.4) of the numbers.

use crate::base::names::Name;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::metrics::histogram::Histogram;
use std::fmt::Write;

/// A page of metrics being written.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    /// The text.
    #[must_use]
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Opens a metric.
    pub(crate) fn metric(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One sample.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.metric(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One histogram's samples.
    pub(crate) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        for (bound, count) in histogram.cumulative() {
            let bound = if bound.is_finite() {
                bound.to_string()
            } else {
                "+Inf".to_owned()
            };
            let _ = write!(self.text, "{name}_bucket");
            self.labels(labels, Some(("le", &bound)));
            let _ = writeln!(self.text, " {count}");
        }
        let _ = write!(self.text, "{name}_sum");
        self.labels(labels, None);
        let _ = write!(self.text, " {}\n{name}_count", histogram.sum());
        self.labels(labels, None);
        let _ = writeln!(self.text, " {}", histogram.count());
    }

    fn labels(&mut self, labels: &[(&str, &str)], last: Option<(&str, &str)>) {
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{open}{name}=\"{value}\"");
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
    }

    /// Counters by one label.
    fn counters<'c>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        counts: impl Iterator<Item = (&'c str, u64)>,
    ) {
        self.metric(name, "counter", help);
        for (value, count) in sorted(counts) {
            self.sample(name, &[(label, value)], float(count));
        }
    }

    /// Everything a core counts.
    pub(crate) fn core_metrics(&mut self, core: &CoreMetrics) {
        self.traffic(core);
        self.cache(core);
        self.upstream(core);
        self.targets(core);
        core.admission.write(self);
        self.hedges(core);
        self.usage(core);
        core.money.write(self);
        core.arms.write(self);
        core.mirrors.write(self);
        self.ground(core);
    }

    fn traffic(&mut self, core: &CoreMetrics) {
        let name = "ringside_requests_total";
        self.metric(
            name,
            "counter",
            "Requests answered, by operation and status.",
        );
        for ((operation, status), count) in
            sorted(core.requests.iter().map(|(key, count)| (*key, *count)))
        {
            let labels = [("operation", operation), ("status", &status.to_string())];
            self.sample(name, &labels, float(count));
        }
        let name = "ringside_overhead_seconds";
        self.metric(name, "histogram", "Time added by the gateway, by stage.");
        for (stage, histogram) in by_key(&core.overhead) {
            self.histogram(name, &[("stage", stage.name())], histogram);
        }
        let name = "gen_ai_client_operation_duration_seconds";
        self.metric(
            name,
            "histogram",
            "From a request's arrival to the end of its answer.",
        );
        for ((operation, model), histogram) in by_key(&core.duration) {
            let labels = [
                ("gen_ai_operation_name", operation),
                ("gen_ai_request_model", &*model.text()),
            ];
            self.histogram(name, &labels, histogram);
        }
        self.single(
            "ringside_stream_events_total",
            "counter",
            "Stream events relayed.",
            float(core.events),
        );
        self.counters(
            "ringside_streams_broken_total",
            "Streams that did not end well, by who broke them.",
            "side",
            core.streams_broken
                .iter()
                .map(|(key, count)| (*key, *count)),
        );
    }

    fn cache(&mut self, core: &CoreMetrics) {
        self.counters(
            "ringside_cache_lookups_total",
            "Cache look-ups, by outcome.",
            "outcome",
            core.cache_lookups.iter().map(|(key, count)| (*key, *count)),
        );
        self.counters(
            "ringside_cache_semantic_refusals_total",
            "Look-ups by meaning that were refused or failed, by reason.",
            "reason",
            core.semantic_refusals
                .iter()
                .map(|(key, count)| (*key, *count)),
        );
        self.counters(
            "ringside_cache_not_stored_total",
            "Answers not stored, by reason.",
            "reason",
            core.cache_not_stored
                .iter()
                .map(|(key, count)| (*key, *count)),
        );
        let saved: Vec<_> = core
            .tokens_saved
            .iter()
            .map(|(model, count)| (model.text(), *count))
            .collect();
        self.counters(
            "ringside_cache_tokens_saved_total",
            "Tokens not bought because of a cache hit, by model.",
            "gen_ai_request_model",
            saved.iter().map(|(model, count)| (&**model, *count)),
        );
    }

    fn upstream(&mut self, core: &CoreMetrics) {
        let name = "ringside_upstream_attempts_total";
        self.metric(name, "counter", "Upstream attempts, by target and outcome.");
        for ((target, outcome), count) in
            sorted(core.attempts.iter().map(|(key, count)| (*key, *count)))
        {
            let labels = [("target", &*target.text()), ("outcome", outcome)];
            self.sample(name, &labels, float(count));
        }
        let name = "gen_ai_server_time_to_first_token_seconds";
        self.metric(
            name,
            "histogram",
            "From a streamed request sent to its first event, by target.",
        );
        for (target, histogram) in by_key(&core.first_token) {
            self.histogram(name, &[("target", &*target.text())], histogram);
        }
        self.single(
            "ringside_upstream_connects_total",
            "counter",
            "Upstream connections opened.",
            float(core.upstream_connects),
        );
        self.single(
            "ringside_upstream_reuses_total",
            "counter",
            "Requests sent on a reused upstream connection.",
            float(core.upstream_reuses),
        );
        self.single(
            "ringside_upstream_idle_connections",
            "gauge",
            "Upstream connections idle in the pools.",
            float(core.upstream_idle),
        );
    }

    fn targets(&mut self, core: &CoreMetrics) {
        let mut targets: Vec<_> = core
            .targets
            .iter()
            .map(|(target, gauge)| (target.text(), gauge))
            .collect();
        targets.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let name = "ringside_target_health";
        let help = "Share of recent answers that were good, 0 while open, mean over the cores.";
        self.metric(name, "gauge", help);
        for (target, gauge) in &targets {
            self.sample(name, &[("target", target)], gauge.mean_health());
        }
        let name = "ringside_target_phase_cores";
        self.metric(name, "gauge", "Cores that see a target in a phase.");
        for (target, gauge) in &targets {
            for (phase, cores) in sorted(gauge.phases.iter().map(|(phase, cores)| (*phase, *cores)))
            {
                self.sample(name, &[("target", target), ("phase", phase)], float(cores));
            }
        }
        let name = "ringside_target_in_flight";
        self.metric(name, "gauge", "Requests under way at a target.");
        for (target, gauge) in &targets {
            self.sample(name, &[("target", target)], float(gauge.outstanding));
        }
        let counters = [
            (
                "ringside_target_changes_total",
                "Times a target came into a phase.",
                "phase",
                &core.target_changes,
            ),
            (
                "ringside_target_cooldowns_total",
                "Times a target or one of its keys was set aside.",
                "reason",
                &core.keys_set_aside,
            ),
        ];
        for (name, help, label, counts) in counters {
            self.metric(name, "counter", help);
            for ((target, value), count) in sorted(counts.iter().map(|(key, count)| (*key, *count)))
            {
                self.sample(
                    name,
                    &[("target", &*target.text()), (label, value)],
                    float(count),
                );
            }
        }
        self.single(
            "ringside_retries_refused_total",
            "counter",
            "Attempts not made because the retry budget was spent.",
            float(core.retries_refused),
        );
    }

    fn hedges(&mut self, core: &CoreMetrics) {
        let name = "ringside_hedges_total";
        let help = "Second requests for those that were late, by model and outcome.";
        self.metric(name, "counter", help);
        for ((model, outcome), count) in
            sorted(core.hedges.iter().map(|(key, count)| (*key, *count)))
        {
            let labels = [
                ("gen_ai_request_model", &*model.text()),
                ("outcome", outcome),
            ];
            self.sample(name, &labels, float(count));
        }
        let tokens: Vec<_> = core
            .hedge_tokens
            .iter()
            .map(|(model, count)| (model.text(), *count))
            .collect();
        self.counters(
            "ringside_hedge_tokens_estimated_total",
            "Tokens that hedged requests which were not used may have cost, an estimate, by model.",
            "gen_ai_request_model",
            tokens.iter().map(|(model, count)| (&**model, *count)),
        );
    }

    fn usage(&mut self, core: &CoreMetrics) {
        let text = |name: &Option<Name>| name.map_or_else(|| "".into(), Name::text);
        let name = "gen_ai_client_token_usage";
        self.metric(
            name,
            "histogram",
            "Tokens per call, by key, model and type.",
        );
        for ((key, model, kind), histogram) in by_key(&core.tokens) {
            let labels = [
                ("ringside_key", &*text(&key)),
                ("gen_ai_request_model", &*model.text()),
                ("gen_ai_token_type", kind),
            ];
            self.histogram(name, &labels, histogram);
        }
        for (name, help, counts) in [
            (
                "ringside_cached_input_tokens_total",
                "Input tokens held by the provider's prompt cache.",
                &core.cached_tokens,
            ),
            (
                "ringside_search_units_total",
                "Search units charged for reranking, by key and model.",
                &core.search_units,
            ),
        ] {
            self.metric(name, "counter", help);
            for ((key, model), count) in sorted(counts.iter().map(|(key, count)| (*key, *count))) {
                let labels = [
                    ("ringside_key", &*text(&key)),
                    ("gen_ai_request_model", &*model.text()),
                ];
                self.sample(name, &labels, float(count));
            }
        }
        let missing: Vec<_> = core
            .usage_missing
            .iter()
            .map(|(model, count)| (model.text(), *count))
            .collect();
        self.counters(
            "ringside_usage_missing_total",
            "Answers whose usage the provider did not report: their tokens are unknown, not zero.",
            "gen_ai_request_model",
            missing.iter().map(|(model, count)| (&**model, *count)),
        );
    }

    fn ground(&mut self, core: &CoreMetrics) {
        self.single(
            "ringside_connections_accepted_total",
            "counter",
            "Client connections accepted.",
            float(core.connections_accepted),
        );
        self.counters(
            "ringside_connections_refused_total",
            "Client connections refused, by reason.",
            "reason",
            core.connections_refused
                .iter()
                .map(|(key, count)| (*key, *count)),
        );
        self.single(
            "ringside_connections_open",
            "gauge",
            "Client connections open.",
            float(core.connections_open),
        );
        self.single(
            "ringside_connections_open_high_water",
            "gauge",
            "Most client connections open on one core so far.",
            float(core.connections_open_high),
        );
        self.single(
            "ringside_panics_total",
            "counter",
            "Panics caught; each ended one connection.",
            float(core.panics),
        );
        self.single(
            "ringside_access_records_dropped_total",
            "counter",
            "Request log lines dropped because the control plane did not keep up.",
            float(core.records_dropped),
        );
        self.single(
            "ringside_buffer_pool_bytes",
            "gauge",
            "Bytes in the buffer pools.",
            float(core.buffer_bytes.0),
        );
        self.single(
            "ringside_buffer_pool_bytes_high_water",
            "gauge",
            "Most bytes in the buffer pools so far.",
            float(core.buffer_bytes.1),
        );
    }
}

/// Counts stay far below 2^53.
#[allow(clippy::cast_precision_loss)]
#[must_use]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

fn sorted<K: Ord>(counts: impl Iterator<Item = (K, u64)>) -> Vec<(K, u64)> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_unstable();
    counts
}

fn by_key<K, S>(map: &std::collections::HashMap<K, Histogram, S>) -> Vec<(K, &Histogram)>
where
    K: Ord + Copy,
{
    let mut histograms: Vec<_> = map
        .iter()
        .map(|(key, histogram)| (*key, histogram))
        .collect();
    histograms.sort_unstable_by_key(|(key, _)| *key);
    histograms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::core_metrics::{Stage, count};
    use std::time::Duration;

    #[test]
    fn the_page_is_well_formed() {
        let mut core = CoreMetrics::default();
        core.stage(Stage::Total, Duration::from_micros(12));
        count(&mut core.requests, ("chat", 200));
        let mut page = Page::default();
        page.core_metrics(&core);
        let text = page.into_text();
        assert!(text.contains("ringside_requests_total{operation=\"chat\",status=\"200\"} 1\n"));
        assert!(
            text.contains("ringside_overhead_seconds_bucket{stage=\"total\",le=\"0.00002\"} 1\n")
        );
        assert!(text.contains("ringside_overhead_seconds_bucket{stage=\"total\",le=\"+Inf\"} 1\n"));
        for line in text.lines() {
            assert!(
                line.starts_with('#')
                    || line
                        .rsplit_once(' ')
                        .is_some_and(|(_, value)| value.parse::<f64>().is_ok()),
                "{line}"
            );
        }
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("a", "q\"\\\n")], 1.0);
        assert_eq!(page.into_text(), "x{a=\"q\\\"\\\\\\n\"} 1\n");
    }
}
