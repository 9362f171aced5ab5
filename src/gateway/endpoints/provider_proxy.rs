//! The trip of a request that goes to one provider as it is: `/providers/{name}/…`, and what a provider
//! keeps (`/v1/files`, `/v1/batches`). No routing, no failover: another provider does not have it.

use crate::accounting::billing::BilledUsage;
use crate::auth::keys::Caller;
use crate::base::request_ids;
use crate::error::{GatewayError, Retry};
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::respond;
use crate::gateway::snapshot::{Provider, Snapshot};
use crate::gateway::streaming::raw_body::{Arrived, RawBodyRelay};
use crate::gateway::streaming::relay_response;
use crate::gateway::streaming::upload;
use crate::gateway::streaming::upload::Sent;
use crate::gateway::streaming::upstream_stream::StreamEnd;
use crate::http::encode;
use crate::http::head::{Headers, Method, ResponseHead};
use crate::observability::metrics::core_metrics::{Stage, count};
use crate::protocols::openai::client::api;
use crate::protocols::passthrough;
use crate::protocols::passthrough::{ProviderProxy, usage_in};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::signing::sigv4::ToSign;
use crate::upstream::exchange::{Piece, UpstreamBodyError};
use crate::upstream::exchange::{UpstreamError, UpstreamResponse, exchange};
use std::sync::Arc;

/// Names the provider that keeps files and batches.
const PROVIDER: &str = "x-ringside-provider";

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
const KEPT_FROM_PROVIDER_LIKE: [&str; 3] = ["x-ringside-", "x-forwarded-", "x-amz-"];

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
    "x-ringside-",
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
    grant: Caller<'_>,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let headers = &request.head.headers;
    passthrough::check_path(direct.rest)?;
    let site = match direct.provider {
        Some(name) => named(snapshot, grant, name)?,
        None => keeper(snapshot, grant, headers)?,
    };
    // Which model this is about, nobody knows.
    (trip.target, trip.model) = (Some(site.any_model), Some(site.any_model));
    trip.stage_done(core, Stage::Read);
    let lane = request_ids::random() as usize % site.api_keys.len().max(1);
    let body = upload::body(site, request, client, trip).await?;
    let bytes = encoded((site, lane), request, &body, direct, &trip.request_id)?;
    trip.stage_done(core, Stage::Route);
    let reply = match body {
        Sent::Pieces(_) => upload::ask(core, site, bytes, client, trip).await?,
        Sent::Whole(_) => ask(core, site, bytes, request.head.method, client, trip).await?,
    };
    pass_on(core, site, reply, client, trip).await
}

/// The provider called `name`, if the key may reach it.
fn named<'s>(
    snapshot: &'s Snapshot,
    grant: Caller<'_>,
    name: &str,
) -> Result<&'s Arc<Provider>, GatewayError> {
    let found = snapshot.sites.iter().find(|site| site.provider == name);
    found.filter(|site| may_reach(grant, site)).ok_or_else(|| {
        // Whether it exists is no business of those who may not reach it.
        let message = format!(
            "there is no provider `{name}` that this key may reach directly; `providers` of the key lists them"
        );
        GatewayError::client(403, "provider_not_allowed", message)
    })
}

/// The provider that keeps files and batches: the one that a header names, or the only one it can be.
fn keeper<'s>(
    snapshot: &'s Snapshot,
    grant: Caller<'_>,
    headers: &Headers<'_>,
) -> Result<&'s Arc<Provider>, GatewayError> {
    if let Some(name) = headers.get_str(PROVIDER) {
        return named(snapshot, grant, name.trim());
    }
    let speaks = |site: &&Arc<Provider>| site.dialect.native() == api::NAME;
    let fit: Vec<_> = snapshot
        .sites
        .iter()
        .filter(speaks)
        .filter(|site| may_reach(grant, site))
        .collect();
    match fit.as_slice() {
        [only] => Ok(only),
        [] => Err(GatewayError::client(
            403,
            "provider_not_allowed",
            "files and batches belong to a provider's account, and this key may reach no provider of OpenAI's dialect directly; `providers` of the key lists those it may",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|site| site.provider.as_str()).collect();
            let message = format!(
                "files and batches belong to one provider; name it in `{PROVIDER}`: {}",
                names.join(", ")
            );
            Err(GatewayError::client(400, "provider_missing", message).on(PROVIDER))
        }
    }
}

fn may_reach(grant: Caller<'_>, site: &Provider) -> bool {
    grant.reaches(&site.provider) && is_allowed(grant, site)
}

