//! A request asked once more, off the client's path: one attempt at one target, in a task of its own, whose
//! answer is only compared. It must not know what is learned from it.

use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::attempt::attempt_guard::{AttemptGuard, Turn};
use crate::gateway::attempt::classify;
use crate::gateway::attempt::response_head::upstream_head;
use crate::gateway::attempt::translate;
use crate::gateway::attempt::translate::TranslationInput;
use crate::gateway::core::Core;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::{Backend, Provider, TargetRoute};
use crate::gateway::streaming::neutral_relay::NeutralRelay;
use crate::gateway::streaming::translate_body;
use crate::http::head::ResponseHead;
use crate::http::sse::SseSplitter;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::json::splice::Edit;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation};
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::registry::PROVIDERS;
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::routing::indices::KeyIndex;
use crate::routing::target_ref::TargetRef;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::{Interrupt, Interruption};
use crate::upstream::exchange::Piece;
use crate::upstream::exchange::exchange;
use std::ops::Range;
use std::task::{Context, Poll};

/// Largest answer that is read, in bytes; comparing more would say nothing.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The dialect whose answers are read for a comparison.
const READ: &str = "openai";

/// The request, kept for as long as its answer takes.
pub(crate) struct ReplayRequest {
    /// Its body, as providers may see it.
    pub body: Vec<u8>,
    /// Where the model's name stands in it.
    pub model_range: Range<usize>,
    /// The edit that asks for usage.
    pub usage_edit: Option<Edit>,
    /// A stream is asked for.
    pub streams: bool,
    /// The dialect that it is in.
    pub client_api: &'static dyn ClientApi,
}

/// Whether answers of a site to a caller of this dialect can be compared.
#[must_use]
pub(crate) fn is_read(client_api: &dyn ClientApi, backend: &Provider) -> bool {
    client_api.name() == READ && reads(backend)
}

/// The dialects of providers whose answers can be compared at all.
#[must_use]
pub(crate) fn comparable() -> Vec<&'static str> {
    let reads = PROVIDERS.iter().filter(|one| one.native() == READ);
    reads.map(|one| one.name()).collect()
}

/// Whether answers of a site can be compared at all.
fn reads(backend: &Provider) -> bool {
    backend.dialect.native() == READ
}

impl ReplayRequest {
    /// One attempt. `None` when it gave no answer that can be compared.
    pub(crate) async fn ask(
        &self,
        core: &Core,
        target: &TargetRoute,
        target_ref: &TargetRef,
        passed: &ForwardedHeaders,
    ) -> Option<CachedResponse> {
        let Backend::Remote(backend) = &target.backend else {
            return None;
        };
        let is_full = attempt_guard::is_full(core, target_ref);
        if is_full || !attempt_guard::may_try(core, target_ref, Turn::First) {
            return None;
        }
        let mut attempt_guard = AttemptGuard::begin(core, target.label, target_ref, None);
        let request = self.request(core, target, backend, (passed, attempt_guard.key_index()))?;
        let answered = exchanged(core, backend, request).await;
        let outcome = answered
            .as_ref()
            .map_or(Outcome::Abandoned, |(status, ..)| {
                classify::outcome_of(*status, None)
            });
        attempt_guard.end(core, outcome);
        let name = if answered.is_some() {
            "mirror"
        } else {
            "mirror_failed"
        };
        core.metrics
            .borrow_mut()
            .upstream
            .attempts
            .increment((target.label, name));
        let (status, is_stream, body) = answered?;
        let response = (status == 200).then(|| read(core, backend.dialect, is_stream, &body))?;
        response.ok()
    }

