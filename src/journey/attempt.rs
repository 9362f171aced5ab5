//! Route and exchange: targets in the policy's order, until one answers.
//!
//! Another target is tried only while nothing was relayed: on a failed connection, a deadline, 429,
//! 5xx, an answer that broke off or is no JSON.

use super::core::Core;
use super::snapshot::{ModelRoute, RemoteSite, Site, TargetRoute};
use super::trip::Trip;
use crate::api::splice::Edit;
use crate::error::{Fault, Retry};
use crate::http::encode;
use crate::http::head::{Headers, ResponseHead};
use crate::listener::Client;
use crate::providers::{Call, Outgoing};
use crate::runtime::io::Interruption;
use crate::runtime::{buffer, clock};
use crate::telemetry::Name;
use crate::telemetry::metrics::{Stage, count};
use crate::upstream::exchange::{BodyFault, Piece};
use crate::upstream::{Reply, UpstreamFault, exchange};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Largest whole answer, in bytes: it is held until it is complete, so that a provider that fails in
/// the middle costs the client nothing.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Client headers that cross to the provider. Everything else stays: credentials are replaced, framing
/// is made anew, and what is not known is not passed on.
const PASSED_TO_PROVIDER: [&str; 6] = [
    "openai-beta",
    "openai-organization",
    "openai-project",
    "idempotency-key",
    "traceparent",
    "tracestate",
];

/// What is to be asked.
pub struct Plan<'p> {
    /// Which call.
    pub call: Call,
    /// Body as the client sent it.
    pub body: &'p [u8],
    /// Where the model's name stands in it.
    pub model_range: &'p Range<usize>,
    /// The edit that asks for usage.
    pub usage_edit: Option<&'p Edit>,
    /// A stream was asked for.
    pub streams: bool,
    /// Encoded headers that cross.
    pub passed_headers: Vec<u8>,
}

/// A whole answer.
pub struct WholeAnswer {
    /// The target.
    pub target: Name,
    /// Status.
    pub status: u16,
    /// What was taken from its head.
    pub head: ReplyHead,
    /// The body.
    pub body: Vec<u8>,
}

/// What is taken from an answer's head.
pub struct ReplyHead {
    /// Encoded header lines that cross to the client.
    pub passed: Vec<u8>,
    is_event_stream: bool,
    is_encoded: bool,
}

/// A stream whose first bytes are there.
pub struct StreamAnswer {
    /// The target.
    pub target: Name,
    /// Provider and endpoint.
    pub site: Arc<RemoteSite>,
    /// The exchange.
    pub reply: Reply<ReplyHead>,
    /// The first bytes of the body.
    pub first: Vec<u8>,
    /// The body is complete already.
    pub is_done: bool,
}

/// What an attempt ended with.
pub enum Attempted {
    /// A whole answer, of whatever status.
    Whole(WholeAnswer),
    /// A stream.
    Stream(Box<StreamAnswer>),
}

/// Why an attempt gave nothing to relay.
struct Failed {
    fault: Fault,
    detail: String,
    /// An answer that is passed on if no other target has a better one.
    answer: Option<WholeAnswer>,
}

/// The headers that cross to the provider, encoded.
#[must_use]
pub fn passed_headers(headers: &Headers<'_>, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for (name, value) in headers.iter() {
        if PASSED_TO_PROVIDER
            .iter()
            .any(|passed| name.eq_ignore_ascii_case(passed))
        {
            encode::header(&mut out, name, value);
        }
    }
    encode::header(&mut out, "x-request-id", request_id.as_bytes());
    out
}

/// Tries the targets of `route`.
///
/// # Errors
/// The last target's fault.
pub async fn run(
    core: &Core,
    route: &ModelRoute,
    plan: &Plan<'_>,
    client: &mut Client,
    trip: &mut Trip,
) -> Result<Attempted, Fault> {
    let mut order = Vec::with_capacity(route.targets.len());
    route.policy.order(&route.candidates, &mut order);
    let mut last: Option<Failed> = None;
    for at in order {
        let Some(target) = route.targets.get(at) else {
            continue;
        };
        let Site::Remote(site) = &target.site else {
            last = Some(not_a_chat_model(target));
            continue;
        };
        trip.target = Some(target.label);
        trip.stage_done(core, Stage::Route);
        match try_target(core, target, site, plan, client, trip).await {
            Ok(attempted) => return Ok(attempted),
            Err(failed) => {
                trip.detail = Some(failed.detail.clone());
                let ends = failed.fault.retry == Retry::Never;
                last = Some(failed);
                if ends {
                    break;
                }
            }
        }
    }
    let failed = last.ok_or_else(|| Fault::gateway(500, "no_target", "the model has no target"))?;
    match failed.answer {
        Some(answer) => Ok(Attempted::Whole(answer)),
        None => Err(failed.fault),
    }
}