/// Whether regions and tags of the key allow the provider.
pub(crate) fn is_allowed(grant: Caller<'_>, site: &Provider) -> bool {
    let is_in = |names: &[String]| match &site.region {
        _ if names.is_empty() => true,
        Some(region) => names.contains(region),
        None => false,
    };
    let has_tags = grant.tags.iter().all(|tag| site.tags.contains(tag));
    is_in(grant.regions) && has_tags
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
fn place(site: &Provider, direct: ProviderProxy<'_>) -> (String, String) {
    let (path, query) = direct.rest.split_once('?').unwrap_or((direct.rest, ""));
    let url = &site.endpoint.url;
    if direct.provider.is_some() {
        let whole = [&url.path, path].concat();
        let whole = if whole.is_empty() { "/".into() } else { whole };
        return (whole, query.to_owned());
    }
    let version = site.api_version.as_deref();
    let own = site.dialect.path(&url.path, path, None, version);
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
    (site, lane): (&Provider, usize),
    request: &Request<'_>,
    body: &Sent<'_>,
    direct: ProviderProxy<'_>,
    request_id: &str,
) -> Result<Vec<u8>, GatewayError> {
    let headers = &request.head.headers;
    let (path, query) = place(site, direct);
    let method = method_name(request.head.method);
    let held = site.held();
    let auth = site.auth(held.as_deref(), lane);
    let auth =
        auth.map_err(|why| classify::failed(site, &UpstreamError::NoCredentials(why)).fault)?;
    let (whole, length) = match body {
        Sent::Whole(bytes) => (&**bytes, bytes.len() as u64),
        Sent::Pieces(length) => (&[][..], *length),
    };
    let mut out = buffer::take(whole.len() + 2048);
    let mark = if query.is_empty() { "" } else { "?" };
    for part in [method, " ", &path, mark, &query, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    let authority = &site.endpoint.url.authority;
    encode::header(&mut out, "host", authority.as_bytes());
    let kind = headers.get_str("content-type");
    let mut signed = vec![("host", authority.as_str())];
    signed.extend(kind.map(|kind| ("content-type", kind)));
    let sent = ToSign {
        method,
        path: &path,
        query: &query,
        headers: &signed,
        body: whole,
    };
    auth.write(&mut out, site.dialect.key_header(), &sent);
    for (name, value) in headers.iter() {
        if crosses(name, headers, &KEPT_FROM_PROVIDER, &KEPT_FROM_PROVIDER_LIKE) {
            encode::header(&mut out, name, value);
        }
    }
    encode::header(&mut out, "x-request-id", request_id.as_bytes());
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
            encode::header(&mut lines, "x-ringside-upstream-request-id", value);
        } else if crosses(
            name,
            &head.headers,
            &KEPT_FROM_CLIENT,
            &KEPT_FROM_CLIENT_LIKE,
        ) {
            encode::header(&mut lines, name, value);
        }
    }
    let kind = head.headers.get_str("content-type").unwrap_or_default();
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
    site: &Provider,
    mut request: Vec<u8>,
    method: Method,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<UpstreamResponse<Passed>, GatewayError> {
    let may_repeat = matches!(method, Method::Get | Method::Put | Method::Delete);
    let limits = &site.endpoint.limits;
    let mut fresh = !may_repeat;
    loop {
        trip.attempts += 1;
        let sent_at = clock::recent();
        let until = sent_at + limits.connect + limits.tls + limits.first_byte;
        let (outcome, returned, used) = exchange(
            &site.endpoint,
            &core.pool,
            request,
            fresh,
            until,
            client,
            read_head,
        )
        .await;
        request = returned;
        let mut metrics = core.metrics.borrow_mut();
        match used.reused {
            true => metrics.upstream_reuses += 1,
            false => metrics.upstream_connects += 1,
        }
        trip.waited += clock::now().saturating_duration_since(sent_at);
        match outcome {
            Ok(reply) => {
                buffer::give(request);
                trip.first_byte = Some(reply.first_byte_at.saturating_duration_since(sent_at));
                let outcome = site.dialect.judge(reply.status).outcome;
                count(&mut metrics.attempts, (site.any_model, outcome));
                return Ok(reply);
            }
            Err(fault) => {
                count(&mut metrics.attempts, (site.any_model, fault.outcome()));
                if fault.retry() == Retry::OnFreshConnection && !fresh {
                    fresh = true;
                    continue;
                }
                buffer::give(request);
                let failed = classify::failed(site, &fault);
                trip.detail = Some(failed.detail);
                return Err(failed.fault);
            }
        }
    }
}

/// Passes the answer on: at once with its length if it came at once, else piece by piece.
async fn pass_on(
    core: &Core,
    site: &Provider,
    mut reply: UpstreamResponse<Passed>,
    client: &mut Client,
    trip: &mut RequestContext,
) -> Result<(), GatewayError> {
    let timeout = site.endpoint.limits.read;
    let mut bytes = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    let read = reply.read(&mut bytes, began_at + timeout, client).await;
    trip.waited += clock::now().saturating_duration_since(began_at);
    let status = reply.status;
    let is_done = match read {
        Ok(piece) => piece == Piece::Done,
        Err(UpstreamBodyError::Interrupted(why)) => {
            let fault = UpstreamError::Interrupted(why);
            return Err(classify::failed(site, &fault).fault);
        }
        Err(fault) => {
            let why = fault.why();
            let message = format!(
                "the provider `{}` broke off in the middle of its answer ({why})",
                site.provider
            );
            return Err(GatewayError::upstream(502, "upstream_broke_off", message));
        }
    };
    let passed = std::mem::take(&mut reply.head.lines);
    if !is_done {
        let mut passage = RawBodyRelay::raw();
        trip.stream = true;
        let head = relay_response::begin_stream((status, &passed), client, trip);
        let arrived = Arrived {
            bytes,
            is_done,
            head,
        };
        let end = passage
            .pump(&core.scratch, &mut reply, timeout, arrived, client)
            .await;
        trip.buy(core, passage.bought());
        if matches!(end, StreamEnd::Complete) {
            reply.finish(&site.endpoint, &core.pool);
        }
        passage.conclude(core, end, client, trip).await;
        return Ok(());
    }
    reply.finish(&site.endpoint, &core.pool);
    if let Some(usage) = usage_in(&bytes).filter(|_| status < 300) {
        trip.buy(core, BilledUsage::Reported(usage));
    }
    write_whole((status, &passed), &bytes, client, trip).await;
    buffer::give(bytes);
    Ok(())
}

/// Sends a whole answer with its status and header lines.
pub(crate) async fn write_whole(
    (status, passed): (u16, &[u8]),
    body: &[u8],
    client: &mut Client,
    trip: &mut RequestContext,
) {
    let mut out = buffer::take(1024 + body.len());
    respond::begin_head(&mut out, status, trip, client);
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
