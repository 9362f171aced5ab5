//! Which operation a method and path request. It must not know sockets, caches or how an operation is performed.

use crate::http::head::Method;
use crate::protocols::client_api::{ClientApi, ClientRoute};
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{Endpoint, ProviderProxy};
use crate::protocols::registry::CLIENT_APIS;
use crate::protocols::responses::client::stored_responses;
use crate::protocols::responses::client::stored_responses::StoredResponseCall;

/// The operation that a request names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation<'t> {
    /// A chat in one of the client APIs: `POST /v1/chat/completions`, `POST /v1/messages`,
    /// `POST /v1/responses`, `POST /v1beta/models/{model}:generateContent`
    Chat(&'static dyn ClientApi),
    /// The number of tokens of a chat request: `POST /v1/messages/count_tokens`
    CountTokens(&'static dyn ClientApi),
    /// `POST /v1/embeddings`
    Embeddings,
    /// `POST /v1/feedback`
    Feedback,
    /// `POST /v1/rerank`, `POST /v2/rerank`
    Rerank,
    /// An endpoint that is forwarded to the provider of the model in its body: `POST /v1/images/generations` and others
    Passthrough(Endpoint),
    /// A request that is sent unchanged to one provider: `/v1/files`, `/v1/batches`, `/providers/{name}/…`
    ProviderProxy(ProviderProxy<'t>),
    /// A request about a response that a provider stores: `/v1/responses/{id}` and below
    StoredResponse(StoredResponseCall<'t>),
    /// `GET /v1/models`, `GET /v1beta/models`
    Models,
    /// `GET /v1/models/{id}`, `GET /v1beta/models/{id}`
    Model(&'t str),
}

impl Operation<'_> {
    /// The kind under which the operation is counted and logged.
    #[must_use]
    pub(crate) fn kind(&self) -> OperationKind {
        match self {
            Self::Chat(_) => OperationKind::Chat,
            Self::CountTokens(_) => OperationKind::CountTokens,
            Self::Embeddings => OperationKind::Embeddings,
            Self::Feedback => OperationKind::Feedback,
            Self::Rerank => OperationKind::Rerank,
            Self::Passthrough(endpoint) => endpoint.operation,
            Self::ProviderProxy(proxy) => proxy.operation,
            Self::StoredResponse(_) => OperationKind::StoredResponse,
            Self::Models | Self::Model(_) => OperationKind::Models,
        }
    }
}

/// Why a path and method name no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoOperation {
    /// Unknown path.
    NotFound,
    /// The path is known, but not with this method; holds the allowed methods.
    MethodNotAllowed(&'static str),
}

/// The served paths, for messages.
pub(crate) const PATHS: &str = "POST /v1/chat/completions, POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/responses, /v1/responses/{id}, POST /v1beta/models/{model}:generateContent, :streamGenerateContent and :countTokens, POST /v1/embeddings, POST /v1/rerank, POST /v2/rerank, POST /v1/completions, POST /v1/moderations, POST /v1/images/…, POST /v1/audio/…, /v1/files, /v1/batches, /providers/{name}/…, POST /v1/feedback, GET /v1/models, GET /v1/models/{model}, GET /v1beta/models";

/// The operation of a method and a target.
///
/// # Errors
/// [`NoOperation`].
pub(crate) fn operation(method: Method, target: &str) -> Result<Operation<'_>, NoOperation> {
    if let Some(proxy) = passthrough::provider_proxy(target) {
        let is_forwarded = matches!(
            method,
            Method::Get | Method::Post | Method::Put | Method::Patch | Method::Delete
        );
        return match is_forwarded {
            true => Ok(Operation::ProviderProxy(proxy)),
            false => Err(NoOperation::MethodNotAllowed(
                "GET, POST, PUT, PATCH, DELETE",
            )),
        };
    }
    if let Some(call) = stored_responses::stored_response_call(method, target) {
        return call
            .map(Operation::StoredResponse)
            .map_err(NoOperation::MethodNotAllowed);
    }
    let path = target.split('?').next().unwrap_or(target);
    let by_model =
        passthrough::endpoint_of(path).map(|endpoint| (Operation::Passthrough(endpoint), "POST"));
    let of_client_api = CLIENT_APIS.iter().find_map(|client_api| {
        Some(match client_api.route(path)? {
            ClientRoute::Chat => (Operation::Chat(*client_api), "POST"),
            ClientRoute::CountTokens => (Operation::CountTokens(*client_api), "POST"),
            ClientRoute::Models => (Operation::Models, "GET, HEAD"),
            ClientRoute::Model => {
                let id = path.split_once("/models/").map_or("", |(_, id)| id);
                (Operation::Model(id), "GET, HEAD")
            }
        })
    });
    let (operation, allowed) = match (of_client_api.or(by_model), path) {
        (Some(found), _) => found,
        (None, "/v1/embeddings") => (Operation::Embeddings, "POST"),
        (None, "/v1/feedback") => (Operation::Feedback, "POST"),
        (None, "/v1/rerank" | "/v2/rerank") => (Operation::Rerank, "POST"),
        (None, "/v1/models") => (Operation::Models, "GET, HEAD"),
        (None, _) => match path.strip_prefix("/v1/models/") {
            Some(id) if !id.is_empty() => (Operation::Model(id), "GET, HEAD"),
            _ => return Err(NoOperation::NotFound),
        },
    };
    let is_allowed = match method {
        Method::Post => allowed == "POST",
        Method::Get | Method::Head => allowed != "POST",
        _ => false,
    };
    if is_allowed {
        Ok(operation)
    } else {
        Err(NoOperation::MethodNotAllowed(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        assert_eq!(
            operation(Method::Post, "/v1/chat/completions?x=1"),
            Ok(Operation::Chat(
                &crate::protocols::openai::client::api::OpenAi
            ))
        );
        assert_eq!(
            operation(Method::Post, "/v1/messages/count_tokens"),
            Ok(Operation::CountTokens(
                &crate::protocols::anthropic::client::api::Anthropic
            ))
        );
        assert_eq!(operation(Method::Post, "/v2/rerank"), Ok(Operation::Rerank));
        assert_eq!(operation(Method::Head, "/v1/models"), Ok(Operation::Models));
        assert_eq!(
            operation(Method::Get, "/v1/models/meta/llama"),
            Ok(Operation::Model("meta/llama"))
        );
        assert_eq!(
            operation(
                Method::Post,
                "/v1beta/models/m:streamGenerateContent?alt=sse"
            ),
            Ok(Operation::Chat(
                &crate::protocols::gemini::client::api::Gemini
            ))
        );
        assert_eq!(
            operation(Method::Get, "/v1beta/models/m"),
            Ok(Operation::Model("m"))
        );
        assert_eq!(
            operation(Method::Get, "/v1/chat/completions"),
            Err(NoOperation::MethodNotAllowed("POST"))
        );
        assert_eq!(
            operation(Method::Post, "/v1/chat"),
            Err(NoOperation::NotFound)
        );
    }
}
