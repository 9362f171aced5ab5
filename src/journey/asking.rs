//! One target is asked: the request in its dialect, the exchange, and its answer as far as it is needed
//! to judge it. It must not know which target comes next (`attempt.rs`).

use super::attempt::{ANSWER_BYTES_MAX, Attempted, Plan, StreamAnswer, WholeAnswer};
use super::core::Core;
use super::failure::{self, Broken, Failed};
use super::snapshot::{RemoteSite, TargetRoute};
use super::underway::Underway;
use super::watch::Watch;
use crate::api::refusal::refusal;
use crate::api::usage;
use crate::error::{Fault, Retry};
use crate::http::encode;
use crate::http::head::ResponseHead;
use crate::providers::{Outgoing, Verdict};
use crate::relay::probe::{Probe, begins_with_an_error};
use crate::routing::health::Outcome;
use crate::routing::retry_after::retry_after;
use crate::runtime::{buffer, clock};
use crate::telemetry::metrics::count;
use crate::upstream::exchange::{BodyFault, Piece};
use crate::upstream::{Reply, UpstreamFault, exchange};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is taken from an answer's head.
pub struct ReplyHead {
    /// Encoded header lines that cross to the client.
    pub passed: Vec<u8>,
    is_event_stream: bool,
    is_encoded: bool,
    /// How long a 429 says to wait.
    wait: Option<Duration>,
}

/// One target, about to be asked.
pub struct Asking<'a> {
    /// The core.
    pub core: &'a Core,
    /// The target.
    pub target: &'a TargetRoute,
    /// Its provider.
    pub site: &'a Arc<RemoteSite>,
    /// What is asked.
    pub plan: &'a Plan<'a>,
    /// How long the first bytes of a stream are held.
    pub hold: Duration,
    /// The policy goes by tokens per second.
    pub measures_rate: bool,
}

/// Bytes of a stream that are held at most; then it is relayed, however early.
pub const HOLD_BYTES_MAX: usize = 256 * 1024;

/// What asking one target took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    /// Attempts.
    pub attempts: u32,
    /// Time spent waiting for it.
    pub waited: Duration,
    /// From the request sent to its first byte.
    pub first_byte: Option<Duration>,
}

