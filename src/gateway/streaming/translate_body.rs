//! Request, whole answer and error from one dialect into another, by way of the neutral form.

use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
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

/// A request as a client said it.
pub struct Said<'s> {
    /// The body.
    pub body: &'s [u8],
    /// A stream was asked for; some dialects say so in the path.
    pub streams: bool,
}

/// Appends the body that `provider` is to get for a request in the dialect `face`.
///
/// # Errors
/// 400 naming a field that is malformed, or lost.
pub fn request(
    client_api: &dyn ClientApi,
    provider: &dyn ProviderApi,
    said: &Said<'_>,
    model: &str,
    unsupported: &mut UnsupportedFields,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) -> Result<(), GatewayError> {
    let prepared = client_api.prepare(said.body, scratch);
    let body = prepared.as_deref().unwrap_or(said.body);
    scratch
        .with_document(body, |document| {
            let mut request = client_api.read_request(document, unsupported)?;
            request.stream |= said.streams;
            provider.write_request(&request, model, unsupported, out)
        })
        .map_err(|bad| GatewayError::new(ErrorCode::InvalidJson, bad.message))?
}

/// What is told of an answer that its model broke off as of no use ([`Stop::AttemptError`]).
pub(crate) const FAILED: &str = "the model broke its answer off: what it called cannot be read";

/// Status and body of a whole answer of `provider`, for a client that speaks `face`.
///
/// # Errors
/// 502 for a body that is no answer.
pub fn whole(
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
            let mut failure = provider.read_failure(status, document);
            failure.kind = failure.kind.or(response_ctx.error_kind.as_deref());
            failure.window_exceeded |= refusal(status, body) == Some(Refusal::ContextLength);
            client_api.write_failure(&failure, &mut out);
            return Ok::<u16, UnreadableBody>(failure.status);
        }
        let mut response = provider.read_answer(document)?;
        if response.model.is_empty() {
            response.model = &response_ctx.model;
        }
        if response
            .choices
            .iter()
            .any(|choice| choice.stop == Stop::Failed)
        {
            return Err(UnreadableBody(FAILED));
        }
        client_api.write_answer(&response, response_ctx, &mut out);
        Ok(status)
    });
    let why = match read {
        Ok(Ok(status)) => return Ok((status, out)),
        Ok(Err(lacks)) => lacks.0.to_owned(),
        Err(bad) => bad.message,
    };
    Err(GatewayError::new(
        ErrorCode::UpstreamInvalidResponse,
        format!("the provider's answer cannot be read: {why}"),
    ))
}

/// What is read of a whole answer in the caller's dialect.
pub struct Read {
    /// Tokens, as far as they were reported.
    pub usage: Option<Usage>,
    /// What may be stored, or why not.
    pub stored: Result<CachedResponse, &'static str>,
}

/// Reads a whole answer that is in the dialect `face`.
#[must_use]
pub fn read_own(
    client_api: &dyn ClientApi,
    status: u16,
    body: &[u8],
    scratch: &mut Scratch,
) -> Read {
    match native_api(client_api.name()) {
        Some(provider) => read(provider, status, body, scratch),
        None => nothing("error"),
    }
}

/// Reads a whole answer of `provider`.
#[must_use]
pub fn read(provider: &dyn ProviderApi, status: u16, body: &[u8], scratch: &mut Scratch) -> Read {
    if !is_good(status) {
        return nothing("error");
    }
    let read = scratch.with_document(body, |document| {
        let response = provider.read_answer(document).ok()?;
        Some(Read {
            usage: response.usage.map(Usage::from),
            stored: ResponseCollector::response(&response),
        })
    });
    read.ok().flatten().unwrap_or_else(|| nothing("unparsable"))
}

fn nothing(why: &'static str) -> Read {
    Read {
        usage: None,
        stored: Err(why),
    }
}

fn is_good(status: u16) -> bool {
    (200..300).contains(&status)
}
