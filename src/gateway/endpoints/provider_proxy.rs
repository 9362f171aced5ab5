//! The trip of a request that goes to one provider as it is: `/providers/{name}/…`, and what a provider
//! keeps (`/v1/files`, `/v1/batches`). No routing, no failover: another provider does not have it.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::base::request_ids;
use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::plan::stored_responses::is_allowed;
use crate::gateway::respond;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::streaming::raw_body::{BodyStart, RawBodyRelay};
use crate::gateway::streaming::stream_end::StreamEnd;
use crate::gateway::streaming::stream_response;
use crate::gateway::streaming::upload;
use crate::gateway::streaming::upload::UploadBody;
use crate::headers;
use crate::http::encode;
use crate::http::head::{Headers, Method, ResponseHead};
use crate::observability::metrics::requests::Stage;
use crate::protocols::openai::vocabulary;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{ProviderProxy, usage_in};
use crate::routing::indices::KeyIndex;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::signing::sigv4::ToSign;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse, exchange};
use std::sync::Arc;

/// Headers of a client that stay here: what frames a message or belongs to this connection, what proves
/// who the client is to the gateway, and what says where it is.
const KEPT_FROM_PROVIDER: [&str; 24] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "cookie",
    "origin",
    "referer",
    "forwarded",
    "via",
    "x-real-ip",
    "accept-encoding",
    "x-request-id",
    "user-agent",
];
/// The same by their beginning.
const KEPT_FROM_PROVIDER_LIKE: [&str; 3] = [headers::OWN_PREFIX, "x-forwarded-", "x-amz-"];

/// Headers of a provider that stay here: framing, and what tells of the account that others use too, or
/// would speak for the gateway itself.
const KEPT_FROM_CLIENT: [&str; 18] = [
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "set-cookie",
    "server",
    "date",
    "alt-svc",
    "strict-transport-security",
    "cache-control",
    "www-authenticate",
    "openai-organization",
    "openai-project",
];
/// The same by their beginning.
const KEPT_FROM_CLIENT_LIKE: [&str; 4] = [
    headers::OWN_PREFIX,
    "x-ratelimit-",
    "anthropic-ratelimit-",
    "access-control-",
];

/// What is taken from an answer's head.
pub(crate) struct Passed {
    /// Encoded header lines that cross to the client.
    pub lines: Vec<u8>,
    /// The body is events.
    pub is_event_stream: bool,
}

/// Serves the request.
///
/// # Errors
/// What the client is told.
pub(crate) async fn serve(
    core: &Core,
    snapshot: &Snapshot,
    (request, direct): (&Request<'_>, ProviderProxy<'_>),
    caller: Caller<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let headers = &request.head.headers;
    passthrough::check_path(direct.rest)?;
    let backend = match direct.provider {
        Some(name) => named(snapshot, caller, name)?,
        None => keeper(snapshot, caller, headers)?,
    };
    // Which model this is about, nobody knows.
    (ctx.route.target, ctx.route.model) = (Some(backend.any_model), Some(backend.any_model));
    ctx.stage_done(core, Stage::Read);
    let key_index = KeyIndex::new(request_ids::random() as usize % backend.api_keys.len().max(1));
    let body = upload::body(backend, request, client, ctx).await?;
    let bytes = encoded(
        (backend, key_index),
        request,
        &body,
        direct,
        &ctx.identity.request_id,
    )?;
    ctx.stage_done(core, Stage::Route);
    let upstream_response = match body {
        UploadBody::Streamed(_) => {
            upload::send(core, backend, bytes, read_head, client, ctx).await?
        }
        UploadBody::Whole(_) => ask(core, backend, bytes, request.head.method, client, ctx).await?,
    };
    pass_on(core, backend, upstream_response, client, ctx).await
}

/// The provider called `name`, if the key may reach it.
fn named<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    name: &str,
) -> Result<&'s Arc<Provider>, GatewayError> {
    let found = snapshot
        .sites
        .iter()
        .find(|backend| backend.provider == name);
    found.filter(|backend| may_reach(caller, backend)).ok_or_else(|| {
        // Whether it exists is no business of those who may not reach it.
        let message = format!(
            "there is no provider `{name}` that this key may reach directly; `providers` of the key lists them"
        );
        GatewayError::new(ErrorCode::ProviderNotAllowed, message)
    })
}

/// The provider that keeps files and batches: the one that a header names, or the only one it can be.
fn keeper<'s>(
    snapshot: &'s Snapshot,
    caller: Caller<'_>,
    headers: &Headers<'_>,
) -> Result<&'s Arc<Provider>, GatewayError> {
    if let Some(name) = headers::PROVIDER.read_str(headers) {
        return named(snapshot, caller, name.trim());
    }
    let speaks = |backend: &&Arc<Provider>| backend.dialect.native_client_api() == vocabulary::NAME;
    let fit: Vec<_> = snapshot
        .sites
        .iter()
        .filter(speaks)
        .filter(|backend| may_reach(caller, backend))
        .collect();
    match fit.as_slice() {
        [only] => Ok(only),
        [] => Err(GatewayError::new(
            ErrorCode::ProviderNotAllowed,
            "files and batches belong to a provider's account, and this key may reach no provider of OpenAI's dialect directly; `providers` of the key lists those it may",
        )),
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|backend| backend.provider.as_str())
                .collect();
            let message = format!(
                "files and batches belong to one provider; name it in `{}`: {}",
                headers::PROVIDER,
                names.join(", ")
            );
            Err(GatewayError::new(ErrorCode::ProviderMissing, message).on(headers::PROVIDER.name()))
        }
    }
}

