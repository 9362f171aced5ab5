//! Paths of Gemini's API that name a model and an action.

/// The prefixes of this API's paths: the API versions.
const VERSIONS: [&str; 3] = ["/v1beta/", "/v1alpha/", "/v1/"];

/// The model and the action that a path names.
pub(crate) fn parts_of(path: &str) -> Option<(&str, &str)> {
    let rest = VERSIONS
        .iter()
        .find_map(|version| path.strip_prefix(version))?;
    let (model, action) = rest.strip_prefix("models/")?.rsplit_once(':')?;
    (!model.is_empty()).then_some((model, action))
}
