//! The mirror target of a model, and the statistics of its mirrored requests.

use crate::cache::quality::compare::Agreement;
use crate::cache::quality::sample_budget::SampleBudget;
use crate::gateway::snapshot::target::TargetRoute;
use crate::routing::demand::Traits;
use crate::routing::target_ref::TargetRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The target that a share of a model's requests is mirrored to.
pub struct MirrorTarget {
    pub target: TargetRoute,
    pub target_ref: TargetRef,
    pub traits: Traits,
    /// Share of the requests, from 0 to 1.
    pub share: f64,
    /// Tokens that mirrored requests may use in an hour.
    pub tokens_max: u64,
    pub stats: Arc<MirrorStats>,
}

/// The outcome of a request that was drawn for mirroring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// Both targets responded.
    Answered,
    /// The mirror target sent no response that can be compared.
    Failed,
    /// The client's own response cannot be compared: it failed, calls tools, or did not end.
    NotComparable,
    /// The budget of the hour is spent.
    OverBudget,
    /// Too many mirrored requests are in flight.
    Busy,
}

impl MirrorOutcome {
    /// All outcomes, with their label values in metrics.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::NotComparable, "not-comparable"),
        (Self::OverBudget, "over-budget"),
        (Self::Busy, "busy"),
    ];
}

/// The results of comparing two responses, with their label values in metrics.
pub(crate) const LABELS: [(Agreement, &str); 3] = [
    (Agreement::Same, "same"),
    (Agreement::Different, "other"),
    (Agreement::Unknown, "unknown"),
];

/// The statistics of a model's mirrored requests, shared by all cores. A reload keeps them.
#[derive(Default)]
pub struct MirrorStats {
    /// Permits and tokens that are left.
    pub sample_budget: SampleBudget,
    outcomes: [AtomicU64; 5],
    labels: [AtomicU64; 3],
}

impl MirrorStats {
    pub(crate) fn count(&self, outcome: MirrorOutcome) {
        if let Some(count) = self.outcomes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn label(&self, label: Agreement) {
        let index = LABELS.iter().position(|(agreement, _)| *agreement == label);
        if let Some(count) = index.and_then(|index| self.labels.get(index)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Requests that had this outcome.
    #[must_use]
    pub fn outcomes(&self, outcome: MirrorOutcome) -> u64 {
        let count = self.outcomes.get(outcome as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// Compared responses by result, in the order of [`LABELS`].
    #[must_use]
    pub fn labels(&self) -> [u64; 3] {
        self.labels.each_ref().map(|count| count.load(Relaxed))
    }
}
