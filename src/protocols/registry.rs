//! Every wire format that is served and every kind of provider. Nothing else in `protocols` but `endpoints`
//! imports it: a new wire format is one folder and its lines here.

use crate::protocols::client_api::ClientApi;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::{anthropic, azure, bedrock, cohere, gemini, openai, responses};

/// The dialect that errors are told in when the path belongs to none.
pub static DEFAULT: &dyn ClientApi = &openai::client::api::OpenAi;

/// Every dialect served.
pub static CLIENT_APIS: &[&dyn ClientApi] = &[
    &openai::client::api::OpenAi,
    &anthropic::client::api::Anthropic,
    &responses::client::api::Responses,
    &gemini::client::api::Gemini,
];

/// Every dialect there is.
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

/// The dialect called `name`.
#[must_use]
pub fn provider(name: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.name() == name)
}

/// A dialect that takes chats as the client dialect `face` says them.
#[must_use]
pub fn native_api(client_api: &str) -> Option<&'static dyn ProviderApi> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.native() == client_api)
}

/// The dialect that errors about a request to `target` are told in.
#[must_use]
pub(crate) fn client_api_for(target: &str) -> &'static dyn ClientApi {
    let path = target.split('?').next().unwrap_or(target);
    let owner = CLIENT_APIS.iter().find(|client_api| client_api.owns(path));
    *owner.unwrap_or(&DEFAULT)
}

/// The dialect that models are listed in under a path of `face`: OpenAI's and Anthropic's is the same, and
/// a header tells them apart.
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