    fn request(
        &self,
        core: &Core,
        target: &TargetRoute,
        backend: &Provider,
        (passed, key_index): (&ForwardedHeaders, KeyIndex),
    ) -> Option<Vec<u8>> {
        let mut unsupported = UnsupportedFields::new(backend.drops_untranslatable);
        // As the request that was answered would have been asked.
        let input = TranslationInput {
            backend,
            dialect: backend.dialect,
            client_api: self.client_api,
            body: &self.body,
            streams: self.streams,
            model: &target.model,
        };
        let encoded_body =
            translate::word(&input, &mut unsupported, &mut core.scratch.borrow_mut()).ok()?;
        let is_native = backend.dialect.native() == self.client_api.name();
        let forwarded_headers = passed.lines(is_native);
        let held = backend.held();
        let auth = backend.auth(held.as_deref(), key_index).ok()?;
        let mut request = buffer::take(self.body.len() + forwarded_headers.len() + 1024);
        backend.dialect.encode(
            &OutgoingRequest {
                call: UpstreamOperation::Chat,
                streams: self.streams,
                body: encoded_body.body(
                    backend,
                    (&self.body, &self.model_range, self.usage_edit.as_ref()),
                ),
                model: &target.model,
                base_path: &backend.endpoint.url.path,
                api_version: backend.api_version.as_deref(),
                authority: &backend.endpoint.url.authority,
                auth,
                forwarded_headers,
            },
            &mut request,
        );
        Some(request)
    }
}

/// Status, whether it is a stream, and the whole body.
async fn exchanged(
    core: &Core,
    backend: &Provider,
    request: Vec<u8>,
) -> Option<(u16, bool, Vec<u8>)> {
    let (endpoint, watch) = (&backend.endpoint, &mut NoInterrupt);
    let is_stream = |head: &ResponseHead<'_>| upstream_head(head).is_event_stream;
    let until = clock::now() + endpoint.timeouts.first_byte;
    let (outcome, request, _) = exchange(
        endpoint, &core.pool, request, false, until, watch, is_stream,
    )
    .await;
    buffer::give(request);
    let mut upstream_response = outcome.ok()?;
    let mut body = Vec::new();
    loop {
        let by = clock::now() + endpoint.timeouts.read;
        match upstream_response
            .read(&mut body, by, &mut NoInterrupt)
            .await
            .ok()?
        {
            Piece::Done => break,
            Piece::More if body.len() > BODY_BYTES_MAX => return None,
            Piece::More => {}
        }
    }
    let status = upstream_response.status;
    Some((status, upstream_response.finish(endpoint, &core.pool), body))
}

/// The answer that `provider` gave.
fn read(
    core: &Core,
    provider: &dyn ProviderApi,
    is_stream: bool,
    body: &[u8],
) -> Result<CachedResponse, NotStored> {
    let mut scratch = core.scratch.borrow_mut();
    match (provider.native() == READ, is_stream) {
        (true, false) => CachedResponse::from_whole(body, usage::in_answer(body), &mut scratch),
        (false, false) => {
            translate_body::read_provider_response(provider, 200, body, &mut scratch).cacheable
        }
        (true, true) => read_events(body, &mut scratch),
        (false, true) => {
            let collector = ResponseCollector::new(BODY_BYTES_MAX);
            let mut relay = NeutralRelay::new(provider.decoder(), None, Some(collector));
            let mut passed = Vec::with_capacity(body.len());
            let fed = relay.feed(&mut body.to_vec(), &mut passed, &mut scratch);
            relay.end(&mut passed, &mut scratch);
            fed.map_err(|_| NotStored::TooLarge)?;
            relay
                .take_collector()
                .ok_or(NotStored::NotAResponse)?
                .finish()
        }
    }
}

/// A stream in OpenAI's dialect.
fn read_events(body: &[u8], scratch: &mut Scratch) -> Result<CachedResponse, NotStored> {
    let (mut splitter, mut reader) = (SseSplitter::new(), StreamReader::new(BODY_BYTES_MAX));
    let mut rest = body;
    while let Ok(Some(end)) = splitter.next_event(rest) {
        let Some((event, after)) = rest.split_at_checked(end) else {
            break;
        };
        reader.event(event, scratch);
        rest = after;
    }
    reader.finish()
}

/// Nobody waits, so nobody cuts it short; its deadlines end it.
struct NoInterrupt;

impl Interrupt for NoInterrupt {
    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<Interruption> {
        Poll::Pending
    }
}
