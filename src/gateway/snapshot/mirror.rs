//! The mirror target of a model, and the statistics of its mirrored requests.

use crate::cache::quality::compare::Agreement;
use crate::cache::quality::sample_budget::SampleBudget;
use crate::gateway::snapshot::target::TargetRoute;
use crate::routing::demand::Traits;
use crate::routing::target_ref::TargetRef;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Where the mirrors of a model go.
pub struct MirrorTarget {
    /// The target.
    pub target: TargetRoute,
    /// What routing knows of it.
    pub target_ref: TargetRef,
    /// What is known of it beside that.
    pub traits: Traits,
    /// Share of the requests.
    pub share: f64,
    /// Tokens that they may take in an hour.
    pub tokens_max: u64,
    /// What they took, and came to.
    pub stats: Arc<MirrorStats>,
}

/// What became of requests that were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// Answered by both.
    Answered,
    /// The target gave no answer that can be compared.
    Failed,
    /// The client's own answer cannot be compared: a failure, tools, no end.
    NotComparable,
    /// The budget of the hour is spent.
    OverBudget,
    /// Too many are under way.
    Busy,
}

impl MirrorOutcome {
    /// All, with their label values.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::NotComparable, "not-comparable"),
        (Self::OverBudget, "over-budget"),
        (Self::Busy, "busy"),
    ];
}

/// Labels of compared answers, with their label values.
pub(crate) const LABELS: [(Agreement, &str); 3] = [
    (Agreement::Same, "same"),
    (Agreement::Different, "other"),
    (Agreement::Unknown, "unknown"),
];

/// What the mirrors of a model took, and came to; shared by all cores. It outlives a configuration.
#[derive(Default)]
pub struct MirrorStats {
    /// Places and tokens.
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
        let at = LABELS.iter().position(|(one, _)| *one == label);
        if let Some(count) = at.and_then(|at| self.labels.get(at)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Requests of one outcome.
    #[must_use]
    pub fn outcomes(&self, outcome: MirrorOutcome) -> u64 {
        let count = self.outcomes.get(outcome as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// Labels, in the order of [`LABELS`].
    #[must_use]
    pub fn labels(&self) -> [u64; 3] {
        self.labels.each_ref().map(|count| count.load(Relaxed))
    }
}
