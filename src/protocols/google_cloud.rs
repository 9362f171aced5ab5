//! What all of Google's APIs have in common, whichever wire format they serve: the header of API keys and the
//! paths of models.

use crate::http::percent::push_escaped;
use crate::signing::auth::KeyHeader;

/// Where API keys stand.
pub(crate) const KEY_HEADER: KeyHeader = KeyHeader {
    name: "x-goog-api-key",
    before: "",
};

/// Appends the path of a model. One that names its kind (`tunedModels/…`, `publishers/meta/models/…`,
/// `endpoints/…`) is taken as it is.
pub(crate) fn write_model_path(models: &str, model: &str, out: &mut String) {
    out.push_str(if model.contains('/') { "/" } else { models });
    push_escaped(model, b"/@", out);
}
