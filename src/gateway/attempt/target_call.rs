//! One target is asked: the request in its dialect, the exchange, and its answer as far as it is needed
//! to judge it. It must not know which target comes next (`attempt.rs`).

use crate::auth::response_ids::ResponseIdSeal;
use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::response::{
    AttemptResult, BufferedResponse, RESPONSE_BYTES_MAX, StreamingResponse,
};
use crate::gateway::attempt::response_body::ResponseBodyError;
use crate::gateway::attempt::response_head::{UpstreamHead, read_head};
use crate::gateway::attempt::translate;
use crate::gateway::attempt::translate::{EncodedBody, TranslationInput};
use crate::gateway::core::Core;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::TargetRoute;
use crate::gateway::transform::first_event::{StreamInspector, begins_with_error};
use crate::gateway::transform::id_sealing;
use crate::gateway::transform::id_sealing::IdSealer;
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::gateway::transform::translate_body;
use crate::observability::metrics::upstream::AttemptOutcome;
use crate::protocols::client_api::ResponseContext;
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;
use crate::protocols::outgoing_request::{OutgoingRequest, UpstreamOperation};
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::provider_refusals::refusal;
use crate::protocols::status_class::{StatusClass, is_overload};
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::routing::indices::KeyIndex;
use crate::routing::limiter::Work;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::source::BodyProgress;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::{UpstreamError, UpstreamResponse, exchange};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One target, about to be asked.
pub(crate) struct TargetCall<'a> {
    /// The core.
    pub core: &'a Core,
    /// The target.
    pub target: &'a TargetRoute,
    /// Its provider.
    pub backend: &'a Arc<Provider>,
    /// What is asked.
    pub plan: &'a AttemptPlan<'a>,
    /// How long the first bytes of a stream are held.
    pub hold: Duration,
    /// The policy goes by tokens per second.
    pub measures_rate: bool,
}

/// Bytes of a stream that are held at most; then it is relayed, however early.
pub(crate) const HOLD_BYTES_MAX: usize = 256 * 1024;

/// What asking one target took.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    /// Attempts.
    pub attempts: u32,
    /// Time spent waiting for it.
    pub waited: Duration,
    /// From the request sent to its first byte.
    pub first_byte: Option<Duration>,
    /// Fields of the request that its dialect has no place for, and that were dropped.
    pub dropped: Option<String>,
}

