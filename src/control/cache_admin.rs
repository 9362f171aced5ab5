//! The cache on the admin side: what an operator says of an entry.

use super::admin::{Answer, error, json_answer};
use super::{Plane, log};
use crate::cache::quality::{ALPHA, Sample};
use hyper::StatusCode;
use serde_json::json;

/// The id in a path; else what is wrong with it.
pub fn entry_id(text: &str) -> Result<u128, Box<Answer>> {
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
pub fn no_such_entry() -> Answer {
    error(
        StatusCode::NOT_FOUND,
        "no_such_entry",
        "no entry of this id is in the cache",
    )
}

/// `POST /cache/entries/{id}/wrong`: the entry and its aliases go, and near its question a hit by meaning
/// needs a higher score.
pub fn wrong(plane: &Plane, id: &str) -> Answer {
    let id = match entry_id(id) {
        Ok(id) => id,
        Err(answer) => return *answer,
    };
    let shared = &plane.shared;
    let Some(entry) = shared.store.find(id) else {
        return no_such_entry();
    };
    let removed = shared.store.remove_with_aliases(&entry);
    let (scope, model) = (entry.scope, entry.model);
    let question = entry.question().to_owned();
    // Its vector can be buried once nobody holds it.
    drop(entry);
    let tightened = shared.semantic.as_ref().map(|semantic| {
        semantic.bury();
        semantic.refute(scope, question, None)
    });
    let (tightened, reason) = match tightened {
        Some(Ok(())) => (true, None),
        Some(Err(why)) => (false, Some(why)),
        None => (false, Some("semantic-off")),
    };
    let told = json!({ "removed": removed, "tightened": tightened, "reason": reason });
    log::event(
        "cache_refuted",
        &json!({ "entry": format!("{id:032x}"), "model": &*model.text(), "removed": removed, "tightened": tightened }),
    );
    json_answer(StatusCode::OK, &told)
}

/// `GET /cache/quality`: how often hits by meaning are wrong, as far as it was learned, by model.
pub fn quality(plane: &Plane) -> Answer {
    let Some(semantic) = &plane.shared.semantic else {
        return json_answer(StatusCode::OK, &json!({ "mode": "off", "models": [] }));
    };
    let snapshot = plane.shared.snapshot.load();
    let config = &snapshot.config.cache.semantic;
    let quality = semantic.quality();
    let models: Vec<_> = quality
        .views()
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
    let samples: serde_json::Map<_, _> = Sample::ALL
        .iter()
        .map(|(sample, name)| ((*name).to_owned(), quality.samples(*sample).into()))
        .collect();
    let told = json!({
        "mode": format!("{:?}", config.mode).to_lowercase(),
        "wrong_hit_rate_max": config.wrong_hit_rate_max,
        "confidence": 1.0 - ALPHA,
        "models": models,
        "samples": samples,
        "sample_tokens": quality.tokens(),
        "sample_tokens_max": config.sample_tokens_max,
        "log_lines_dropped": semantic.observations().dropped(),
    });
    json_answer(StatusCode::OK, &told)
}
