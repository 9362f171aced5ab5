//! The numbers of one core.

use crate::base::names::Name;
use crate::observability::metrics::admission::Admission;
use crate::observability::metrics::arms::Arms;
use crate::observability::metrics::cost::CostMetrics;
use crate::observability::metrics::histogram::{
    DURATION_SECONDS, Histogram, OVERHEAD_SECONDS, TOKENS,
};
use crate::observability::metrics::mirror::MirrorMetrics;
use crate::protocols::usage::Usage;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Stages of the journey whose added time is measured apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Reading and checking the request's JSON, admission, canonical form.
    Read,
    /// Exact cache.
    Exact,
    /// Semantic cache, embedding included.
    Semantic,
    /// Choosing targets and encoding.
    Route,
    /// All of it: total time less the time spent waiting for upstream.
    Total,
}

impl Stage {
    /// Label value.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Exact => "exact",
            Self::Semantic => "semantic",
            Self::Route => "route",
            Self::Total => "total",
        }
    }
}

/// Counters and histograms of one core, or the sum over several.
#[derive(Debug, Clone, Default)]
pub(crate) struct CoreMetrics {
    /// Requests by operation and status.
    pub requests: Map<(&'static str, u16), u64>,
    /// Cache look-ups by outcome (`exact`, `semantic`, `miss`, `bypass`).
    pub cache_lookups: Map<&'static str, u64>,
    /// Look-ups by meaning that were refused or failed, by reason.
    pub semantic_refusals: Map<&'static str, u64>,
    /// Answers not stored, by reason.
    pub cache_not_stored: Map<&'static str, u64>,
    /// Upstream attempts by target and outcome.
    pub attempts: Map<(Name, &'static str), u64>,
    /// Changes of targets by target and new phase.
    pub target_changes: Map<(Name, &'static str), u64>,
    /// Times a target or one of its keys was set aside, by target and reason.
    pub keys_set_aside: Map<(Name, &'static str), u64>,
    /// Attempts not made because the retry budget was spent or a probe was under way.
    pub retries_refused: u64,
    /// Second requests, by model and outcome (`won`, `lost`, `refused` for want of budget).
    pub hedges: Map<(Name, &'static str), u64>,
    /// Tokens that requests which were not used may have cost, an estimate, by model.
    pub hedge_tokens: Map<Name, u64>,
    /// Targets as the cores see them now (gauge).
    pub targets: Map<Name, TargetGauge>,
    /// Tokens by key, model and type (`input`, `output`).
    pub tokens: Map<(Option<Name>, Name, &'static str), Histogram>,
    /// Input tokens the provider's prompt cache held, by key and model.
    pub cached_tokens: Map<(Option<Name>, Name), u64>,
    /// Answers without usage, by model.
    pub usage_missing: Map<Name, u64>,
    /// Search units charged for reranking, by key and model.
    pub search_units: Map<(Option<Name>, Name), u64>,
    /// Tokens a cache hit saved, by model.
    pub tokens_saved: Map<Name, u64>,
    /// Money.
    pub money: CostMetrics,
    /// Arms of experiments.
    pub arms: Arms,
    /// Mirrored traffic.
    pub mirrors: MirrorMetrics,
    /// Waits for places at targets.
    pub admission: Admission,
    /// Time added by the gateway, by stage.
    pub overhead: Map<Stage, Histogram>,
    /// Whole duration of requests, by operation and model.
    pub duration: Map<(&'static str, Name), Histogram>,
    /// Time to first token of streams, by target.
    pub first_token: Map<Name, Histogram>,
    /// Streams that did not end well, by who broke them (`client`, `upstream`, `drain`).
    pub streams_broken: Map<&'static str, u64>,
    /// Stream events relayed.
    pub events: u64,
    /// Client connections accepted, and refused by reason.
    pub connections_accepted: u64,
    /// Client connections refused, by reason.
    pub connections_refused: Map<&'static str, u64>,
    /// Client connections open now (gauge).
    pub connections_open: u64,
    /// Most client connections ever open on a core.
    pub connections_open_high: u64,
    /// Upstream connections opened.
    pub upstream_connects: u64,
    /// Requests sent on a reused upstream connection.
    pub upstream_reuses: u64,
    /// Upstream connections idle now (gauge).
    pub upstream_idle: u64,
    /// Panics caught.
    pub panics: u64,
    /// Access records dropped because the queue to the control plane was full.
    pub records_dropped: u64,
    /// Bytes in the buffer pool now and at most.
    pub buffer_bytes: (u64, u64),
}

/// A target as the cores see it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TargetGauge {
    /// Sum over the cores of the share of good answers, 0 where it is open.
    pub health: f64,
    /// Requests under way.
    pub outstanding: u64,
    /// Cores by phase.
    pub phases: Map<&'static str, u64>,
}

impl TargetGauge {
    /// Mean health over the cores that know it.
    #[must_use]
    pub(crate) fn mean_health(&self) -> f64 {
        let cores: u64 = self.phases.values().sum();
        #[allow(clippy::cast_precision_loss)]
        let cores = cores.max(1) as f64;
        self.health / cores
    }

    fn merge(&mut self, other: &Self) {
        self.health += other.health;
        self.outstanding += other.outstanding;
        merge_counts(&mut self.phases, &other.phases);
    }
}

/// Adds one to a labelled counter.
pub(crate) fn count<K: Hash + Eq>(map: &mut Map<K, u64>, key: K) {
    *map.entry(key).or_default() += 1;
}

impl CoreMetrics {
    /// Records added time of one stage.
    pub(crate) fn stage(&mut self, stage: Stage, time: Duration) {
        self.overhead
            .entry(stage)
            .or_insert_with(|| Histogram::new(OVERHEAD_SECONDS))
            .record(time.as_secs_f64());
    }

    /// Records the whole duration of a request.
    pub(crate) fn request_duration(
        &mut self,
        operation: &'static str,
        model: Name,
        time: Duration,
    ) {
        self.duration
            .entry((operation, model))
            .or_insert_with(|| Histogram::new(DURATION_SECONDS))
            .record(time.as_secs_f64());
    }

    /// Records the time to the first token of a stream.
    pub(crate) fn time_to_first_token(&mut self, target: Name, time: Duration) {
        self.first_token
            .entry(target)
            .or_insert_with(|| Histogram::new(DURATION_SECONDS))
            .record(time.as_secs_f64());
    }

    /// Books the tokens of one call.
    pub(crate) fn spend(&mut self, key: Option<Name>, model: Name, usage: Usage) {
        for (kind, tokens) in [("input", usage.prompt), ("output", usage.completion)] {
            // Counts stay far below 2^53.
            #[allow(clippy::cast_precision_loss)]
            self.tokens
                .entry((key, model, kind))
                .or_insert_with(|| Histogram::new(TOKENS))
                .record(tokens as f64);
        }
        if usage.cached > 0 {
            *self.cached_tokens.entry((key, model)).or_default() += usage.cached;
        }
    }

    /// Adds another core's numbers.
    pub(crate) fn merge(&mut self, other: &Self) {
        merge_counts(&mut self.requests, &other.requests);
        merge_counts(&mut self.cache_lookups, &other.cache_lookups);
        merge_counts(&mut self.semantic_refusals, &other.semantic_refusals);
        merge_counts(&mut self.cache_not_stored, &other.cache_not_stored);
        merge_counts(&mut self.attempts, &other.attempts);
        merge_counts(&mut self.target_changes, &other.target_changes);
        merge_counts(&mut self.keys_set_aside, &other.keys_set_aside);
        self.retries_refused += other.retries_refused;
        merge_counts(&mut self.hedges, &other.hedges);
        merge_counts(&mut self.hedge_tokens, &other.hedge_tokens);
        for (target, gauge) in &other.targets {
            self.targets.entry(*target).or_default().merge(gauge);
        }
        merge_counts(&mut self.cached_tokens, &other.cached_tokens);
        merge_counts(&mut self.usage_missing, &other.usage_missing);
        merge_counts(&mut self.search_units, &other.search_units);
        merge_counts(&mut self.tokens_saved, &other.tokens_saved);
        merge_counts(&mut self.streams_broken, &other.streams_broken);
        merge_counts(&mut self.connections_refused, &other.connections_refused);
        merge_histograms(&mut self.tokens, &other.tokens);
        merge_histograms(&mut self.overhead, &other.overhead);
        merge_histograms(&mut self.duration, &other.duration);
        merge_histograms(&mut self.first_token, &other.first_token);
        self.money.merge(&other.money);
        self.arms.merge(&other.arms);
        self.mirrors.merge(&other.mirrors);
        self.admission.merge(&other.admission);
        self.events += other.events;
        self.connections_accepted += other.connections_accepted;
        self.connections_open += other.connections_open;
        self.connections_open_high = self.connections_open_high.max(other.connections_open_high);
        self.upstream_connects += other.upstream_connects;
        self.upstream_reuses += other.upstream_reuses;
        self.upstream_idle += other.upstream_idle;
        self.panics += other.panics;
        self.records_dropped += other.records_dropped;
        self.buffer_bytes.0 += other.buffer_bytes.0;
        self.buffer_bytes.1 += other.buffer_bytes.1;
    }
}

fn merge_counts<K: Hash + Eq + Copy>(into: &mut Map<K, u64>, from: &Map<K, u64>) {
    for (key, count) in from {
        *into.entry(*key).or_default() += count;
    }
}

fn merge_histograms<K: Hash + Eq + Copy>(into: &mut Map<K, Histogram>, from: &Map<K, Histogram>) {
    for (key, histogram) in from {
        into.entry(*key)
            .and_modify(|mine| mine.merge(histogram))
            .or_insert_with(|| histogram.clone());
    }
}
