//! The cache on the admin side: what an operator says of an entry.

use crate::admin::routes::{AdminResponse, error, json_answer};
use crate::cache::disk::deletion::Deletion;
use crate::cache::quality::error_rate::{ALPHA, SampleOutcome};
use crate::cache::store::Deleted;
use crate::control::log;
use crate::control::plane::Plane;
use hyper::StatusCode;
use serde_json::json;
use std::time::Duration;

/// The id in a path; else what is wrong with it.
pub(crate) fn entry_id(text: &str) -> Result<u128, Box<AdminResponse>> {
    match (text.len(), u128::from_str_radix(text, 16)) {
        (32, Ok(id)) => Ok(id),
        _ => Err(Box::new(error(
            StatusCode::BAD_REQUEST,
            "invalid_entry_id",
            "an entry id is 32 hexadecimal digits, as in the header x-ringside-cache-entry",
        ))),
    }
}

/// That no entry has this id.
pub(crate) fn no_such_entry() -> AdminResponse {
    error(
        StatusCode::NOT_FOUND,
        "no_such_entry",
        "no entry of this id is in the cache",
    )
}

/// How long a deletion may take to be on the disk.
const ON_DISK_WITHIN: Duration = Duration::from_secs(5);

/// Removes entries, and tells how many and whether the disk, if there is one, knows.
pub(crate) async fn delete(plane: &Plane, deletion: Deletion) -> (usize, bool) {
    finish(plane, plane.shared.store.delete(deletion)).await
}

async fn finish(plane: &Plane, deleted: Deleted) -> (usize, bool) {
    if let Some(semantic) = &plane.shared.semantic {
        semantic.apply_removals();
    }
    let Some(on_disk) = deleted.on_disk else {
        return (deleted.entries, true);
    };
    let told = tokio::time::timeout(ON_DISK_WITHIN, on_disk).await;
    (deleted.entries, matches!(told, Ok(Ok(true))))
}

/// That entries may come back.
pub(crate) fn not_on_disk() -> AdminResponse {
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        "deletion_not_on_disk",
        "removed from memory, but the deletion could not be written to cache.dir: what was removed may \
         come back after a restart; repeat this, or remove the folder's segments",
    )
}

/// `POST /cache/entries/{id}/wrong`: the entry and its aliases go, and near its question a hit by meaning
/// needs a higher score.
pub(crate) async fn wrong(plane: &Plane, id: &str) -> AdminResponse {
    let id = match entry_id(id) {
        Ok(id) => id,
        Err(response) => return *response,
    };
    let shared = &plane.shared;
    let Some(entry) = shared.store.find(id) else {
        return no_such_entry();
    };
    let deletion = shared.store.delete_with_aliases(&entry);
    let (scope, model) = (entry.scope, entry.model);
    let question = entry.question().to_owned();
    // Its vector can be buried once nobody holds it.
    drop(entry);
    let (removed, is_on_disk) = finish(plane, deletion).await;
    let tightened = shared
        .semantic
        .as_ref()
        .map(|semantic| semantic.mark_wrong(scope, question, None));
    let (tightened, reason) = match tightened {
        Some(Ok(())) => (true, None),
        Some(Err(reason)) => (false, Some(reason.as_str())),
        None => (false, Some("semantic-off")),
    };
    let told = json!({ "removed": removed, "tightened": tightened, "reason": reason });
    log::event(
        "cache_refuted",
        &json!({ "entry": format!("{id:032x}"), "model": &*model.text(), "removed": removed, "tightened": tightened }),
    );
    if !is_on_disk {
        return not_on_disk();
    }
    json_answer(StatusCode::OK, &told)
}

/// `GET /cache/quality`: how often hits by meaning are wrong, as far as it was learned, by model.
pub(crate) fn quality(plane: &Plane) -> AdminResponse {
    let Some(semantic) = &plane.shared.semantic else {
        return json_answer(StatusCode::OK, &json!({ "mode": "off", "models": [] }));
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
    let told = json!({
        "mode": format!("{:?}", config.mode).to_lowercase(),
        "wrong_hit_rate_max": config.wrong_hit_rate_max,
        "confidence": 1.0 - ALPHA,
        "models": models,
        "samples": samples,
        "sample_tokens": quality.sample_budget.tokens(),
        "sample_tokens_max": config.sample_tokens_max,
        "log_lines_dropped": semantic.observations().dropped(),
    });
    json_answer(StatusCode::OK, &told)
}
