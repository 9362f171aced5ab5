//! Learning on the job: what a fresh answer says of the cached one, and what follows.
//!
//! All of it in the workshop. It must not know how the fresh answer was come by.

use crate::base::names::Name;
use crate::cache::entry::Entry;
use crate::cache::quality::compare::{Label, by_cosine, by_words};
use crate::cache::quality::error_rate::Observation;
use crate::cache::quality::log::Line;
use crate::cache::semantic::{Semantic, SemanticHit};
use crate::embedding::codes::dot as cosine;
use crate::embedding::embed_result::{EmbedError, EmbedRejection, Embedded};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::vector::Vector;
use std::sync::Arc;

/// A hit that was, or would have been, and the answer that was given instead.
pub struct HitComparison {
    /// The model asked for.
    pub model: Name,
    /// The question asked.
    pub question: String,
    /// The hit.
    pub hit: SemanticHit,
    /// The fresh answer's text.
    pub fresh: String,
    /// The wished rate of wrong hits.
    pub input: f64,
    /// Whether it is logged, questions included.
    pub logs: bool,
}

/// Compares two answers in the workshop, and tells what the second says of the first. Without embeddings
/// where they are needed, nothing is told.
///
/// # Errors
/// The workshop has no room.
pub(crate) fn compare(
    embedding_pool: &EmbeddingPool,
    one: String,
    other: String,
    tell: impl FnOnce(Label) + Send + 'static,
) -> Result<(), &'static str> {
    let this = embedding_pool.clone();
    let work = move || {
        let Some(table) = this.table() else {
            return;
        };
        if let Some(label) = by_words(&one, &other, table) {
            return tell(label);
        }
        let that = this.clone();
        // What has no room, or no embedding, gets no label.
        let _ = this.embed_any(one, None, move |one| {
            let one = vector(one);
            let _ = that.embed_any(other, None, move |other| {
                tell(match (one, vector(other)) {
                    (Some(one), Some(other)) => by_cosine(cosine(&one, &other)),
                    _ => Label::Unknown,
                });
            });
        });
    };
    embedding_pool.run(work).map_err(EmbedRejection::as_str)
}

impl Semantic {
    /// Compares the answers, labels the hit, and acts on the label.
    ///
    /// # Errors
    /// The workshop has no room.
    pub fn learn(self: &Arc<Self>, comparison: HitComparison) -> Result<(), &'static str> {
        let this = Arc::clone(self);
        let cached = comparison.hit.entry.response.content().to_owned();
        let fresh = comparison.fresh.clone();
        compare(&self.embedding_pool, cached, fresh, move |label| {
            this.label(&comparison, label);
        })
    }

    fn label(self: &Arc<Self>, comparison: &HitComparison, label: Label) {
        let (hit, model) = (&comparison.hit, comparison.model);
        let usage = hit.entry.response.usage;
        self.quality.add(&Observation {
            model,
            score: hit.score,
            label,
            tokens: usage.map_or(0, |usage| usage.prompt + usage.completion),
            input: comparison.input,
        });
        if comparison.logs {
            let line = Line {
                a: hit.entry.question(),
                b: &comparison.question,
                label: label.name(),
                similarity: hit.similarity,
                score: hit.score,
                model: &model.text(),
            };
            self.observations.push(&line);
        }
        if label == Label::Wrong {
            self.refuse(&hit.entry, hit.score);
        }
    }

    /// A refuted entry goes with its aliases and leaves a mark.
    fn refuse(self: &Arc<Self>, entry: &Arc<Entry>, score: f32) {
        self.store.remove_with_aliases(entry);
        // Its vector is buried by whoever comes next, once nobody holds the entry.
        let _ = self.refute(entry.scope, entry.question().to_owned(), Some(score));
    }
}

fn vector(embedded: Result<Embedded, EmbedError>) -> Option<Vector> {
    embedded.ok().map(|embedded| embedded.vector)
}
