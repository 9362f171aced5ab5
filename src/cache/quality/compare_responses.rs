//! Compares the texts of two responses on the embedding pool: by words, then by their embeddings.
//! It must not know what the result is used for.

use crate::cache::quality::compare::{Agreement, by_cosine, by_words};
use crate::embedding::codes::dot as cosine;
use crate::embedding::embed_result::{EmbedError, EmbedRejection, Embedded};
use crate::embedding::pool::EmbeddingPool;
use crate::embedding::vector::Vector;

/// Compares two texts and passes the result to `then`. When a text cannot be embedded, the result is
/// [`Agreement::Unknown`]; when the pool has no room for an embedding, `then` is not called.
///
/// # Errors
/// The pool did not take the job.
pub(crate) fn compare_responses(
    embedding_pool: &EmbeddingPool,
    cached: String,
    fresh: String,
    then: impl FnOnce(Agreement) + Send + 'static,
) -> Result<(), EmbedRejection> {
    let pool = embedding_pool.clone();
    embedding_pool.run(move || {
        let Some(table) = pool.table() else {
            debug_assert!(false, "a pool that runs jobs has a table");
            return;
        };
        if let Some(agreement) = by_words(&cached, &fresh, table) {
            return then(agreement);
        }
        let second_pool = pool.clone();
        // A rejected job drops `then`.
        let _ = pool.embed_any(cached, None, move |cached| {
            let cached = vector(cached);
            let _ = second_pool.embed_any(fresh, None, move |fresh| {
                then(match (cached, vector(fresh)) {
                    (Some(cached), Some(fresh)) => by_cosine(cosine(&cached, &fresh)),
                    _ => Agreement::Unknown,
                });
            });
        });
    })
}

fn vector(embedded: Result<Embedded, EmbedError>) -> Option<Vector> {
    embedded.ok().map(|embedded| embedded.vector)
}