impl TargetCall<'_> {
    /// The dialect in which it is asked.
    pub(crate) fn dialect(&self) -> &'static dyn ProviderApi {
        let client_api = self.plan.body.client_api.name();
        let responses =
            (self.backend.responses).filter(|api| api.native_client_api() == client_api);
        responses.unwrap_or(self.backend.dialect)
    }

    /// Whether the provider takes the request in the client's own dialect.
    pub(crate) fn is_native(&self) -> bool {
        let (plan, dialect) = (self.plan, self.dialect());
        plan.operation != UpstreamOperation::Chat
            || dialect.native_client_api() == plan.body.client_api.name()
    }

    /// The request in the provider's dialect, with the key of this lane.
    fn request(
        &self,
        key_index: KeyIndex,
        spent: &mut Spent,
    ) -> Result<Vec<u8>, Box<AttemptError>> {
        let (plan, backend) = (self.plan, self.backend);
        let operation = plan.operation;
        let counts_tokens = operation != UpstreamOperation::CountTokens
            || self.dialect().native_client_api() == plan.body.client_api.name();
        if !counts_tokens || !self.dialect().supports(operation) {
            let failed = attempt_error::unsupported_operation(self.target, operation);
            return Err(Box::new(failed));
        }
        let held = backend.held();
        let auth = backend.auth(held.as_deref(), key_index);
        let auth = auth.map_err(|why| self.without_credentials(why))?;
        let is_native = self.is_native();
        let encoded_body = self.encoded_body(spent)?;
        let body = encoded_body.body(backend, &plan.body);
        let forwarded_headers = plan.scope.forwarded_headers.lines(is_native);
        let length = plan.body.bytes.len().max(encoded_body.own_bytes());
        let mut request = buffer::take(length + forwarded_headers.len() + 1024);
        self.dialect().encode(
            &OutgoingRequest {
                call: operation,
                streams: plan.body.streams,
                body,
                model: &self.target.model,
                base_path: &backend.endpoint.url.path,
                api_version: backend.api_version.as_deref(),
                authority: &backend.endpoint.url.authority,
                auth,
                forwarded_headers,
            },
            &mut request,
        );
        if let EncodedBody::Translated(bytes) = encoded_body {
            buffer::give(bytes);
        }
        Ok(request)
    }

    fn encoded_body(&self, spent: &mut Spent) -> Result<EncodedBody, Box<AttemptError>> {
        let (plan, backend) = (self.plan, self.backend);
        if plan.operation != UpstreamOperation::Chat {
            return Ok(EncodedBody::Unchanged);
        }
        let mut unsupported = UnsupportedFields::new(backend.drops_unsupported_fields);
        let input = TranslationInput {
            backend,
            dialect: self.dialect(),
            body: plan.body,
            model: &self.target.model,
        };
        let mut scratch = self.core.scratch.borrow_mut();
        let encoded = translate::encode_chat(&input, &mut unsupported, &mut scratch);
        spent.dropped = unsupported.header();
        encoded.map_err(|error| Box::new(attempt_error::unsupported(self.target, error)))
    }

    /// The failure of a target that nothing can be sent to: it costs nothing, and says nothing of its health.
    fn without_credentials(&self, why: String) -> Box<AttemptError> {
        let fault = UpstreamError::NoCredentials(why);
        self.count(classify::outcome_of_error(&fault));
        Box::new(attempt_error::exchange_failed(self.backend, &fault))
    }

    /// Once, and once more on a fresh connection if a reused one had died.
    pub(crate) async fn attempt(
        &self,
        mut attempt_guard: AttemptGuard,
        watch: &mut ClientWatch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<AttemptResult, AttemptError> {
        let Self {
            core,
            backend,
            plan,
            ..
        } = *self;
        let until = plan.scope.deadline.by;
        let mut request = self
            .request(attempt_guard.key_index(), spent)
            .map_err(|failed| *failed)?;
        let mut fresh = false;
        loop {
            spent.attempts += 1;
            let sent_at = clock::recent();
            let (endpoint, pool) = (&backend.endpoint, (!fresh).then_some(&core.pool));
            let (outcome, returned, used) =
                exchange(endpoint, pool, request, until, watch, read_head).await;
            request = returned;
            {
                let mut metrics = core.metrics.borrow_mut();
                if used.reused {
                    metrics.upstream.reuses.increment();
                } else {
                    metrics.upstream.connects.increment();
                }
            }
            attempt_guard.sent(core, sent_at, used.connect);
            match outcome {
                Ok(upstream_response) => {
                    buffer::give(request);
                    let waited = upstream_response
                        .first_byte_at
                        .saturating_duration_since(sent_at);
                    spent.waited += waited;
                    spent.first_byte = Some(waited);
                    return self
                        .read_reply(attempt_guard, upstream_response, watch, spent)
                        .await;
                }
                Err(fault) => {
                    spent.waited += clock::now().saturating_duration_since(sent_at);
                    if !matches!(fault, UpstreamError::Interrupted(_))
                        && plan.scope.deadline.is_over()
                    {
                        self.count(AttemptOutcome::Deadline);
                        buffer::give(request);
                        // The time was the request's, not the target's: only how long it was counts.
                        attempt_guard.waited(core, plan.series());
                        attempt_guard.end(core, Outcome::Abandoned);
                        return Err(attempt_error::deadline_exceeded(
                            backend,
                            &fault,
                            &plan.scope.deadline,
                        ));
                    }
                    self.count(classify::outcome_of_error(&fault));
                    if fault.retry() == Retry::OnFreshConnection && !fresh {
                        fresh = true;
                        continue;
                    }
                    buffer::give(request);
                    attempt_guard.waited(core, plan.series());
                    attempt_guard.end(core, classify::health_of_error(&fault));
                    return Err(attempt_error::exchange_failed(backend, &fault));
                }
            }
        }
    }

    fn count(&self, outcome: AttemptOutcome) {
        let mut metrics = self.core.metrics.borrow_mut();
        metrics
            .upstream
            .attempts
            .increment((self.target.label, outcome));
    }

    /// The answer's head is there: a stream is handed on with its first bytes, anything else read
    /// whole.
    async fn read_reply(
        &self,
        mut attempt_guard: AttemptGuard,
        mut upstream_response: UpstreamResponse<UpstreamHead>,
        watch: &mut ClientWatch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<AttemptResult, AttemptError> {
        let Self {
            core,
            target,
            backend,
            plan,
            ..
        } = *self;
        let class = self.dialect().classify_status(upstream_response.status);
        let is_readable = self.is_native() || !upstream_response.head.is_encoded;
        let is_stream =
            class == StatusClass::Ok && is_readable && self.flows(&upstream_response.head);
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        let began_at = clock::recent();
        let mut read = self
            .read_until(&mut upstream_response, &mut body, is_stream, watch)
            .await;
        if let (true, Ok(is_done)) = (is_stream, &read) {
            attempt_guard.began(core, plan.body.bytes.len());
            read = self
                .hold(&mut upstream_response, &mut body, *is_done, watch)
                .await;
        }
        spent.waited += clock::recent().saturating_duration_since(began_at);
        let is_done = match read {
            Ok(is_done) => is_done,
            Err(broken) => {
                self.count(broken.outcome());
                attempt_guard.end(core, broken.health());
                return Err(attempt_error::incomplete_response(
                    backend,
                    &broken,
                    &plan.scope.deadline,
                ));
            }
        };
        let seal = self.seal(attempt_guard.key_index());
        if is_stream {
            self.count(AttemptOutcome::Status(StatusClass::Ok));
            return Ok(AttemptResult::Stream(Box::new(StreamingResponse {
                target: target.label,
                backend: Arc::clone(backend),
                attempt_guard,
                upstream_response,
                first: body,
                is_done,
                translation: self.translation(),
                id_sealer: seal.map(|seal| Box::new(IdSealer::new(seal))),
            })));
        }
        self.judge(attempt_guard, upstream_response, (body, seal), class)
            .map_err(|failed| *failed)
    }

    /// Whether a good answer is passed on as it comes: what is JSON can be judged when it is complete.
    fn flows(&self, head: &UpstreamHead) -> bool {
        match self.plan.operation {
            UpstreamOperation::Passthrough(_) => !head.is_json,
            _ => self.plan.body.streams && head.is_event_stream,
        }
    }

    /// A whole answer is there: it is passed on, or it is a failure.
    // Either result holds a whole answer, so neither is larger.
    #[allow(clippy::result_large_err)]
    fn judge(
        &self,
        mut attempt_guard: AttemptGuard,
        mut upstream_response: UpstreamResponse<UpstreamHead>,
        (body, seal): (Vec<u8>, Option<ResponseIdSeal>),
        mut class: StatusClass,
    ) -> Result<AttemptResult, Box<AttemptError>> {
        let Self {
            core,
            target,
            backend,
            ..
        } = *self;
        let status = upstream_response.status;
        if class != StatusClass::Ok {
            let detail = self.dialect().read_error_detail(status, &body);
            class = self.dialect().classify_status(detail.status);
            upstream_response.head.take_wait(detail.retry_after);
        }
        let health = classify::health_of_status(class, upstream_response.head.wait);
        let is_json =
            (upstream_response.head.is_encoded && self.is_native()) || looks_like_json(&body);
        let head = upstream_response.finish(&backend.endpoint, &core.pool);
        if !is_json {
            self.count(AttemptOutcome::NotJson);
            let is_good = health == Outcome::Good;
            attempt_guard.end(core, if is_good { Outcome::Unusable } else { health });
            return Err(Box::new(attempt_error::not_json(
                backend,
                status,
                class.retry(),
            )));
        }
        self.count(AttemptOutcome::Status(class));
        if class == StatusClass::Ok {
            self.measure(&mut attempt_guard, &body);
        } else if is_overload(status) {
            attempt_guard.record_overload(core);
        }
        attempt_guard.end(core, health);
        let response = BufferedResponse {
            target: target.label,
            status,
            head,
            refusal: refusal(status, &body),
            body,
        };
        let mut response = self.in_callers_dialect(response)?;
        self.hide_ids(seal.as_ref(), &mut response);
        if class.retry() == Retry::Never {
            return Ok(AttemptResult::Whole(response));
        }
        Err(Box::new(AttemptError {
            error: GatewayError::new(ErrorCode::UpstreamError, "the provider failed"),
            detail: format!("{}: status {status}", backend.provider),
            response: Some(response),
        }))
    }

    /// What routing learns of a good whole answer. Its tokens are read only where something goes by them.
    fn measure(&self, attempt_guard: &mut AttemptGuard, body: &[u8]) {
        let (core, plan) = (self.core, self.plan);
        attempt_guard.measure(core, plan.series());
        let is_limited = attempt_guard.is_limited();
        if !self.measures_rate && !is_limited {
            return;
        }
        let usage = usage::in_response(body);
        if let Some(usage) = usage.filter(|_| self.measures_rate) {
            let sent_at = attempt_guard.sent_at();
            attempt_guard.generated(plan.series(), usage.completion, sent_at);
        }
        let tokens = usage.map_or(0, |usage| usage.completion);
        attempt_guard.record_success(core, Work::whole(plan.body.bytes.len(), tokens));
    }

    /// A whole answer, as the caller's dialect says it.
    fn in_callers_dialect(
        &self,
        mut response: BufferedResponse,
    ) -> Result<BufferedResponse, Box<AttemptError>> {
        let has_own_errors = self.backend.kind.is_some_and(|kind| kind.own_errors);
        if self.is_native() && (response.status < 400 || !has_own_errors) {
            return Ok(response);
        }
        if self.plan.body.streams && response.status < 400 {
            return Err(Box::new(attempt_error::not_a_stream(self.backend)));
        }
        // Those errors are the provider's at all of its endpoints, whatever dialect this one speaks.
        let dialect = match has_own_errors && response.status >= 400 {
            true => self.backend.dialect,
            false => self.dialect(),
        };
        let client_api = self.plan.body.client_api;
        let (status, mut response_ctx) = (response.status, self.response_ctx());
        let mut scratch = self.core.scratch.borrow_mut();
        response_ctx
            .error_kind
            .clone_from(&response.head.error_kind);
        match translate_body::translate_response(
            client_api,
            dialect,
            status,
            &response.body,
            &response_ctx,
            &mut scratch,
        ) {
            Ok((status, body)) => {
                response.status = status;
                buffer::give(std::mem::replace(&mut response.body, body));
                Ok(response)
            }
            Err(fault) => Err(Box::new(attempt_error::unsupported(self.target, fault))),
        }
    }

    /// What seals the ids of what the provider keeps of its answer.
    fn seal(&self, key_index: KeyIndex) -> Option<ResponseIdSeal> {
        let stored_responses = self.plan.scope.constraints.stored_responses.as_ref();
        stored_responses
            .filter(|_| self.is_native())?
            .seal(self.backend, key_index)
    }

    /// Seals the ids in a whole answer.
    fn hide_ids(&self, seal: Option<&ResponseIdSeal>, response: &mut BufferedResponse) {
        let stored_responses = self.plan.scope.constraints.stored_responses.as_ref();
        let previous = stored_responses.and_then(|stored| stored.previous.as_ref());
        if let Some(seal) = seal {
            let mut scratch = self.core.scratch.borrow_mut();
            let id = previous.map(|previous| previous.id.as_str());
            id_sealing::hide_ids(seal, id, response.status, &mut response.body, &mut scratch);
        }
    }

    /// What puts a stream into the caller's dialect.
    fn translation(&self) -> Option<Box<NeutralRelay>> {
        (!self.is_native()).then(|| {
            let encoder = self.plan.body.client_api.encoder(self.response_ctx());
            let decoder = self.dialect().decoder();
            let relay = NeutralRelay::new(decoder, Some(encoder), None);
            Box::new(relay.with_model(self.target.model.clone()))
        })
    }

    /// What writers of answers are told. Usage is always asked for; who did not ask is not shown it.
    fn response_ctx(&self) -> ResponseContext {
        let scratch = &mut self.core.scratch.borrow_mut();
        ResponseContext {
            echoed_fields: self
                .plan
                .body
                .client_api
                .echoed_fields(self.plan.body.bytes, scratch),
            request_id: self.plan.scope.forwarded_headers.request_id().to_owned(),
            created: clock::since_epoch().as_secs(),
            wants_usage: true,
            model: self.target.model.clone(),
            error_kind: None,
        }
    }

    /// Reads the body: all of it, or of a stream the first piece. True when it is complete.
    async fn read_until(
        &self,
        upstream_response: &mut UpstreamResponse<UpstreamHead>,
        body: &mut Vec<u8>,
        first_only: bool,
        watch: &mut ClientWatch<'_, '_>,
    ) -> Result<bool, ResponseBodyError> {
        let deadline = &self.plan.scope.deadline;
        loop {
            let by: Instant = deadline
                .by
                .min(clock::recent() + self.backend.endpoint.timeouts.read);
            match upstream_response.read(body, by, watch).await {
                Ok(BodyProgress::Done) => return Ok(true),
                Ok(BodyProgress::More) if first_only => return Ok(false),
                Ok(BodyProgress::More) if body.len() > RESPONSE_BYTES_MAX => {
                    return Err(ResponseBodyError::TooLarge);
                }
                Ok(BodyProgress::More) => {}
                Err(UpstreamBodyError::Stalled) if deadline.is_over() => {
                    return Err(ResponseBodyError::Deadline);
                }
                Err(fault) => return Err(ResponseBodyError::Body(fault)),
            }
        }
    }

    /// Holds the first bytes of a stream for as long as is configured: a failure that shows meanwhile
    /// is none of the client's. True when the body is complete.
    async fn hold(
        &self,
        upstream_response: &mut UpstreamResponse<UpstreamHead>,
        body: &mut Vec<u8>,
        mut is_done: bool,
        watch: &mut ClientWatch<'_, '_>,
    ) -> Result<bool, ResponseBodyError> {
        if !upstream_response.head.is_event_stream {
            return Ok(is_done);
        }
        if self.hold.is_zero() {
            let failed = begins_with_error(self.dialect(), body);
            return if failed {
                Err(ResponseBodyError::Stream("error event"))
            } else {
                Ok(is_done)
            };
        }
        let until = self.plan.scope.deadline.by.min(clock::now() + self.hold);
        let mut inspector = StreamInspector::new(self.dialect());
        loop {
            inspector.inspect(body, is_done);
            if inspector.has_failed() {
                return Err(ResponseBodyError::Stream("error event"));
            }
            if is_done && !inspector.is_complete() {
                return Err(ResponseBodyError::Stream("ended unfinished"));
            }
            if is_done || body.len() >= HOLD_BYTES_MAX || clock::now() >= until {
                return Ok(is_done);
            }
            match upstream_response.read(body, until, watch).await {
                Ok(piece) => is_done = piece == BodyProgress::Done,
                Err(UpstreamBodyError::Stalled) => return Ok(false),
                Err(fault) => return Err(ResponseBodyError::Body(fault)),
            }
        }
    }
}

/// Begins and ends as JSON does: an error page is not passed on, nor what was cut off.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let ends = (body.first(), body.last());
    matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}
