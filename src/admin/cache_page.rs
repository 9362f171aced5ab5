//! The cache in the admin API: removal of entries, marking of wrong answers, and the quality of semantic hits.

use crate::admin::query::Query;
use crate::admin::response::{AdminResponse, error, ok};
use crate::cache::disk::deletion::Deletion;
use crate::cache::quality::error_rate::{ALPHA, SampleOutcome};
use crate::cache::store::Deleted;
use crate::control::log;
use crate::control::plane::Plane;
use crate::error::code::ErrorCode;
use serde_json::json;
use std::time::Duration;

/// The id in a path, or the response that refuses it.
fn entry_id(text: &str) -> Result<u128, Box<AdminResponse>> {
    match (text.len(), u128::from_str_radix(text, 16)) {
        (32, Ok(id)) => Ok(id),
        _ => Err(Box::new(error(
            ErrorCode::InvalidEntryId,
            "an entry id is 32 hexadecimal digits, as in the header x-ringside-cache-entry",
        ))),
    }
}

fn no_such_entry() -> AdminResponse {
    error(
        ErrorCode::NoSuchEntry,
        "no entry of this id is in the cache",
    )
}

/// Longest wait for a deletion to be on the disk.
const ON_DISK_WITHIN: Duration = Duration::from_secs(5);

/// The result of a deletion.
struct Removal {
    entries: usize,
    /// The deletion is on the disk, or there is no disk.
    is_on_disk: bool,
}

async fn delete(plane: &Plane, deletion: Deletion) -> Removal {
    finish(plane, plane.shared.store.delete(deletion)).await
}

async fn finish(plane: &Plane, deleted: Deleted) -> Removal {
    if let Some(semantic) = &plane.shared.semantic {
        semantic.apply_removals();
    }
    let is_on_disk = match deleted.on_disk {
        None => true,
        Some(written) => {
            let written = tokio::time::timeout(ON_DISK_WITHIN, written).await;
            matches!(written, Ok(Ok(true)))
        }
    };
    Removal {
        entries: deleted.entries,
        is_on_disk,
    }
}

fn not_on_disk() -> AdminResponse {
    error(
        ErrorCode::DeletionNotOnDisk,
        "removed from memory, but the deletion could not be written to cache.dir: removed entries may \
         return after a restart; repeat the request, or remove the folder's segments",
    )
}

/// Removes all entries, or those of a model, of a key, or of both.
pub(crate) async fn delete_matching(plane: &Plane, query: Query) -> AdminResponse {
    let text = |name: &str| query.get(name).map(str::to_owned);
    let (model, key) = (text("model"), text("key"));
    let deletion = Deletion::Matching {
        model: model.clone(),
        key: key.clone(),
    };
    let removal = delete(plane, deletion).await;
    if let Some(semantic) = &plane.shared.semantic
        && model.is_none()
        && key.is_none()
    {
        semantic.wrong_answers().clear();
    }
    log::event(
        "cache_deleted",
        &json!({ "model": model, "key": key, "entries": removal.entries }),
    );
    if !removal.is_on_disk {
        return not_on_disk();
    }
    ok(&json!({ "removed": removal.entries }))
}

/// Removes one entry.
pub(crate) async fn delete_entry(plane: &Plane, id: &str) -> AdminResponse {
    let id = match entry_id(id) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let removal = delete(plane, Deletion::Entry(id)).await;
    if !removal.is_on_disk {
        return not_on_disk();
    }
    if removal.entries == 0 {
        return no_such_entry();
    }
    ok(&json!({ "removed": 1 }))
}

/// Removes an entry and its aliases; a semantic hit near its question needs a higher score from then on.
pub(crate) async fn mark_wrong(plane: &Plane, id: &str) -> AdminResponse {
    let id = match entry_id(id) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let shared = &plane.shared;
    let Some(entry) = shared.store.find(id) else {
        return no_such_entry();
    };
    let deleted = shared.store.delete_with_aliases(&entry);
    let (scope, model) = (entry.scope, entry.model);
    let question = entry.question().to_owned();
    // The vector can be removed only after the last reference to the entry is dropped.
    drop(entry);
    let removal = finish(plane, deleted).await;
    let tightened = shared
        .semantic
        .as_ref()
        .map(|semantic| semantic.mark_wrong(scope, question, None));
    let (tightened, reason) = match tightened {
        Some(Ok(())) => (true, None),
        Some(Err(reason)) => (false, Some(reason.as_str())),
        None => (false, Some("semantic-off")),
    };
    let body = json!({ "removed": removal.entries, "tightened": tightened, "reason": reason });
    log::event(
        "cache_entry_marked_wrong",
        &json!({ "entry": format!("{id:032x}"), "model": &*model.text(), "removed": removal.entries, "tightened": tightened }),
    );
    if !removal.is_on_disk {
        return not_on_disk();
    }
    ok(&body)
}

/// The rate of wrong semantic hits of each model, estimated from comparisons.
pub(crate) fn quality(plane: &Plane) -> AdminResponse {
    let Some(semantic) = &plane.shared.semantic else {
        return ok(&json!({ "mode": "off", "models": [] }));
    };
    let snapshot = plane.shared.snapshot.load();
    let config = &snapshot.config.cache.semantic;
    let quality = semantic.quality();
    let models: Vec<_> = quality
        .reports()
        .into_iter()
        .map(|view| {
            let (low, high) = view.interval;
            let serves = view.raised.is_none_or(f32::is_finite);
            json!({
                "model": &*view.model.text(),
                "right": view.right,
                "wrong": view.wrong,
                "unknown": view.unknown,
                "tokens": view.tokens,
                "wrong_hit_rate": { "estimate": view.rate, "low": low, "high": high },
                "score_min": view.raised.filter(|score| score.is_finite()),
                "is_raised": view.raised.is_some(),
                "serves": serves,
            })
        })
        .collect();
    let samples: serde_json::Map<_, _> = SampleOutcome::ALL
        .iter()
        .map(|(sample, name)| ((*name).to_owned(), quality.samples(*sample).into()))
        .collect();
    let body = json!({
        "mode": format!("{:?}", config.mode).to_lowercase(),
        "wrong_hit_rate_max": config.wrong_hit_rate_max,
        "confidence": 1.0 - ALPHA,
        "models": models,
        "samples": samples,
        "sample_tokens": quality.sample_budget.tokens(),
        "sample_tokens_max": config.sample_tokens_max,
        "log_lines_dropped": semantic.observations().dropped(),
    });
    ok(&body)
}
