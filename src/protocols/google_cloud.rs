//! The common parts of Google's APIs, whichever wire format they have: the header of API keys and the paths of
//! models.

use crate::http::percent::push_escaped;
use crate::signing::auth::KeyHeader;

/// The header that carries API keys.
pub(crate) const KEY_HEADER: KeyHeader = KeyHeader {
    name: "x-goog-api-key",
    prefix: "",
};

/// Appends the path of a model. A name that contains its collection (`tunedModels/…`, `publishers/meta/models/…`,
/// `endpoints/…`) is used as it is.
pub(crate) fn write_model_path(models: &str, model: &str, out: &mut String) {
    out.push_str(if model.contains('/') { "/" } else { models });
    push_escaped(model, b"/@", out);
}
