//! Repeats a request in the background: one attempt at one target, whose response is only compared. It must not know
//! what the comparison is for.

use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_events::ResponseCollector;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::attempt::attempt_guard::{AttemptGuard, Turn};
use crate::gateway::attempt::attempt_plan::ClientBody;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::response_body::{BodyLimits, read_to_end};
use crate::gateway::attempt::response_head::read_head;
use crate::gateway::attempt::translate;
use crate::gateway::attempt::translate::TranslationInput;
use crate::gateway::core::Core;
use crate::gateway::experiments::sampled_request::SampledRequest;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::{Backend, TargetRoute};
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::gateway::transform::translate_body;
use crate::http::head::ResponseHead;
use crate::http::sse::SseSplitter;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::json::splice::Edit;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation};
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::registry::PROVIDERS;
use crate::protocols::status_class::StatusClass;
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::routing::indices::KeyIndex;
use crate::routing::target_ref::TargetRef;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::NoInterrupt;
use crate::upstream::exchange::exchange;
use std::ops::Range;

/// Bytes of the largest response that is read: comparing longer ones says nothing.
pub(crate) const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The API whose responses can be compared.
const COMPARABLE_API: &str = "openai";

/// A copy of the request.
pub(crate) struct ReplayRequest {
    /// The body, as providers may see it.
    pub body: Vec<u8>,
    /// Where the model's name is in the body.
    pub model_range: Range<usize>,
    /// Makes the provider report the usage of a stream.
    pub usage_edit: Option<Edit>,
    pub streams: bool,
    pub client_api: &'static dyn ClientApi,
}

/// A response that was read to its end.
struct ReceivedResponse {
    status: u16,
    is_stream: bool,
    body: Vec<u8>,
}

/// Whether the responses of a provider to a client of this API can be compared.
#[must_use]
pub(crate) fn is_comparable(client_api: &dyn ClientApi, backend: &Provider) -> bool {
    client_api.name() == COMPARABLE_API && backend.dialect.native_client_api() == COMPARABLE_API
}

/// The APIs of providers whose responses can be compared at all.
#[must_use]
pub(crate) fn comparable() -> Vec<&'static str> {
    let comparable = PROVIDERS
        .iter()
        .filter(|api| api.native_client_api() == COMPARABLE_API);
    comparable.map(|api| api.name()).collect()
}

impl ReplayRequest {
    #[must_use]
    pub(crate) fn new(request: &SampledRequest<'_>) -> Self {
        let chat = request.chat;
        Self {
            body: request.body.to_vec(),
            model_range: chat.model_range.clone(),
            usage_edit: chat.usage_edit.clone(),
            streams: chat.stream,
            client_api: request.client_api,
        }
    }

    /// Makes one attempt. `None` when its response cannot be compared.
    pub(crate) async fn send(
        &self,
        core: &Core,
        target: &TargetRoute,
        target_ref: &TargetRef,
        headers: &ForwardedHeaders,
    ) -> Option<CachedResponse> {
        let Backend::Remote(backend) = &target.backend else {
            return None;
        };
        let is_full = attempt_guard::is_full(core, target_ref);
        if is_full || !attempt_guard::may_try(core, target_ref, Turn::First) {
            return None;
        }
        let mut attempt_guard = AttemptGuard::begin(core, target.label, target_ref, None);
        let key_index = attempt_guard.key_index();
        let request = self.encode(core, target, backend, headers, key_index)?;
        let received = exchange_whole(core, backend, request).await;
        let outcome = received.as_ref().map_or(Outcome::Abandoned, |response| {
            let selects = headers.selects(self.is_native(backend));
            classify::health_of_status(StatusClass::of(response.status), None, selects)
        });
        attempt_guard.end(core, outcome);
        let label = if received.is_some() {
            AttemptOutcome::Mirror
        } else {
            AttemptOutcome::MirrorFailed
        };
        core.metrics
            .borrow_mut()
            .upstream
            .attempts
            .increment((target.label, label));
        let response = received.filter(|response| response.status == 200)?;
        read_response(core, backend.dialect, &response).ok()
    }

