//! One target is asked: the request in its dialect, the exchange, and its answer as far as it is needed
//! to judge it. It must not know which target comes next (`attempt.rs`).

use crate::auth::response_ids::ResponseIdSeal;
use crate::error::{GatewayError, Retry};
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::attempt_loop::{
    ANSWER_BYTES_MAX, AttemptPlan, AttemptResult, BufferedResponse, StreamingResponse,
};
use crate::gateway::attempt::classify;
use crate::gateway::attempt::classify::{AttemptError, ResponseBodyError};
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::response_head::{UpstreamHead, reply_head};
use crate::gateway::attempt::translate::EncodedBody;
use crate::gateway::core::Core;
use crate::gateway::endpoints::stored_responses;
use crate::gateway::snapshot::{Provider, TargetRoute};
use crate::gateway::streaming::first_event::{Probe, begins_with_an_error};
use crate::gateway::streaming::id_sealing::Sealing;
use crate::gateway::streaming::neutral_relay::NeutralRelay;
use crate::gateway::streaming::translate_body;
use crate::observability::metrics::core_metrics::count;
use crate::protocols::client_api::ResponseContext;
use crate::protocols::provider_api::{
    OutgoingRequest, ProviderApi, StatusClass, UpstreamOperation,
};
use crate::protocols::refusal::refusal;
use crate::protocols::usage;
use crate::routing::health::Outcome;
use crate::routing::limiter::Work;
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::upstream::exchange::{Piece, UpstreamBodyError};
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
    pub site: &'a Arc<Provider>,
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
        let by_face = self.site.responses;
        let by_face = by_face.filter(|one| one.native() == self.plan.face.name());
        by_face.unwrap_or(self.site.dialect)
    }

    /// Whether the provider takes the request in the client's own dialect.
    pub(crate) fn is_native(&self) -> bool {
        let (plan, dialect) = (self.plan, self.dialect());
        plan.call != UpstreamOperation::Chat || dialect.native() == plan.face.name()
    }

    /// The request in the provider's dialect, with the key of this lane.
    fn request(&self, lane: usize, spent: &mut Spent) -> Result<Vec<u8>, Box<AttemptError>> {
        let (plan, site) = (self.plan, self.site);
        let speaks = plan.call != UpstreamOperation::CountTokens
            || self.dialect().native() == plan.face.name();
        if !speaks || !self.dialect().takes(plan.call) {
            return Err(Box::new(classify::no_such_call(self.target, plan.call)));
        }
        let held = site.held();
        let auth = site.auth(held.as_deref(), lane);
        let auth = auth.map_err(|why| self.without_credentials(why))?;
        let is_native = self.is_native();
        let worded = self.worded(spent)?;
        let own = (plan.body, plan.model_range, plan.usage_edit);
        let body = worded.body(site, own);
        let passed_headers = plan.passed_headers.lines(is_native);
        let length = plan.body.len().max(worded.own_bytes());
        let mut request = buffer::take(length + passed_headers.len() + 1024);
        self.dialect().encode(
            &OutgoingRequest {
                call: plan.call,
                streams: plan.streams,
                body,
                model: &self.target.model,
                base_path: &site.endpoint.url.path,
                api_version: site.api_version.as_deref(),
                authority: &site.endpoint.url.authority,
                auth,
                passed_headers,
            },
            &mut request,
        );
        if let EncodedBody::Written(bytes) = worded {
            buffer::give(bytes);
        }
        Ok(request)
    }

    /// The failure of a target that nothing can be sent to: it costs nothing, and says nothing of its health.
    fn without_credentials(&self, why: String) -> Box<AttemptError> {
        let fault = UpstreamError::NoCredentials(why);
        self.tally(fault.outcome());
        Box::new(classify::failed(self.site, &fault))
    }

    /// Once, and once more on a fresh connection if a reused one had died.
    pub(crate) async fn attempt(
        &self,
        mut underway: AttemptGuard,
        watch: &mut ClientWatch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<AttemptResult, AttemptError> {
        let Self {
            core, site, plan, ..
        } = *self;
        let until = plan.patience.by;
        let mut request = self
            .request(underway.lane(), spent)
            .map_err(|failed| *failed)?;
        let mut fresh = false;
        loop {
            spent.attempts += 1;
            let sent_at = clock::recent();
            let (endpoint, pool) = (&site.endpoint, &core.pool);
            let (outcome, returned, used) =
                exchange(endpoint, pool, request, fresh, until, watch, reply_head).await;
            request = returned;
            {
                let mut metrics = core.metrics.borrow_mut();
                if used.reused {
                    metrics.upstream_reuses += 1;
                } else {
                    metrics.upstream_connects += 1;
                }
            }
            underway.sent(core, sent_at, used.connect);
            match outcome {
                Ok(reply) => {
                    buffer::give(request);
                    let waited = reply.first_byte_at.saturating_duration_since(sent_at);
                    spent.waited += waited;
                    spent.first_byte = Some(waited);
                    return self.read_reply(underway, reply, watch, spent).await;
                }
                Err(fault) => {
                    spent.waited += clock::now().saturating_duration_since(sent_at);
                    if !matches!(fault, UpstreamError::Interrupted(_)) && plan.patience.is_over() {
                        self.tally("deadline");
                        buffer::give(request);
                        // The time was the request's, not the target's: only how long it was counts.
                        underway.waited(core, plan.series());
                        underway.end(core, Outcome::Abandoned);
                        return Err(classify::late(site, &fault, &plan.patience));
                    }
                    self.tally(fault.outcome());
                    if fault.retry() == Retry::OnFreshConnection && !fresh {
                        fresh = true;
                        continue;
                    }
                    buffer::give(request);
                    underway.waited(core, plan.series());
                    underway.end(core, classify::outcome_of_fault(&fault));
                    return Err(classify::failed(site, &fault));
                }
            }
        }
    }

    fn tally(&self, outcome: &'static str) {
        let mut metrics = self.core.metrics.borrow_mut();
        count(&mut metrics.attempts, (self.target.label, outcome));
    }

    /// The answer's head is there: a stream is handed on with its first bytes, anything else read
    /// whole.
    async fn read_reply(
        &self,
        mut underway: AttemptGuard,
        mut reply: UpstreamResponse<UpstreamHead>,
        watch: &mut ClientWatch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<AttemptResult, AttemptError> {
        let Self {
            core,
            target,
            site,
            plan,
            ..
        } = *self;
        let verdict = self.dialect().judge(reply.status);
        let is_readable = self.is_native() || !reply.head.is_encoded;
        let is_stream = verdict.outcome == "ok" && is_readable && self.flows(&reply.head);
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        let began_at = clock::recent();
        let mut read = self
            .read_until(&mut reply, &mut body, is_stream, watch)
            .await;
        if let (true, Ok(is_done)) = (is_stream, &read) {
            underway.began(core, plan.body.len());
            read = self.hold(&mut reply, &mut body, *is_done, watch).await;
        }
        spent.waited += clock::recent().saturating_duration_since(began_at);
        let is_done = match read {
            Ok(is_done) => is_done,
            Err(broken) => {
                self.tally(broken.outcome());
                underway.end(core, broken.lesson());
                return Err(classify::broken_answer(site, &broken, &plan.patience));
            }
        };
        let seal = self.seal(underway.lane());
        if is_stream {
            self.tally("ok");
            return Ok(AttemptResult::Stream(Box::new(StreamingResponse {
                target: target.label,
                site: Arc::clone(site),
                underway,
                reply,
                first: body,
                is_done,
                translation: self.translation(),
                sealing: seal.map(|seal| Box::new(Sealing::new(seal))),
            })));
        }
        self.judge(underway, reply, (body, seal), verdict)
            .map_err(|failed| *failed)
    }

    /// Whether a good answer is passed on as it comes: what is JSON can be judged when it is complete.
    fn flows(&self, head: &UpstreamHead) -> bool {
        match self.plan.call {
            UpstreamOperation::Passed(_) => !head.is_json,
            _ => self.plan.streams && head.is_event_stream,
        }
    }

    /// A whole answer is there: it is passed on, or it is a failure.
    // Either result holds a whole answer, so neither is larger.
    #[allow(clippy::result_large_err)]
    fn judge(
        &self,
        mut underway: AttemptGuard,
        mut reply: UpstreamResponse<UpstreamHead>,
        (body, seal): (Vec<u8>, Option<ResponseIdSeal>),
        mut verdict: StatusClass,
    ) -> Result<AttemptResult, Box<AttemptError>> {
        let Self {
            core, target, site, ..
        } = *self;
        let status = reply.status;
        let mut means = status;
        if verdict.outcome != "ok" {
            let refused = self.dialect().refused(status, &body);
            verdict = self.dialect().judge(refused.status);
            means = refused.status;
            reply.head.take_wait(refused.wait);
        }
        let outcome = match verdict.outcome {
            "server_error" => Outcome::ServerError,
            _ => classify::outcome_of(means, reply.head.wait),
        };
        let is_json = (reply.head.is_encoded && self.is_native()) || looks_like_json(&body);
        let head = reply.finish(&site.endpoint, &core.pool);
        if !is_json {
            self.tally("not_json");
            let is_good = outcome == Outcome::Good;
            underway.end(core, if is_good { Outcome::Unusable } else { outcome });
            return Err(Box::new(classify::not_json(site, status, verdict.retry)));
        }
        self.tally(verdict.outcome);
        if verdict.outcome == "ok" {
            self.measure(&mut underway, &body);
        } else if is_overload(status) {
            underway.overloaded(core);
        }
        underway.end(core, outcome);
        let answer = BufferedResponse {
            target: target.label,
            status,
            head,
            refusal: refusal(status, &body),
            body,
        };
        let mut answer = self.in_callers_dialect(answer)?;
        self.hide_ids(seal.as_ref(), &mut answer);
        if verdict.retry == Retry::Never {
            return Ok(AttemptResult::Whole(answer));
        }
        Err(Box::new(AttemptError {
            fault: GatewayError::upstream(502, "upstream_error", "the provider failed"),
            detail: format!("{}: status {status}", site.provider),
            answer: Some(answer),
        }))
    }

    /// What routing learns of a good whole answer. Its tokens are read only where something goes by them.
    fn measure(&self, underway: &mut AttemptGuard, body: &[u8]) {
        let (core, plan) = (self.core, self.plan);
        underway.measure(core, plan.series());
        let is_limited = underway.is_limited();
        if !self.measures_rate && !is_limited {
            return;
        }
        let usage = usage::in_answer(body);
        if let Some(usage) = usage.filter(|_| self.measures_rate) {
            let sent_at = underway.sent_at();
            underway.generated(plan.series(), usage.completion, sent_at);
        }
        let tokens = usage.map_or(0, |usage| usage.completion);
        underway.worked(core, Work::whole(plan.body.len(), tokens));
    }

    /// A whole answer, as the caller's dialect says it.
    fn in_callers_dialect(
        &self,
        mut answer: BufferedResponse,
    ) -> Result<BufferedResponse, Box<AttemptError>> {
        let has_own_errors = self.site.kind.is_some_and(|kind| kind.own_errors);
        if self.is_native() && (answer.status < 400 || !has_own_errors) {
            return Ok(answer);
        }
        if self.plan.streams && answer.status < 400 {
            return Err(Box::new(classify::no_stream(self.site)));
        }
        // Those errors are the provider's at all of its endpoints, whatever dialect this one speaks.
        let dialect = match has_own_errors && answer.status >= 400 {
            true => self.site.dialect,
            false => self.dialect(),
        };
        let face = self.plan.face;
        let (status, mut about) = (answer.status, self.about());
        let mut scratch = self.core.scratch.borrow_mut();
        about.error_kind.clone_from(&answer.head.error_kind);
        match translate_body::whole(face, dialect, status, &answer.body, &about, &mut scratch) {
            Ok((status, body)) => {
                answer.status = status;
                buffer::give(std::mem::replace(&mut answer.body, body));
                Ok(answer)
            }
            Err(fault) => Err(Box::new(classify::untranslatable(self.target, fault))),
        }
    }

    /// What seals the ids of what the provider keeps of its answer.
    fn seal(&self, lane: usize) -> Option<ResponseIdSeal> {
        let kept = self.plan.steer.kept.as_ref();
        kept.filter(|_| self.is_native())?.seal(self.site, lane)
    }

    /// Seals the ids in a whole answer.
    fn hide_ids(&self, seal: Option<&ResponseIdSeal>, answer: &mut BufferedResponse) {
        let previous = self.plan.steer.kept.as_ref();
        let previous = previous.and_then(|kept| kept.previous.as_ref());
        if let Some(seal) = seal {
            let mut scratch = self.core.scratch.borrow_mut();
            let id = previous.map(|one| one.id.as_str());
            stored_responses::hide_ids(seal, id, answer.status, &mut answer.body, &mut scratch);
        }
    }

    /// What puts a stream into the caller's dialect.
    fn translation(&self) -> Option<Box<NeutralRelay>> {
        (!self.is_native()).then(|| {
            let encoder = self.plan.face.encoder(self.about());
            let decoder = self.dialect().decoder();
            let relay = NeutralRelay::new(decoder, Some(encoder), None);
            Box::new(relay.naming(self.target.model.clone()))
        })
    }

    /// What writers of answers are told. Usage is always asked for; who did not ask is not shown it.
    fn about(&self) -> ResponseContext {
        let scratch = &mut self.core.scratch.borrow_mut();
        ResponseContext {
            repeated: self.plan.face.repeated(self.plan.body, scratch),
            request_id: self.plan.passed_headers.request_id().to_owned(),
            created: clock::since_epoch().as_secs(),
            wants_usage: true,
            model: self.target.model.clone(),
            error_kind: None,
        }
    }

    /// Reads the body: all of it, or of a stream the first piece. True when it is complete.
    async fn read_until(
        &self,
        reply: &mut UpstreamResponse<UpstreamHead>,
        body: &mut Vec<u8>,
        first_only: bool,
        watch: &mut ClientWatch<'_, '_>,
    ) -> Result<bool, ResponseBodyError> {
        let patience = &self.plan.patience;
        loop {
            let by: Instant = patience
                .by
                .min(clock::recent() + self.site.endpoint.limits.read);
            match reply.read(body, by, watch).await {
                Ok(Piece::Done) => return Ok(true),
                Ok(Piece::More) if first_only => return Ok(false),
                Ok(Piece::More) if body.len() > ANSWER_BYTES_MAX => {
                    return Err(ResponseBodyError::TooLarge);
                }
                Ok(Piece::More) => {}
                Err(UpstreamBodyError::Stalled) if patience.is_over() => {
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
        reply: &mut UpstreamResponse<UpstreamHead>,
        body: &mut Vec<u8>,
        mut is_done: bool,
        watch: &mut ClientWatch<'_, '_>,
    ) -> Result<bool, ResponseBodyError> {
        if !reply.head.is_event_stream {
            return Ok(is_done);
        }
        if self.hold.is_zero() {
            let failed = begins_with_an_error(self.dialect(), body);
            return if failed {
                Err(ResponseBodyError::Stream("error event"))
            } else {
                Ok(is_done)
            };
        }
        let until = self.plan.patience.by.min(clock::now() + self.hold);
        let mut probe = Probe::new(self.dialect());
        loop {
            probe.look(body, is_done);
            if probe.has_failed() {
                return Err(ResponseBodyError::Stream("error event"));
            }
            if is_done && !probe.is_complete() {
                return Err(ResponseBodyError::Stream("ended unfinished"));
            }
            if is_done || body.len() >= HOLD_BYTES_MAX || clock::now() >= until {
                return Ok(is_done);
            }
            match reply.read(body, until, watch).await {
                Ok(piece) => is_done = piece == Piece::Done,
                Err(UpstreamBodyError::Stalled) => return Ok(false),
                Err(fault) => return Err(ResponseBodyError::Body(fault)),
            }
        }
    }
}

/// The provider says that it has too much to do: 503, and Anthropic's 529 (docs.anthropic.com, "Errors").
/// Not 429, which says when to come again, and that is kept to.
fn is_overload(status: u16) -> bool {
    matches!(status, 503 | 529)
}

/// Begins and ends as JSON does: an error page is not passed on, nor what was cut off.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let ends = (body.first(), body.last());
    matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}
