//! Paths of Gemini's API that name a model and an action.

/// Beginnings of this dialect's paths: the versions of the API.
const VERSIONS: [&str; 3] = ["/v1beta/", "/v1alpha/", "/v1/"];

/// Where the model stands in a path, and what is asked of it.
pub(crate) fn parts_of(path: &str) -> Option<(&str, &str)> {
    let rest = VERSIONS
        .iter()
        .find_map(|version| path.strip_prefix(version))?;
    let (model, action) = rest.strip_prefix("models/")?.rsplit_once(':')?;
    (!model.is_empty()).then_some((model, action))
}
