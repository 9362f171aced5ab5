//! One target is asked: the request in its dialect, the exchange, and its answer as far as it is needed
//! to judge it. It must not know which target comes next (`attempt.rs`).

use super::attempt::{ANSWER_BYTES_MAX, Attempted, Plan, StreamAnswer, WholeAnswer};
use super::core::Core;
use super::failure::{self, Broken, Failed};
use super::snapshot::{RemoteSite, TargetRoute};
use super::trip::Trip;
use super::underway::Underway;
use crate::error::{Fault, Retry};
use crate::http::encode;
use crate::http::head::ResponseHead;
use crate::listener::Client;
use crate::providers::Outgoing;
use crate::routing::health::Outcome;
use crate::routing::retry_after::retry_after;
use crate::runtime::{buffer, clock};
use crate::telemetry::metrics::count;
use crate::upstream::exchange::Piece;
use crate::upstream::{Reply, exchange};
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
        client: &mut Client,
        trip: &mut Trip,
    ) -> Result<Attempted, Failed> {
        let Self { core, site, .. } = *self;
        let mut request = self.request(underway.lane());
        let mut fresh = false;
        loop {
            trip.attempts += 1;
            let sent_at = clock::recent();
            let endpoint = &site.endpoint;
            let (outcome, sent, used) =
                exchange(endpoint, &core.pool, request, fresh, client, reply_head).await;
            request = sent;
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
                    trip.waited += waited;
                    trip.first_byte = Some(waited);
                    return self.read_reply(underway, reply, client, trip).await;
                }
                Err(fault) => {
                    trip.waited += clock::now().saturating_duration_since(sent_at);
                    self.tally(fault.outcome());
                    if fault.retry() == Retry::OnFreshConnection && !fresh {
                        fresh = true;
                        continue;
                    }
                    buffer::give(request);
                    underway.waited(core, self.plan.series());
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
        client: &mut Client,
        trip: &mut Trip,
    ) -> Result<Attempted, Failed> {
        let Self {
            core,
            target,
            site,
            plan,
        } = *self;
        let verdict = site.dialect.judge(reply.status);
        let is_stream = plan.streams && verdict.outcome == "ok" && reply.head.is_event_stream;
        let mut body = buffer::take(buffer::CLASS_BYTES[0]);
        let began_at = clock::recent();
        let read = read_until(site, &mut reply, &mut body, is_stream, client).await;
        trip.waited += clock::recent().saturating_duration_since(began_at);
        let is_done = match read {
            Ok(is_done) => is_done,
            Err(broken) => {
                self.tally(broken.outcome());
                underway.end(core, broken.lesson());
                return Err(failure::broken_answer(site, &broken));
            }
        };
        if is_stream {
            self.tally("ok");
            underway.began(core);
            return Ok(Attempted::Stream(Box::new(StreamAnswer {
                target: target.label,
                site: Arc::clone(site),
                underway,
                reply,
                first: body,
                is_done,
            })));
        }
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
        }
        underway.end(core, outcome);
        let answer = WholeAnswer {
            target: target.label,
            status,
            head,
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
}

/// Reads the body: all of it, or of a stream the first piece. True when it is complete.
async fn read_until(
    site: &RemoteSite,
    reply: &mut Reply<ReplyHead>,
    body: &mut Vec<u8>,
    first_only: bool,
    client: &mut Client,
) -> Result<bool, Broken> {
    loop {
        let by: Instant = clock::recent() + site.endpoint.limits.read;
        match reply.read(body, by, client).await {
            Ok(Piece::Done) => return Ok(true),
            Ok(Piece::More) if first_only => return Ok(false),
            Ok(Piece::More) if body.len() > ANSWER_BYTES_MAX => return Err(Broken::TooLarge),
            Ok(Piece::More) => {}
            Err(fault) => return Err(Broken::Body(fault)),
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
