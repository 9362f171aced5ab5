//! The list of all client APIs and provider APIs. Nothing else in `protocols` except `endpoints` imports it. To add a
//! wire format, add one folder and its lines here; to add a provider that is compatible with OpenAI's API, add one
//! line to `models/providers/family.toml`.

use crate::protocols::client_api::ClientApi;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::{anthropic, azure, bedrock, cohere, gemini, openai, responses};

/// The client API whose error format is used for a path that belongs to no API.
pub static DEFAULT: &dyn ClientApi = &openai::client::api::OpenAi;

/// Every client API.
pub static CLIENT_APIS: &[&dyn ClientApi] = &[
    &openai::client::api::OpenAi,
    &anthropic::client::api::Anthropic,
    &responses::client::api::Responses,
    &gemini::client::api::Gemini,
];

/// Every provider API.
pub static PROVIDERS: &[&dyn ProviderApi] = &[
    &openai::provider::api::OpenAi,
    &anthropic::provider::api::Anthropic,
    &azure::provider::Azure,
    &bedrock::provider::api::Bedrock,
    &responses::provider::api::Responses,
    &cohere::provider::api::Cohere,
    &gemini::provider::api::AI_STUDIO,
    &gemini::provider::api::VERTEX,
    &anthropic::provider::vertex::Vertex,
];

/// The provider API called `name`.
#[must_use]
pub fn provider_api(name: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.name() == name)
}

/// A provider API with the wire format of the client API `client_api`.
#[must_use]
pub fn native_api(client_api: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.native_client_api() == client_api)
}

/// The client API of `target`, which also decides the format of error bodies.
#[must_use]
pub(crate) fn client_api_for(target: &str) -> &'static dyn ClientApi {
    let path = target.split('?').next().unwrap_or(target);
    let owner = CLIENT_APIS
        .iter()
        .find(|client_api| client_api.owns_path(path));
    *owner.unwrap_or(&DEFAULT)
}

/// The client API that lists models under a path of `client_api`. OpenAI and Anthropic use the same path; only
/// Anthropic's clients send a version header.
#[must_use]
pub(crate) fn client_api_for_models(
    client_api: &'static dyn ClientApi,
    has_version_header: bool,
) -> &'static dyn ClientApi {
    match has_version_header && client_api == DEFAULT {
        true => &anthropic::client::api::Anthropic,
        false => client_api,
    }
}