fn not_a_chat_model(target: &TargetRoute) -> Failed {
    Failed {
        fault: Fault::client(
            400,
            "wrong_operation",
            "this model is the local embedding model: it serves POST /v1/embeddings only",
        )
        .on("model"),
        detail: target.label.text().to_string(),
        answer: None,
    }
}

/// One target: once, and once more on a fresh connection if a reused one had died.
async fn try_target(
    core: &Core,
    target: &TargetRoute,
    site: &Arc<RemoteSite>,
    plan: &Plan<'_>,
    client: &mut Client,
    trip: &mut Trip,
) -> Result<Attempted, Failed> {
    let api_key = site
        .api_keys
        .get(core.next_turn() % site.api_keys.len().max(1))
        .map(|secret| secret.0.as_str());
    let mut request = buffer::take(plan.body.len() + plan.passed_headers.len() + 1024);
    site.dialect.encode(
        &Outgoing {
            call: plan.call,
            body: plan.body,
            model_range: plan.model_range,
            usage_edit: plan.usage_edit,
            model: &target.model,
            base_path: &site.endpoint.url.path,
            authority: &site.endpoint.url.authority,
            api_key,
            passed_headers: &plan.passed_headers,
        },
        &mut request,
    );
    let mut fresh = false;
    loop {
        trip.attempts += 1;
        let sent_at = clock::recent();
        let (outcome, sent, used) = exchange(
            &site.endpoint,
            &core.pool,
            request,
            fresh,
            client,
            reply_head,
        )
        .await;
        request = sent;
        {
            let mut metrics = core.metrics.borrow_mut();
            if used.reused {
                metrics.upstream_reuses += 1;
            } else {
                metrics.upstream_connects += 1;
            }
        }
        match outcome {
            Ok(reply) => {
                buffer::give(request);
                let waited = reply.first_byte_at.saturating_duration_since(sent_at);
                trip.waited += waited;
                trip.first_byte = Some(waited);
                return read_reply(core, target, site, plan, reply, client, trip).await;
            }
            Err(fault) => {
                trip.waited += clock::now().saturating_duration_since(sent_at);
                tally(core, target.label, fault.outcome());
                if fault.retry() == Retry::OnFreshConnection && !fresh {
                    fresh = true;
                    continue;
                }
                buffer::give(request);
                return Err(failed(site, &fault));
            }
        }
    }
}

fn tally(core: &Core, target: Name, outcome: &'static str) {
    count(&mut core.metrics.borrow_mut().attempts, (target, outcome));
}

/// The answer's head is there: a stream is handed on with its first bytes, anything else read whole.
async fn read_reply(
    core: &Core,
    target: &TargetRoute,
    site: &Arc<RemoteSite>,
    plan: &Plan<'_>,
    mut reply: Reply<ReplyHead>,
    client: &mut Client,
    trip: &mut Trip,
) -> Result<Attempted, Failed> {
    let verdict = site.dialect.judge(reply.status);
    let is_stream = plan.streams && verdict.outcome == "ok" && reply.head.is_event_stream;
    let mut body = buffer::take(buffer::CLASS_BYTES[0]);
    let began_at = clock::recent();
    let read = read_until(site, &mut reply, &mut body, is_stream, client).await;
    trip.waited += clock::recent().saturating_duration_since(began_at);
    let is_done = match read {
        Ok(is_done) => is_done,
        Err(broken) => {
            tally(core, target.label, broken.outcome());
            return Err(broken_answer(site, &broken));
        }
    };
    if is_stream {
        tally(core, target.label, "ok");
        return Ok(Attempted::Stream(Box::new(StreamAnswer {
            target: target.label,
            site: Arc::clone(site),
            reply,
            first: body,
            is_done,
        })));
    }
    let status = reply.status;
    let is_json = reply.head.is_encoded || looks_like_json(&body);
    let head = reply.finish(&site.endpoint, &core.pool);
    if !is_json {
        tally(core, target.label, "not_json");
        return Err(not_json(site, status, verdict.retry));
    }
    tally(core, target.label, verdict.outcome);
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

enum Broken {
    TooLarge,
    Body(BodyFault),
}

impl Broken {
    fn outcome(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Body(BodyFault::Broken(_)) => "broken_off",
            Self::Body(BodyFault::Interrupted(Interruption::ClientGone)) => "client_gone",
            Self::Body(BodyFault::Interrupted(Interruption::Drained)) => "drained",
        }
    }
}

