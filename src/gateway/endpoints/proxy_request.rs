//! One request to one provider, sent unchanged except for credentials and hop-by-hop headers. The provider proxy and
//! the stored responses share it. It must not choose the provider.

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::classify;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::endpoints::proxy_headers;
use crate::gateway::endpoints::proxy_headers::{ProxiedHead, read_head};
use crate::gateway::respond;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::streaming::upload::UploadBody;
use crate::headers;
use crate::http::encode;
use crate::http::head::Method;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::passthrough::ProviderProxy;
use crate::routing::indices::KeyIndex;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::server::client::Client;
use crate::server::connection::Request;
use crate::signing::sigv4::ToSign;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse, exchange};

/// A client's request, and where it goes.
pub(crate) struct ProxyRequest<'r> {
    pub backend: &'r Provider,
    pub key_index: KeyIndex,
    pub request: &'r Request<'r>,
    pub proxy: ProviderProxy<'r>,
    pub request_id: &'r str,
}

/// Path and query at the provider.
struct Location {
    path: String,
    query: String,
}

impl ProxyRequest<'_> {
    fn location(&self) -> Location {
        let rest = self.proxy.rest;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let base = &self.backend.endpoint.url.path;
        if self.proxy.provider.is_some() {
            let path = [base, path].concat();
            let path = if path.is_empty() { "/".into() } else { path };
            let query = query.to_owned();
            return Location { path, query };
        }
        let version = self.backend.api_version.as_deref();
        let mapped = self.backend.dialect.path(base, path, None, version);
        let (path, own_query) = mapped.split_once('?').unwrap_or((&mapped, ""));
        let queries = [own_query, query];
        let queries = queries.into_iter().filter(|query| !query.is_empty());
        let query = queries.collect::<Vec<_>>().join("&");
        let path = [base, path].concat();
        Location { path, query }
    }

    /// The encoded request: head and body, or the head alone if the body is streamed.
    ///
    /// # Errors
    /// The gateway has no valid credentials for the provider.
    pub(crate) fn encode(&self, body: &UploadBody<'_>) -> Result<Vec<u8>, GatewayError> {
        let (backend, headers) = (self.backend, &self.request.head.headers);
        let Location { path, query } = self.location();
        let method = method_name(self.request.head.method);
        let held = backend.held();
        let auth = backend.auth(held.as_deref(), self.key_index);
        let auth = auth.map_err(|reason| {
            attempt_error::exchange_failed(backend, &UpstreamError::NoCredentials(reason)).error
        })?;
        let (buffered, length) = match body {
            UploadBody::Whole(bytes) => (&**bytes, bytes.len() as u64),
            UploadBody::Streamed(length) => (&[][..], *length),
        };
        let mut out = buffer::take(buffered.len() + 2048);
        let mark = if query.is_empty() { "" } else { "?" };
        let authority = &backend.endpoint.url.authority;
        encode::begin_request(&mut out, method, &[&path, mark, &query], authority);
        let media_type = headers::CONTENT_TYPE.read_str(headers);
        let mut signed = vec![("host", authority.as_str())];
        signed.extend(media_type.map(|media_type| ("content-type", media_type)));
        let to_sign = ToSign {
            method,
            path: &path,
            query: &query,
            headers: &signed,
            body: buffered,
        };
        auth.write(&mut out, backend.dialect.key_header(), &to_sign);
        proxy_headers::write_client_headers(&mut out, headers);
        headers::X_REQUEST_ID.write(&mut out, self.request_id);
        encode::gateway_headers(&mut out);
        if length > 0 || !matches!(method, "GET" | "DELETE") {
            encode::content_length(&mut out, length);
        }
        encode::end_head(&mut out);
        out.extend_from_slice(buffered);
        Ok(out)
    }
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

/// Sends an encoded request and waits for the head of the response. A request that may have had an effect is never sent
/// twice: it goes over a new connection, which the provider cannot have closed for being idle.
///
/// # Errors
/// The provider did not respond.
pub(crate) async fn send(
    core: &Core,
    backend: &Provider,
    mut request: Vec<u8>,
    method: Method,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<UpstreamResponse<ProxiedHead>, GatewayError> {
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
        if used.reused {
            metrics.upstream.reuses.increment();
        } else {
            metrics.upstream.connects.increment();
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
                let outcome = AttemptOutcome::Status(
                    backend.dialect.classify_status(upstream_response.status),
                );
                metrics
                    .upstream
                    .attempts
                    .increment((backend.any_model, outcome));
                return Ok(upstream_response);
            }
            Err(error) => {
                metrics
                    .upstream
                    .attempts
                    .increment((backend.any_model, classify::outcome_of_error(&error)));
                if error.retry() == Retry::OnFreshConnection && !fresh {
                    fresh = true;
                    continue;
                }
                buffer::give(request);
                let failed = attempt_error::exchange_failed(backend, &error);
                ctx.outcome.detail = Some(failed.detail);
                return Err(failed.error);
            }
        }
    }
}

/// The error when the provider breaks off in the middle of its response.
pub(crate) fn closed_early(backend: &Provider, reason: &str) -> GatewayError {
    let message = format!(
        "the provider `{}` broke off in the middle of its response ({reason})",
        backend.provider
    );
    GatewayError::new(ErrorCode::UpstreamClosedEarly, message)
}

/// Sends a buffered response with the provider's status and header lines.
pub(crate) async fn write_buffered(
    status: u16,
    header_lines: &[u8],
    body: &[u8],
    client: &mut Client,
    ctx: &mut RequestContext,
) {
    let mut out = buffer::take(1024 + body.len());
    respond::begin_head(&mut out, status, ctx, client);
    out.extend_from_slice(header_lines);
    if matches!(status, 204 | 304) {
        // Without a body, `content-length` is not allowed (RFC 9110, 8.6).
        encode::end_head(&mut out);
        let (_, out) = client.write(out).await;
        buffer::give(out);
    } else {
        let _ = respond::finish_whole(client, out, body).await;
    }
}