fn may_reach(caller: Caller<'_>, backend: &Provider) -> bool {
    caller.reaches(&backend.provider) && is_allowed(caller, backend)
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
        _ => "GET",
    }
}

/// Where it goes behind the host: path and query.
fn place(backend: &Provider, direct: ProviderProxy<'_>) -> (String, String) {
    let (path, query) = direct.rest.split_once('?').unwrap_or((direct.rest, ""));
    let url = &backend.endpoint.url;
    if direct.provider.is_some() {
        let whole = [&url.path, path].concat();
        let whole = if whole.is_empty() { "/".into() } else { whole };
        return (whole, query.to_owned());
    }
    let version = backend.api_version.as_deref();
    let own = backend.dialect.path(&url.path, path, None, version);
    let (path, given) = own.split_once('?').unwrap_or((&own, ""));
    let queries = [given, query].into_iter().filter(|one| !one.is_empty());
    let query = queries.collect::<Vec<_>>().join("&");
    ([&url.path, path].concat(), query)
}

/// The request with the key of this lane: head and body, the head alone if the body comes in pieces.
///
/// # Errors
/// The provider's credentials are not there.
pub(crate) fn encoded(
    (backend, key_index): (&Provider, KeyIndex),
    request: &Request<'_>,
    body: &UploadBody<'_>,
    direct: ProviderProxy<'_>,
    request_id: &str,
) -> Result<Vec<u8>, GatewayError> {
    let headers = &request.head.headers;
    let (path, query) = place(backend, direct);
    let method = method_name(request.head.method);
    let held = backend.held();
    let auth = backend.auth(held.as_deref(), key_index);
    let auth = auth.map_err(|why| {
        attempt_error::exchange_failed(backend, &UpstreamError::NoCredentials(why)).error
    })?;
    let (whole, length) = match body {
        UploadBody::Whole(bytes) => (&**bytes, bytes.len() as u64),
        UploadBody::Streamed(length) => (&[][..], *length),
    };
    let mut out = buffer::take(whole.len() + 2048);
    let mark = if query.is_empty() { "" } else { "?" };
    let authority = &backend.endpoint.url.authority;
    encode::begin_request(&mut out, method, &[&path, mark, &query], authority);
    let kind = headers::CONTENT_TYPE.read_str(headers);
    let mut signed = vec![("host", authority.as_str())];
    signed.extend(kind.map(|kind| ("content-type", kind)));
    let sent = ToSign {
        method,
        path: &path,
        query: &query,
        headers: &signed,
        body: whole,
    };
    auth.write(&mut out, backend.dialect.key_header(), &sent);
    for (name, value) in headers.iter() {
        if crosses(name, headers, &KEPT_FROM_PROVIDER, &KEPT_FROM_PROVIDER_LIKE) {
            encode::header(&mut out, name, value);
        }
    }
    headers::X_REQUEST_ID.write(&mut out, request_id);
    encode::header(&mut out, "accept-encoding", b"identity");
    let agent = concat!("ringside/", env!("CARGO_PKG_VERSION"));
    encode::header(&mut out, "user-agent", agent.as_bytes());
    if length > 0 || !matches!(method, "GET" | "DELETE") {
        encode::content_length(&mut out, length);
    }
    encode::end_head(&mut out);
    out.extend_from_slice(whole);
    Ok(out)
}