fn broken_answer(site: &RemoteSite, broken: &Broken) -> Failed {
    let provider = &site.provider;
    let (fault, detail) = match broken {
        Broken::TooLarge => (
            Fault::upstream(
                502,
                "upstream_answer_too_large",
                format!("the provider `{provider}` sent more than {ANSWER_BYTES_MAX} bytes"),
            ),
            "answer too large".to_owned(),
        ),
        Broken::Body(BodyFault::Broken(why)) => (
            Fault::upstream(
                502,
                "upstream_broke_off",
                format!("the provider `{provider}` broke off in the middle of its answer"),
            ),
            why.clone(),
        ),
        Broken::Body(BodyFault::Interrupted(why)) => (interrupted(*why), "interrupted".to_owned()),
    };
    Failed {
        fault,
        detail: format!("{provider}: {detail}"),
        answer: None,
    }
}

/// The fault for a wait that was cut short; nothing else is tried.
fn interrupted(why: Interruption) -> Fault {
    let fault = match why {
        Interruption::ClientGone => Fault::client(499, "client_gone", "the client hung up"),
        Interruption::Drained => Fault::gateway(
            503,
            "shutting_down",
            "the gateway is stopping and its drain deadline has passed",
        ),
    };
    Fault {
        retry: Retry::Never,
        ..fault
    }
}

fn failed(site: &RemoteSite, fault: &UpstreamFault) -> Failed {
    let provider = &site.provider;
    let (status, code, what) = match fault {
        UpstreamFault::NoAddress(_) => (502, "upstream_unreachable", "its name has no address"),
        UpstreamFault::Connect(_) => (502, "upstream_unreachable", "no connection could be made"),
        UpstreamFault::Tls(_) => (502, "upstream_tls", "TLS could not be agreed"),
        UpstreamFault::FirstByte => (504, "upstream_timeout", "no answer came in time"),
        UpstreamFault::Died { .. } => (502, "upstream_died", "it closed without an answer"),
        UpstreamFault::Malformed(_) => (502, "upstream_malformed", "its answer is not HTTP"),
        UpstreamFault::Interrupted(why) => {
            return Failed {
                fault: interrupted(*why),
                detail: format!("{provider}: {fault}"),
                answer: None,
            };
        }
    };
    Failed {
        fault: Fault::upstream(
            status,
            code,
            format!("the provider `{provider}` could not be used: {what}"),
        ),
        detail: format!("{provider}: {fault}"),
        answer: None,
    }
}

/// An answer that is no JSON (an HTML page of a proxy, say) is never passed on as if it were one.
fn not_json(site: &RemoteSite, status: u16, retry: Retry) -> Failed {
    let provider = &site.provider;
    let ok = (200..300).contains(&status);
    let sent_status = if ok { 502 } else { status };
    let fault = Fault::upstream(
        sent_status,
        "upstream_not_json",
        format!(
            "the provider `{provider}` answered with status {status} and a body that is not JSON"
        ),
    );
    let retry = if ok { Retry::OnNextTarget } else { retry };
    Failed {
        fault: Fault { retry, ..fault },
        detail: format!("{provider}: status {status}, not JSON"),
        answer: None,
    }
}

fn is_type(content_type: Option<&str>, wanted: &str) -> bool {
    content_type
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(wanted))
}

fn looks_like_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

fn reply_head(head: &ResponseHead<'_>) -> ReplyHead {
    let mut taken = ReplyHead {
        passed: Vec::with_capacity(128),
        is_event_stream: is_type(head.headers.get_str("content-type"), "text/event-stream"),
        is_encoded: false,
    };
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
