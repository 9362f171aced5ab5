//! The cache on the admin side: what an operator says of an entry.

use super::admin::{Answer, error, json_answer};
use super::{Plane, log};
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
