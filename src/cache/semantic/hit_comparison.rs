//! Compares a semantic hit with a fresh response to the same question, and acts on the result.
//!
//! All of it runs on the embedding pool. It must not know where the fresh response came from.

use crate::base::names::Name;
use crate::cache::entry::Entry;
use crate::cache::quality::compare::Agreement;
use crate::cache::quality::compare_responses::compare_responses;
use crate::cache::quality::error_rate::Observation;
use crate::cache::quality::log::LogLine;
use crate::cache::semantic::tier::{SemanticHit, SemanticTier};
use crate::embedding::embed_result::EmbedRejection;
use std::sync::Arc;

/// A hit that was served, or would have been, and a fresh response to the same question.
pub(crate) struct HitComparison {
    /// The requested model.
    pub model: Name,
    /// The question of the request.
    pub question: String,
    pub hit: SemanticHit,
    /// Text of the fresh response.
    pub fresh: String,
    /// The configured rate of wrong hits.
    pub wrong_hit_rate_max: f64,
    /// Whether the pair is logged, questions included.
    pub logs: bool,
}

impl SemanticTier {
    /// Compares the responses, records the result, and removes the entry if its answer was wrong.
    ///
    /// # Errors
    /// The embedding pool did not take the job.
    pub(crate) fn compare_hit(
        self: &Arc<Self>,
        comparison: HitComparison,
    ) -> Result<(), EmbedRejection> {
        let tier = Arc::clone(self);
        let cached = comparison.hit.entry.response.content().to_owned();
        let fresh = comparison.fresh.clone();
        compare_responses(&self.embedding_pool, cached, fresh, move |agreement| {
            tier.record_comparison(&comparison, agreement);
        })
    }

    fn record_comparison(self: &Arc<Self>, comparison: &HitComparison, agreement: Agreement) {
        let (hit, model) = (&comparison.hit, comparison.model);
        let usage = hit.entry.response.usage;
        self.quality().add(&Observation {
            model,
            score: hit.score,
            agreement,
            tokens: usage.map_or(0, |usage| usage.total()),
            wrong_hit_rate_max: comparison.wrong_hit_rate_max,
        });
        if comparison.logs {
            let line = LogLine {
                a: hit.entry.question(),
                b: &comparison.question,
                label: agreement.hit_label(),
                similarity: hit.similarity,
                score: hit.score,
                model: &model.text(),
            };
            self.observations().push(&line);
        }
        if agreement == Agreement::Different {
            self.remove_wrong(&hit.entry, hit.score);
        }
    }

    /// Deletes an entry with a wrong answer and its aliases, and remembers the question.
    fn remove_wrong(self: &Arc<Self>, entry: &Arc<Entry>, score: f32) {
        // Nobody waits for the deletion to reach the disk.
        let _ = self.store.delete_with_aliases(entry);
        // Its vector becomes a pending removal once the last reference to the entry is dropped. Without room
        // on the embedding pool the question is not remembered: the entry is gone all the same.
        let _ = self.mark_wrong(entry.scope, entry.question().to_owned(), Some(score));
    }
}
