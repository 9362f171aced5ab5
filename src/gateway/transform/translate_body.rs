//! Translates requests, responses and errors that are not streamed from one wire format into another, by way of the
//! neutral form. It must not know sockets.

use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
use crate::cache::response::not_stored::NotStored;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::client_api::{ClientApi, ResponseContext};
use crate::protocols::json::document::Scratch;
use crate::protocols::neutral::response::Stop;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::provider_api::{ProviderApi, UnreadableBody};
use crate::protocols::provider_refusals::{Refusal, refusal};
use crate::protocols::registry::native_api;
use crate::protocols::usage::Usage;

/// A request in the format of its client.
pub struct ClientRequest<'r> {
    /// The API that the client called, whose format the body has.
    pub client_api: &'r dyn ClientApi,
    /// As the client sent it.
    pub body: &'r [u8],
    /// The client wants a stream; some formats say so in the path.
    pub streams: bool,
}

/// Appends the body that `provider` gets for a request.
///
/// # Errors
/// 400 naming a field that is malformed, or that the provider's format does not have.
pub fn translate_request(
    request: &ClientRequest<'_>,
    provider: &dyn ProviderApi,
    model: &str,
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let ClientRequest {
        client_api,
        body,
        streams,
    } = *request;
    let prepared = client_api.normalize_request(body, scratch);
    let body = prepared.as_deref().unwrap_or(body);
    scratch
        .with_document(body, |document| {
            let mut request = client_api.read_request(document, unsupported)?;
            request.stream |= streams;
            provider.write_request(&request, model, unsupported, out)
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// The message for [`Stop::Failed`]: the model broke its response off.
pub(crate) const STOP_FAILED: &str =
    "the model broke its answer off: what it called cannot be read";

/// Status and body of a response of `provider`, in the format of the client.
///
/// # Errors
/// 502 for a body that is no response.
pub fn translate_response(
    client_api: &dyn ClientApi,
    provider: &dyn ProviderApi,
    status: u16,
    body: &[u8],
    response_ctx: &ResponseContext,
    scratch: &mut Scratch,
) -> Result<(u16, Vec<u8>), GatewayError> {
    let mut out = Vec::with_capacity(body.len() + 256);
    let read = scratch.with_document(body, |document| {
        if !is_good(status) {
            let mut failure = provider.read_error(status, document);
            failure.kind = failure.kind.or(response_ctx.error_kind.as_deref());
            failure.window_exceeded |= refusal(status, body) == Some(Refusal::ContextLength);
            client_api.write_provider_error(&failure, &mut out);
            return Ok::<u16, UnreadableBody>(failure.status);
        }
        let mut response = provider.read_response(document)?;
        if response.model.is_empty() {
            response.model = &response_ctx.model;
        }
        if response
            .choices
            .iter()
            .any(|choice| choice.stop == Stop::Failed)
        {
            return Err(UnreadableBody(STOP_FAILED));
        }
        client_api.write_response(&response, response_ctx, &mut out);
        Ok(status)
    });
    let why = match read {
        Ok(Ok(status)) => return Ok((status, out)),
        Ok(Err(unreadable)) => unreadable.0.to_owned(),
        Err(invalid) => invalid.message,
    };
    Err(GatewayError::new(
        ErrorCode::UpstreamInvalidResponse,
        format!("the provider's answer cannot be read: {why}"),
    ))
}

/// What the gateway itself reads of a response.
pub struct ReadResponse {
    /// `None` when the provider reported none.
    pub usage: Option<Usage>,
    /// The form for the cache, or why there is none.
    pub cacheable: Result<CachedResponse, NotStored>,
}

/// Reads a response in the client's format.
#[must_use]
pub fn read_client_response(
    client_api: &dyn ClientApi,
    status: u16,
    body: &[u8],
    scratch: &mut Scratch,
) -> ReadResponse {
    match native_api(client_api.name()) {
        Some(provider) => read_provider_response(provider, status, body, scratch),
        None => unread(NotStored::Error),
    }
}

/// Reads a response of `provider`.
#[must_use]
pub fn read_provider_response(
    provider: &dyn ProviderApi,
    status: u16,
    body: &[u8],
    scratch: &mut Scratch,
) -> ReadResponse {
    if !is_good(status) {
        return unread(NotStored::Error);
    }
    let read = scratch.with_document(body, |document| {
        let response = provider.read_response(document).ok()?;
        Some(ReadResponse {
            usage: response.usage,
            cacheable: ResponseCollector::response(&response),
        })
    });
    read.ok()
        .flatten()
        .unwrap_or_else(|| unread(NotStored::Unparsable))
}

fn unread(reason: NotStored) -> ReadResponse {
    ReadResponse {
        usage: None,
        cacheable: Err(reason),
    }
}

fn is_good(status: u16) -> bool {
    (200..300).contains(&status)
}
