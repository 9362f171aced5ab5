//! Writes responses to clients: heads with Ringside's headers, complete bodies, errors. It must not know where a response
//! comes from.

use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::response::BufferedResponse;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::transform::json_array::JsonArray;
use crate::headers;
use crate::http::encode;
use crate::observability::metrics::labels::LabelEnum;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::registry;
use crate::runtime::buffer;
use crate::runtime::io::SocketError;
use crate::server::client::Client;
use std::fmt::Write;

/// The reason in the header when the request got its response before the cache was looked up.
const NOT_REACHED: &str = "not-reached";

/// Begins a head; the caller appends the framing.
pub(crate) fn begin_head(
    out: &mut Vec<u8>,
    status: u16,
    ctx: &mut RequestContext,
    client: &Client,
) {
    ctx.outcome.sent(status);
    encode::status_line(out, status);
    headers::X_REQUEST_ID.write(out, ctx.identity.request_id.as_bytes());
    if ctx.identity.operation == OperationKind::Chat {
        headers::CACHE.write(out, ctx.cache.result().as_str().as_bytes());
        let why = ctx.cache.reason().unwrap_or(NOT_REACHED);
        headers::CACHE_REASON.write(out, why.as_bytes());
        if let Some(entry) = ctx.cache.entry() {
            // Capacity for all digits: leading zeros are written one by one.
            let mut text = String::with_capacity(32);
            let _ = write!(text, "{:032x}", entry.id);
            headers::CACHE_ENTRY.write(out, text.as_bytes());
            headers::AGE.write_u64(out, entry.age.as_secs());
        }
    }
    if ctx.format.client_api != registry::DEFAULT {
        // Anthropic's SDKs read this header.
        headers::REQUEST_ID.write(out, ctx.identity.request_id.as_bytes());
    }
    if let Some(dropped) = &ctx.route.dropped {
        headers::DROPPED.write(out, dropped.as_bytes());
    }
    if let Some(target) = ctx.route.target {
        headers::TARGET.write(out, target.text().as_bytes());
    }
    if ctx.route.arm.is_some() || ctx.route.rule.is_some() {
        let rule = ctx.route.rule.map(|rule| format!("rule={}", rule.text()));
        let arm = ctx.route.arm.map(|arm| format!("arm={}", arm.label.text()));
        let parts: Vec<String> = rule.into_iter().chain(arm).collect();
        headers::ROUTE.write(out, parts.join("; ").as_bytes());
    }
    headers::ATTEMPTS.write_u64(out, u64::from(ctx.route.attempts));
    if let Some(nanousd) = ctx.usage.charge().paid_nanousd() {
        headers::COST_NANOUSD.write_u64(out, nanousd);
    }
    if let Some(hedged) = ctx.route.hedge.outcome {
        headers::HEDGED.write(out, hedged.as_str().as_bytes());
    }
    let overhead_us = u64::try_from(ctx.timing.overhead().as_micros()).unwrap_or(u64::MAX);
    headers::OVERHEAD_US.write_u64(out, overhead_us);
    if client.says_close() {
        headers::CONNECTION.write(out, b"close");
    } else if client.is_http10 {
        headers::CONNECTION.write(out, b"keep-alive");
    }
}

/// Appends a provider's header lines. An array has its own content type.
pub(crate) fn append_forwarded(out: &mut Vec<u8>, forwarded: &[u8], ctx: &RequestContext) {
    if ctx.format.array.is_none() {
        return out.extend_from_slice(forwarded);
    }
    for line in forwarded.split_inclusive(|byte| *byte == b'\n') {
        if !line.starts_with(b"content-type:") {
            out.extend_from_slice(line);
        }
    }
    headers::CONTENT_TYPE.write(out, JsonArray::TYPE);
}

/// Sends a complete response of the gateway's own.
///
/// # Errors
/// The client is gone.
pub(crate) async fn whole(
    client: &mut Client,
    ctx: &mut RequestContext,
    status: u16,
    content_type: &str,
    body: &[u8],
) -> Result<(), SocketError> {
    let mut out = buffer::take(512 + body.len());
    begin_head(&mut out, status, ctx, client);
    headers::CONTENT_TYPE.write(&mut out, content_type.as_bytes());
    finish_whole(client, out, body).await
}

/// Ends a head with the length of the body, and sends both.
///
/// # Errors
/// The client is gone.
pub(crate) async fn finish_whole(
    client: &mut Client,
    mut out: Vec<u8>,
    body: &[u8],
) -> Result<(), SocketError> {
    encode::content_length(&mut out, body.len() as u64);
    encode::end_head(&mut out);
    if !client.is_head {
        out.extend_from_slice(body);
    }
    if client.says_close() {
        client.keep_alive = false;
    }
    let (sent, out) = client.write(out).await;
    buffer::give(out);
    sent
}

/// Sends a provider's complete response unchanged.
pub(crate) async fn forward(
    client: &mut Client,
    ctx: &mut RequestContext,
    response: BufferedResponse,
) {
    let mut out = buffer::take(512 + response.body.len());
    begin_head(&mut out, response.status, ctx, client);
    out.extend_from_slice(&response.head.forwarded);
    if response.status >= 400 {
        advise(&mut out, ctx);
    }
    // A client that is gone changes nothing: the response is complete, and its usage is recorded.
    let _ = finish_whole(client, out, &response.body).await;
    buffer::give(response.body);
}

/// Sends an error in the envelope of the API that was called.
pub(crate) async fn error(client: &mut Client, ctx: &mut RequestContext, error: &GatewayError) {
    let mut body = ctx.format.client_api.error_body(error).into_bytes();
    if ctx.format.array.is_some() {
        body = JsonArray::of_one(&body);
    }
    let mut out = buffer::take(1024 + body.len());
    begin_head(&mut out, error.status, ctx, client);
    ctx.outcome.failed(error.code);
    headers::CONTENT_TYPE.write(&mut out, b"application/json");
    if let Some(after) = &error.retry_after {
        headers::RETRY_AFTER.write(&mut out, after.as_bytes());
    }
    if let Some(allow) = error.allow {
        headers::ALLOW.write(&mut out, allow.as_bytes());
    }
    advise(&mut out, ctx);
    // A client that is gone needs no response.
    let _ = finish_whole(client, out, &body).await;
}

/// Tells an SDK whether to retry (openai-python, `_should_retry`). Without this header it decides by the status and
/// `retry-after`.
pub(crate) fn advise(out: &mut Vec<u8>, ctx: &RequestContext) {
    match ctx.outcome.should_retry {
        Some(true) => headers::SHOULD_RETRY.write(out, b"true"),
        None if ctx.route.attempts <= 1 => {}
        // The gateway has tried the targets: retries of an SDK would multiply its attempts.
        _ => headers::SHOULD_RETRY.write(out, b"false"),
    }
}
