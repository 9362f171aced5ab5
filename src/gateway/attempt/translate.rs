//! Encodes the body of a request for one provider: unchanged, with its parameters adapted to the provider, or
//! translated into another format. It must not know how the request is sent.

use crate::config::provider_family::Kind;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_plan::ClientBody;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::transform::translate_body;
use crate::gateway::transform::translate_body::ClientRequest;
use crate::protocols::json::document::Scratch;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::provider::param_compat;
use crate::protocols::openai::provider::param_compat::ParamCompat;
use crate::protocols::openai::vocabulary;
use crate::protocols::outgoing_request::Body;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::buffer;

/// The body of a request, as one provider gets it.
pub(crate) enum EncodedBody {
    /// As the client sent it.
    Unchanged,
    /// In the client's format, with parameters adapted to the provider.
    Adapted(Box<AdaptedBody>),
    /// In another format.
    Translated(Vec<u8>),
}

pub(crate) struct AdaptedBody {
    bytes: Vec<u8>,
    /// Read from `bytes`: its positions differ from those in the client's body.
    chat: ChatRequest,
}

impl EncodedBody {
    /// Bytes that it holds itself.
    pub(crate) fn own_bytes(&self) -> usize {
        match self {
            Self::Unchanged => 0,
            Self::Adapted(adapted) => adapted.bytes.len(),
            Self::Translated(bytes) => bytes.len(),
        }
    }

    /// The body with the edits that a request to `backend` needs. `original` is the body that was encoded.
    pub(crate) fn body<'b>(&'b self, backend: &Provider, original: &ClientBody<'b>) -> Body<'b> {
        let (bytes, model_range, usage_edit) = match self {
            Self::Translated(bytes) => return Body::Written(bytes),
            Self::Unchanged => (original.bytes, original.model_range, original.usage_edit),
            Self::Adapted(adapted) => {
                let chat = &adapted.chat;
                (&*adapted.bytes, &chat.model_range, chat.usage_edit.as_ref())
            }
        };
        Body::Spliced {
            bytes,
            model_range,
            usage_edit: usage_edit.filter(|_| {
                param_compat::accepts(backend.kind.map(param_compat_of).as_ref(), "stream_options")
            }),
        }
    }
}

/// A chat request for one target.
pub(crate) struct TranslationInput<'i> {
    pub backend: &'i Provider,
    /// The API of the provider that is used.
    pub dialect: &'static dyn ProviderApi,
    pub body: ClientBody<'i>,
    /// The model's name at the provider.
    pub model: &'i str,
}

/// # Errors
/// 400 naming a field that is malformed, or that the provider's API does not have.
pub(crate) fn encode_chat(
    input: &TranslationInput<'_>,
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<EncodedBody, GatewayError> {
    let TranslationInput {
        backend,
        dialect,
        body,
        model,
    } = *input;
    let client_api = body.client_api;
    // Parameters are adapted for a provider's chats in OpenAI's format only, not for its Responses.
    let kind = (backend.kind).filter(|_| dialect.native_client_api() == vocabulary::NAME);
    if dialect.native_client_api() == client_api.name() {
        let Some(kind) = kind else {
            return Ok(EncodedBody::Unchanged);
        };
        let adapted = adapt(kind, &body, unsupported, scratch)?;
        return Ok(match adapted {
            None => EncodedBody::Unchanged,
            Some(adapted) => EncodedBody::Adapted(Box::new(adapted)),
        });
    }
    let mut translated = buffer::take(body.bytes.len() + 1024);
    let out = &mut translated;
    let request = ClientRequest {
        client_api,
        body: body.bytes,
        streams: body.streams,
    };
    translate_body::translate_request(&request, dialect, model, unsupported, scratch, out)?;
    let adapted = match kind {
        Some(kind) => {
            param_compat::adapt(&param_compat_of(kind), &translated, unsupported, scratch)?
        }
        None => None,
    };
    Ok(EncodedBody::Translated(adapted.unwrap_or(translated)))
}

fn param_compat_of(kind: &Kind) -> ParamCompat<'_> {
    ParamCompat {
        rename: &kind.rename,
        refuses: &kind.refuses,
        developer: kind.developer.as_deref(),
    }
}

/// `None` if the provider accepts the body unchanged.
fn adapt(
    kind: &Kind,
    body: &ClientBody<'_>,
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<Option<AdaptedBody>, GatewayError> {
    let adapted = param_compat::adapt(&param_compat_of(kind), body.bytes, unsupported, scratch)?;
    let Some(bytes) = adapted else {
        return Ok(None);
    };
    let chat = body
        .client_api
        .inspect_request("", &bytes, scratch, false)?;
    Ok(Some(AdaptedBody { bytes, chat }))
}