/// Whether a header crosses: it is none of those kept back, nor named by `connection`.
fn crosses(name: &str, headers: &Headers<'_>, kept: &[&str], kept_like: &[&str]) -> bool {
    let is_like = |start: &&str| {
        let begin = name.get(..start.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(start))
    };
    let connections = headers
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case("connection"));
    let mut hops = connections.flat_map(|(_, value)| value.split(|byte| *byte == b','));
    !kept.iter().any(|one| name.eq_ignore_ascii_case(one))
        && !kept_like.iter().any(is_like)
        && !hops.any(|hop| hop.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

pub(crate) fn read_head(head: &ResponseHead<'_>) -> Passed {
    let mut lines = Vec::with_capacity(256);
    for (name, value) in head.headers.iter() {
        let is_id = ["x-request-id", "request-id"]
            .iter()
            .any(|id| name.eq_ignore_ascii_case(id));
        if is_id {
            headers::UPSTREAM_REQUEST_ID.write(&mut lines, value);
        } else if crosses(
            name,
            &head.headers,
            &KEPT_FROM_CLIENT,
            &KEPT_FROM_CLIENT_LIKE,
        ) {
            encode::header(&mut lines, name, value);
        }
    }
    let kind = headers::CONTENT_TYPE
        .read_str(&head.headers)
        .unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    Passed {
        lines,
        is_event_stream: kind.eq_ignore_ascii_case("text/event-stream"),
    }
}

/// Sends it and waits for the head of the answer. What may have had an effect is never sent twice: it
/// goes over a fresh connection, which nobody can have closed for being idle.
///
/// # Errors
/// What the client is told.
pub(crate) async fn ask(
    core: &Core,
    backend: &Provider,
    mut request: Vec<u8>,
    method: Method,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<UpstreamResponse<Passed>, GatewayError> {
    let may_repeat = matches!(method, Method::Get | Method::Put | Method::Delete);
    let timeouts = &backend.endpoint.timeouts;
    let mut fresh = !may_repeat;
    loop {
        ctx.route.attempts += 1;
        let sent_at = clock::recent();
        let until = sent_at + timeouts.connect + timeouts.tls + timeouts.first_byte;
        let (outcome, returned, used) = exchange(
            &backend.endpoint,
            (!fresh).then_some(&core.pool),
            request,
            until,
            client,
            read_head,
        )
        .await;
        request = returned;
        let mut metrics = core.metrics.borrow_mut();
        match used.reused {
            true => metrics.upstream.reuses.increment(),
            false => metrics.upstream.connects.increment(),
        }
        ctx.timing.waited_since(sent_at);
        match outcome {
            Ok(upstream_response) => {
                buffer::give(request);
                ctx.timing.first_byte = Some(
                    upstream_response
                        .first_byte_at
                        .saturating_duration_since(sent_at),
                );
                let outcome = backend
                    .dialect
                    .classify_status(upstream_response.status)
                    .outcome;
                metrics
                    .upstream
                    .attempts
                    .increment((backend.any_model, outcome));
                return Ok(upstream_response);
            }
            Err(fault) => {
                metrics
                    .upstream
                    .attempts
                    .increment((backend.any_model, fault.outcome()));
                if fault.retry() == Retry::OnFreshConnection && !fresh {
                    fresh = true;
                    continue;
                }
                buffer::give(request);
                let failed = attempt_error::exchange_failed(backend, &fault);
                ctx.outcome.detail = Some(failed.detail);
                return Err(failed.error);
            }
        }
    }
}

/// Passes the answer on: at once with its length if it came at once, else piece by piece.
async fn pass_on(
    core: &Core,
    backend: &Provider,
    mut upstream_response: UpstreamResponse<Passed>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), GatewayError> {
    let timeout = backend.endpoint.timeouts.read;
    let mut bytes = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    let read = upstream_response
        .read(&mut bytes, began_at + timeout, client)
        .await;
    ctx.timing.waited_since(began_at);
    let status = upstream_response.status;
    let is_done = match read {
        Ok(piece) => piece == BodyProgress::Done,
        Err(UpstreamBodyError::Interrupted(why)) => {
            let fault = UpstreamError::Interrupted(why);
            return Err(attempt_error::exchange_failed(backend, &fault).error);
        }
        Err(fault) => {
            let why = fault.why();
            let message = format!(
                "the provider `{}` broke off in the middle of its answer ({why})",
                backend.provider
            );
            return Err(GatewayError::new(ErrorCode::UpstreamClosedEarly, message));
        }
    };
    let passed = std::mem::take(&mut upstream_response.head.lines);
    if !is_done {
        let mut raw_body = RawBodyRelay::raw();
        ctx.format.streams = true;
        let head = stream_response::begin(status, &passed, client, ctx);
        let arrived = BodyStart {
            bytes,
            is_done,
            head,
        };
        let end = raw_body
            .pump(
                &core.scratch,
                &mut upstream_response,
                timeout,
                arrived,
                client,
            )
            .await;
        ctx.record_billed_usage(core, raw_body.billed_usage());
        if matches!(end, StreamEnd::Complete) {
            upstream_response.finish(&backend.endpoint, &core.pool);
        }
        raw_body.conclude(core, end, client, ctx).await;
        return Ok(());
    }
    upstream_response.finish(&backend.endpoint, &core.pool);
    if let Some(usage) = usage_in(&bytes).filter(|_| status < 300) {
        ctx.record_billed_usage(core, BilledUsage::Reported(usage));
    }
    write_whole((status, &passed), &bytes, client, ctx).await;
    buffer::give(bytes);
    Ok(())
}

/// Sends a whole answer with its status and header lines.
pub(crate) async fn write_whole(
    (status, passed): (u16, &[u8]),
    body: &[u8],
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let mut out = buffer::take(1024 + body.len());
    respond::begin_head(&mut out, status, ctx, client);
    out.extend_from_slice(passed);
    if matches!(status, 204 | 304) {
        // No body, and so no length (RFC 9110, 8.6).
        encode::end_head(&mut out);
        let (_, out) = client.write(out).await;
        buffer::give(out);
    } else {
        let _ = respond::finish_whole(client, out, body).await;
    }
}
