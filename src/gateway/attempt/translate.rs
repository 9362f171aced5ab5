//! A request's body in the words of the provider: as it is, with what is odd about the provider put right,
//! or in another dialect. It must not know how the request is sent (`asking.rs`).

use crate::config::provider_family::Kind;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::classify::AttemptError;
use crate::gateway::attempt::target_call::{Spent, TargetCall};
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::transform::translate_body;
use crate::gateway::transform::translate_body::ClientRequest;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::json::splice::Edit;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::openai::provider::param_compat;
use crate::protocols::openai::provider::param_compat::ParamCompat;
use crate::protocols::openai::vocabulary;
use crate::protocols::outgoing_request::{Body, UpstreamOperation};
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::request::chat_request::ChatRequest;
use crate::runtime::buffer;
use std::ops::Range;

/// A chat request with what is odd about the provider put right.
pub(crate) struct Fitted {
    /// Its body.
    pub bytes: Vec<u8>,
    /// The body, read again: places in it are other ones.
    pub read: ChatRequest,
}

/// A request's body in the words of the provider.
pub(crate) enum EncodedBody {
    /// As the client sent it.
    AsItIs,
    /// With what is odd about the provider put right, and read again.
    Fitted(Box<Fitted>),
    /// In another dialect.
    Written(Vec<u8>),
}

impl EncodedBody {
    /// Bytes that it holds beside the client's own.
    pub(crate) fn own_bytes(&self) -> usize {
        match self {
            Self::AsItIs => 0,
            Self::Fitted(fitted) => fitted.bytes.len(),
            Self::Written(bytes) => bytes.len(),
        }
    }

    /// As `site` is sent it; `own` is the body that the client sent, with where the model's name stands in it
    /// and the edit that asks for usage.
    pub(crate) fn body<'b>(
        &'b self,
        backend: &Provider,
        own: (&'b [u8], &'b Range<usize>, Option<&'b Edit>),
    ) -> Body<'b> {
        let (bytes, model_range, usage_edit) = match self {
            Self::Written(bytes) => return Body::Written(bytes),
            Self::AsItIs => own,
            Self::Fitted(fitted) => {
                let read = &fitted.read;
                (&*fitted.bytes, &read.model_range, read.usage_edit.as_ref())
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

impl TargetCall<'_> {
    /// The body in the words of the provider.
    ///
    /// # Errors
    /// The failure of a target that has no place for a field.
    pub(crate) fn encoded_body(&self, spent: &mut Spent) -> Result<EncodedBody, Box<AttemptError>> {
        let (plan, backend) = (self.plan, self.backend);
        let mut unsupported = UnsupportedFields::new(backend.drops_untranslatable);
        let outcome = self.word(&mut unsupported);
        spent.dropped = unsupported.header();
        let encoded_body =
            outcome.map_err(|fault| Box::new(classify::untranslatable(self.target, fault)))?;
        debug_assert!(
            plan.call == UpstreamOperation::Chat || matches!(encoded_body, EncodedBody::AsItIs)
        );
        Ok(encoded_body)
    }

    fn word(&self, unsupported: &mut UnsupportedFields) -> Result<EncodedBody, GatewayError> {
        let plan = self.plan;
        if plan.call != UpstreamOperation::Chat {
            return Ok(EncodedBody::AsItIs);
        }
        let input = TranslationInput {
            backend: self.backend,
            dialect: self.dialect(),
            client_api: plan.client_api,
            body: plan.body,
            streams: plan.streams,
            model: &self.target.model,
        };
        word(&input, unsupported, &mut self.core.scratch.borrow_mut())
    }
}

/// A chat that is to be worded.
pub(crate) struct TranslationInput<'w> {
    /// For whom.
    pub backend: &'w Provider,
    /// In which dialect.
    pub dialect: &'static dyn ProviderApi,
    /// The client's dialect.
    pub client_api: &'static dyn ClientApi,
    /// Its body.
    pub body: &'w [u8],
    /// A stream is asked for.
    pub streams: bool,
    /// The model's name there.
    pub model: &'w str,
}

/// The body of a chat in the words of a provider.
///
/// # Errors
/// 400 naming a field that would be lost.
pub(crate) fn word(
    input: &TranslationInput<'_>,
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<EncodedBody, GatewayError> {
    let TranslationInput {
        backend,
        dialect,
        client_api,
        body,
        streams,
        model,
    } = *input;
    // What is odd about a provider is odd about its chats in OpenAI's dialect, not about Responses.
    let kind = (backend.kind).filter(|_| dialect.native_client_api() == vocabulary::NAME);
    if dialect.native_client_api() == client_api.name() {
        if kind.is_none() {
            return Ok(EncodedBody::AsItIs);
        }
        let fitted = fitted(backend, client_api, body, unsupported, scratch)?;
        return Ok(match fitted {
            None => EncodedBody::AsItIs,
            Some(fitted) => EncodedBody::Fitted(Box::new(fitted)),
        });
    }
    let mut written = buffer::take(body.len() + 1024);
    let to = &mut written;
    let request = ClientRequest {
        client_api,
        body,
        streams,
    };
    translate_body::translate_request(&request, dialect, model, unsupported, scratch, to)?;
    let fitted = match kind {
        Some(kind) => param_compat::adapt(&param_compat_of(kind), &written, unsupported, scratch)?,
        None => None,
    };
    Ok(EncodedBody::Written(fitted.unwrap_or(written)))
}

fn param_compat_of(kind: &Kind) -> ParamCompat<'_> {
    ParamCompat {
        rename: &kind.rename,
        refuses: &kind.refuses,
        developer: kind.developer.as_deref(),
    }
}

/// A chat request in the provider's own dialect, with what is odd about the provider put right, and read
/// again; `None` if it is right as it is.
///
/// # Errors
/// 400 naming a field that would be lost.
fn fitted(
    backend: &Provider,
    client_api: &dyn ClientApi,
    body: &[u8],
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
) -> Result<Option<Fitted>, GatewayError> {
    let Some(kind) = backend.kind else {
        return Ok(None);
    };
    let Some(bytes) = param_compat::adapt(&param_compat_of(kind), body, unsupported, scratch)?
    else {
        return Ok(None);
    };
    let read = client_api.inspect_request("", &bytes, scratch, false)?;
    Ok(Some(Fitted { bytes, read }))
}