    /// Whether the provider has the client's API.
    fn is_native(&self, backend: &Provider) -> bool {
        backend.dialect.native_client_api() == self.client_api.name()
    }

    fn encode(
        &self,
        core: &Core,
        target: &TargetRoute,
        backend: &Provider,
        headers: &ForwardedHeaders,
        key_index: KeyIndex,
    ) -> Option<Vec<u8>> {
        let mut unsupported = UnsupportedFields::new(backend.drops_unsupported_fields);
        let input = TranslationInput {
            backend,
            dialect: backend.dialect,
            body: ClientBody {
                client_api: self.client_api,
                bytes: &self.body,
                model_range: &self.model_range,
                usage_edit: self.usage_edit.as_ref(),
                streams: self.streams,
            },
            model: &target.model,
        };
        let encoded_body =
            translate::encode_chat(&input, &mut unsupported, &mut core.scratch.borrow_mut())
                .ok()?;
        let forwarded_headers = headers.lines(self.is_native(backend));
        let held = backend.held();
        let auth = backend.auth(held.as_deref(), key_index).ok()?;
        let mut request = buffer::take(self.body.len() + forwarded_headers.len() + 1024);
        backend.dialect.encode(
            &OutgoingRequest {
                call: UpstreamOperation::Chat,
                streams: self.streams,
                body: encoded_body.body(backend, &input.body),
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

/// Exchanges a request, and reads the response to its end.
async fn exchange_whole(
    core: &Core,
    backend: &Provider,
    request: Vec<u8>,
) -> Option<ReceivedResponse> {
    let (endpoint, watch) = (&backend.endpoint, &mut NoInterrupt);
    let is_stream = |head: &ResponseHead<'_>| read_head(head).is_event_stream;
    let until = clock::now() + endpoint.timeouts.first_byte;
    let (outcome, request, _) =
        exchange(endpoint, Some(&core.pool), request, until, watch, is_stream).await;
    buffer::give(request);
    let mut upstream_response = outcome.ok()?;
    let mut body = Vec::new();
    let limits = BodyLimits {
        bytes_max: BODY_BYTES_MAX,
        read_timeout: endpoint.timeouts.read,
        deadline: None,
    };
    let mut reservation = core.response_memory.reservation();
    let read = read_to_end(
        &mut upstream_response,
        &mut body,
        &mut reservation,
        limits,
        &mut NoInterrupt,
    )
    .await;
    read.ok()?;
    Some(ReceivedResponse {
        status: upstream_response.status,
        is_stream: upstream_response.finish(endpoint, &core.pool),
        body,
    })
}

fn read_response(
    core: &Core,
    provider: &dyn ProviderApi,
    response: &ReceivedResponse,
) -> Result<CachedResponse, NotStored> {
    let (body, is_stream) = (response.body.as_slice(), response.is_stream);
    let mut scratch = core.scratch.borrow_mut();
    match (provider.native_client_api() == COMPARABLE_API, is_stream) {
        (true, false) => CachedResponse::from_whole(body, usage::in_response(body), &mut scratch),
        (false, false) => {
            translate_body::read_provider_response(provider, 200, body, &mut scratch).cacheable
        }
        (true, true) => read_events(body, &mut scratch),
        (false, true) => {
            let collector = ResponseCollector::new(BODY_BYTES_MAX);
            let mut relay = NeutralRelay::new(provider.decoder(), None, Some(collector));
            let mut unused = Vec::with_capacity(body.len());
            let fed = relay.feed(&mut body.to_vec(), &mut unused, &mut scratch);
            relay.end(&mut unused, &mut scratch);
            fed.map_err(|_| NotStored::TooLarge)?;
            relay
                .take_collector()
                .ok_or(NotStored::NotAResponse)?
                .finish()
        }
    }
}

/// Reads a stream in OpenAI's format.
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
