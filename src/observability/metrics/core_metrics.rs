//! All metrics that a core counts, by area. How to add one: declare it in its area's file, and count it where it
//! happens; merge, exposition and documentation follow.

use crate::accounting::cost::TokenType;
use crate::base::names::Name;
use crate::observability::metrics::admission::AdmissionMetrics;
use crate::observability::metrics::arms::ArmMetrics;
use crate::observability::metrics::cache::CacheMetrics;
use crate::observability::metrics::cost::CostMetrics;
#[cfg(test)]
use crate::observability::metrics::declaration::Declaration;
use crate::observability::metrics::group::{GroupBy, MetricSet};
use crate::observability::metrics::hedging::HedgeMetrics;
use crate::observability::metrics::mirror::MirrorMetrics;
use crate::observability::metrics::process::ProcessMetrics;
use crate::observability::metrics::prometheus::{Exposition, float};
use crate::observability::metrics::requests::{RequestMetrics, Stage};
use crate::observability::metrics::targets::TargetMetrics;
use crate::observability::metrics::upstream::UpstreamMetrics;
use crate::observability::metrics::usage::UsageMetrics;
use crate::protocols::usage::Usage;
use std::time::Duration;

macro_rules! core_metrics {
    ($( $(#[doc = $text:literal])+ $field:ident: $set:ty, )+) => {
        /// The metrics of one core, or the sum over several.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct CoreMetrics {
            $( $(#[doc = $text])+ pub(crate) $field: $set, )+
        }

        impl CoreMetrics {
            /// Adds another core's metrics.
            pub(crate) fn merge(&mut self, other: &Self) {
                $( self.$field.merge_with(&other.$field); )+
            }

            /// Writes all metrics.
            pub(crate) fn write(&self, page: &mut Exposition) {
                $( self.$field.write(page); )+
            }

            /// The metrics of each area, with its title.
            #[cfg(test)]
            pub(crate) const AREAS: &'static [(&'static str, &'static [Declaration])] =
                &[$( (<$set as MetricSet>::TITLE, <$set as MetricSet>::DECLARATIONS) ),+];

            #[cfg(test)]
            fn record_examples(&mut self, number: u64) {
                $( self.$field.record_examples(number); )+
            }
        }
    };
}

core_metrics! {
    /// Requests.
    requests: RequestMetrics,
    /// Cache lookups.
    cache: CacheMetrics,
    /// Upstream attempts and connections.
    upstream: UpstreamMetrics,
    /// Targets.
    targets: TargetMetrics,
    /// Admission control.
    admission: AdmissionMetrics,
    /// Hedging.
    hedging: HedgeMetrics,
    /// Tokens and search units.
    usage: UsageMetrics,
    /// Cost.
    cost: CostMetrics,
    /// Arms of experiments.
    arms: GroupBy<ArmMetrics>,
    /// Mirrored requests.
    mirrors: GroupBy<MirrorMetrics>,
    /// Connections, log and memory.
    process: ProcessMetrics,
}

impl CoreMetrics {
    /// Records the time that one stage of a request added.
    pub(crate) fn stage(&mut self, stage: Stage, time: Duration) {
        self.requests
            .overhead_seconds
            .record(stage, time.as_secs_f64());
    }

    /// Records the tokens of one call.
    pub(crate) fn record_tokens(&mut self, key: Option<Name>, model: Name, usage: Usage) {
        for (token_type, tokens) in [
            (TokenType::Input, usage.prompt),
            (TokenType::Output, usage.completion),
        ] {
            self.usage
                .tokens
                .record((key, model, token_type), float(tokens));
        }
        if usage.cached > 0 {
            self.usage
                .cached_input_tokens
                .add((key, model), usage.cached);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::operation_kind::OperationKind;

    fn text(metrics: &CoreMetrics) -> String {
        let mut page = Exposition::default();
        metrics.write(&mut page);
        page.into_text()
    }

    fn declarations() -> impl Iterator<Item = &'static Declaration> {
        CoreMetrics::AREAS.iter().flat_map(|(_, metrics)| *metrics)
    }

    #[test]
    fn merging_the_cores_counts_what_one_core_would_have_counted() {
        let mut whole = CoreMetrics::default();
        let mut cores: [CoreMetrics; 3] = Default::default();
        for step in 0..400_u64 {
            // Any order of numbers will do, as long as each core meets all keys.
            let number = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
            whole.record_examples(number);
            cores[(number / 7 % 3) as usize].record_examples(number);
        }
        let mut merged = CoreMetrics::default();
        for core in &cores {
            assert_ne!(text(core), text(&whole));
            merged.merge(core);
        }
        assert_eq!(text(&merged), text(&whole));
        for metric in declarations() {
            let begin = format!("\n{}", metric.name);
            assert!(text(&merged).contains(&begin), "{}", metric.name);
        }
    }

    #[test]
    fn the_exposition_is_well_formed() {
        let mut core = CoreMetrics::default();
        core.stage(Stage::Total, Duration::from_micros(12));
        core.requests.answered.increment((OperationKind::Chat, 200));
        let text = text(&core);
        for line in [
            "ringside_requests_total{operation=\"chat\",status=\"200\"} 1\n",
            "ringside_overhead_seconds_bucket{stage=\"total\",le=\"0.00002\"} 1\n",
            "ringside_overhead_seconds_bucket{stage=\"total\",le=\"+Inf\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let value = line.rsplit_once(' ').map(|(_, value)| value);
            assert!(
                value.is_some_and(|value| value.parse::<f64>().is_ok()),
                "{line}"
            );
        }
    }
}