impl Asking<'_> {
    /// The request in the provider's dialect, with the key of this lane.
    fn request(&self, lane: usize) -> Vec<u8> {
        let plan = self.plan;
        let api_key = self.site.api_keys.get(lane);
        let mut request = buffer::take(plan.body.len() + plan.passed_headers.len() + 1024);
        self.site.dialect.encode(
            &Outgoing {
                call: plan.call,
                body: plan.body,
                model_range: plan.model_range,
                usage_edit: plan.usage_edit,
                model: &self.target.model,
                base_path: &self.site.endpoint.url.path,
                authority: &self.site.endpoint.url.authority,
                api_key: api_key.map(|secret| secret.0.as_str()),
                passed_headers: &plan.passed_headers,
            },
            &mut request,
        );
        request
    }

    /// Once, and once more on a fresh connection if a reused one had died.
    pub async fn attempt(
        &self,
        mut underway: Underway,
        watch: &mut Watch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<Attempted, Failed> {
        let Self {
            core, site, plan, ..
        } = *self;
        let until = plan.patience.by;
        let mut request = self.request(underway.lane());
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
                    if !matches!(fault, UpstreamFault::Interrupted(_)) && plan.patience.is_over() {
                        self.tally("deadline");
                        buffer::give(request);
                        // The time was the request's, not the target's: only how long it was counts.
                        underway.waited(core, plan.series());
                        underway.end(core, Outcome::Abandoned);
                        return Err(failure::late(site, &fault, &plan.patience));
                    }
                    self.tally(fault.outcome());
                    if fault.retry() == Retry::OnFreshConnection && !fresh {
                        fresh = true;
                        continue;
                    }
                    buffer::give(request);
                    underway.waited(core, plan.series());
                    underway.end(core, failure::outcome_of_fault(&fault));
                    return Err(failure::failed(site, &fault));
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
        mut underway: Underway,
        mut reply: Reply<ReplyHead>,
        watch: &mut Watch<'_, '_>,
        spent: &mut Spent,
    ) -> Result<Attempted, Failed> {
        let Self {
            core,
            target,
            site,
            plan,
            ..
        } = *self;
        let verdict = site.dialect.judge(reply.status);
        let is_stream = plan.streams && verdict.outcome == "ok" && reply.head.is_event_stream;
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        let began_at = clock::recent();
        let mut read = self
            .read_until(&mut reply, &mut body, is_stream, watch)
            .await;
        if let (true, Ok(is_done)) = (is_stream, &read) {
            underway.began(core);
            read = self.hold(&mut reply, &mut body, *is_done, watch).await;
        }
        spent.waited += clock::recent().saturating_duration_since(began_at);
        let is_done = match read {
            Ok(is_done) => is_done,
            Err(broken) => {
                self.tally(broken.outcome());
                underway.end(core, broken.lesson());
                return Err(failure::broken_answer(site, &broken, &plan.patience));
            }
        };
        if is_stream {
            self.tally("ok");
            return Ok(Attempted::Stream(Box::new(StreamAnswer {
                target: target.label,
                site: Arc::clone(site),
                underway,
                reply,
                first: body,
                is_done,
            })));
        }
        self.judge(underway, reply, body, verdict)
    }

    /// A whole answer is there: it is passed on, or it is a failure.
    // Either result holds a whole answer, so neither is larger.
    #[allow(clippy::result_large_err)]
    fn judge(
        &self,
        mut underway: Underway,
        reply: Reply<ReplyHead>,
        body: Vec<u8>,
        verdict: Verdict,
    ) -> Result<Attempted, Failed> {
        let Self {
            core,
            target,
            site,
            plan,
            ..
        } = *self;
        let status = reply.status;
        let outcome = failure::outcome_of(status, reply.head.wait);
        let is_json = reply.head.is_encoded || looks_like_json(&body);
        let head = reply.finish(&site.endpoint, &core.pool);
        if !is_json {
            self.tally("not_json");
            let is_good = outcome == Outcome::Good;
            underway.end(core, if is_good { Outcome::Unusable } else { outcome });
            return Err(failure::not_json(site, status, verdict.retry));
        }
        self.tally(verdict.outcome);
        if verdict.outcome == "ok" {
            underway.measure(core, plan.series());
            if let Some(usage) = usage::in_answer(&body).filter(|_| self.measures_rate) {
                let sent_at = underway.sent_at();
                underway.generated(plan.series(), usage.completion, sent_at);
            }
        }
        underway.end(core, outcome);
        let answer = WholeAnswer {
            target: target.label,
            status,
            head,
            refusal: refusal(status, &body),
            body,
        };
        if verdict.retry == Retry::Never {
            return Ok(Attempted::Whole(answer));
        }
        Err(Failed {
            fault: Fault::upstream(502, "upstream_error", "the provider failed"),
            detail: format!("{}: status {status}", site.provider),
            answer: Some(answer),
        })
    }

    /// Reads the body: all of it, or of a stream the first piece. True when it is complete.
    async fn read_until(
        &self,
        reply: &mut Reply<ReplyHead>,
        body: &mut Vec<u8>,
        first_only: bool,
        watch: &mut Watch<'_, '_>,
    ) -> Result<bool, Broken> {
        let patience = &self.plan.patience;
        loop {
            let by: Instant = patience
                .by
                .min(clock::recent() + self.site.endpoint.limits.read);
            match reply.read(body, by, watch).await {
                Ok(Piece::Done) => return Ok(true),
                Ok(Piece::More) if first_only => return Ok(false),
                Ok(Piece::More) if body.len() > ANSWER_BYTES_MAX => return Err(Broken::TooLarge),
                Ok(Piece::More) => {}
                Err(BodyFault::Stalled) if patience.is_over() => return Err(Broken::Deadline),
                Err(fault) => return Err(Broken::Body(fault)),
            }
        }
    }

    /// Holds the first bytes of a stream for as long as is configured: a failure that shows meanwhile
    /// is none of the client's. True when the body is complete.
    async fn hold(
        &self,
        reply: &mut Reply<ReplyHead>,
        body: &mut Vec<u8>,
        mut is_done: bool,
        watch: &mut Watch<'_, '_>,
    ) -> Result<bool, Broken> {
        if self.hold.is_zero() {
            let failed = begins_with_an_error(body);
            return if failed {
                Err(Broken::Stream("error event"))
            } else {
                Ok(is_done)
            };
        }
        let until = self.plan.patience.by.min(clock::now() + self.hold);
        let mut probe = Probe::default();
        loop {
            probe.look(body, is_done);
            if probe.has_failed() {
                return Err(Broken::Stream("error event"));
            }
            if is_done && !probe.is_complete() {
                return Err(Broken::Stream("ended unfinished"));
            }
            if is_done || body.len() >= HOLD_BYTES_MAX || clock::now() >= until {
                return Ok(is_done);
            }
            match reply.read(body, until, watch).await {
                Ok(piece) => is_done = piece == Piece::Done,
                Err(BodyFault::Stalled) => return Ok(false),
                Err(fault) => return Err(Broken::Body(fault)),
            }
        }
    }
}

fn is_type(content_type: Option<&str>, wanted: &str) -> bool {
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
}

/// Begins and ends as JSON does: an error page is not passed on, nor what was cut off.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let ends = (body.first(), body.last());
    matches!(ends, (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

fn reply_head(head: &ResponseHead<'_>) -> ReplyHead {
    let mut taken = ReplyHead {
        passed: Vec::with_capacity(128),
        is_event_stream: is_type(head.headers.get_str("content-type"), "text/event-stream"),
        is_encoded: false,
        wait: None,
    };
    if head.status == 429 {
        taken.wait = retry_after(&head.headers, clock::since_epoch());
        if let (Some(wait), None) = (taken.wait, head.headers.get("retry-after")) {
            encode::header_u64(
                &mut taken.passed,
                "retry-after",
                failure::whole_seconds(wait),
            );
        }
    }
    for (name, value) in head.headers.iter() {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if let Some(passed) = super::reply::PASSED_TO_CLIENT
            .into_iter()
            .find(|one| is(one))
        {
            encode::header(&mut taken.passed, passed, value);
        } else if is("x-request-id") {
            encode::header(&mut taken.passed, "x-ringside-upstream-request-id", value);
        }
        taken.is_encoded |= is("content-encoding");
    }
    taken
}
