//! Route and exchange: targets in the policy's order, until one answers.
//!
//! Another key or target is tried only while nothing was relayed: on a failed connection, a deadline,
//! a refused key, 429, 5xx, an answer that broke off or is no JSON. What each attempt ended with is
//! told to routing (`underway.rs`).

use super::core::Core;
use super::failure::{self, Broken, Failed};
use super::snapshot::{ModelRoute, RemoteSite, Site, TargetRoute};
use super::trip::Trip;
use super::underway::{self, Underway};
use crate::api::splice::Edit;
use crate::error::{Fault, Retry};
use crate::http::encode;
use crate::http::head::{Headers, ResponseHead};
use crate::listener::Client;
use crate::providers::{Call, Outgoing};
use crate::routing::fleet::Asked;
use crate::routing::health::Outcome;
use crate::routing::measure::Series;
use crate::routing::retry_after::retry_after;
use crate::runtime::{buffer, clock};
use crate::telemetry::metrics::{Stage, count};
use crate::telemetry::{Name, ids};
use crate::upstream::exchange::Piece;
use crate::upstream::{Reply, exchange};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xxhash_rust::xxh3::xxh3_64;

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

/// Longest wait that OpenAI's SDKs take from `retry-after` (openai-python, `_calculate_retry_timeout`);
/// told to wait longer they would come back too early, so then they are told not to.
const SDK_WAITS_MAX: Duration = Duration::from_secs(60);

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
    /// Hash of who asks.
    pub asker: Option<u64>,
}

impl Plan<'_> {
    /// What its latency is compared with.
    fn series(&self) -> Series {
        Series::of_request(self.streams, self.body.len())
    }
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
    /// How long a 429 says to wait.
    wait: Option<Duration>,
}

/// A stream whose first bytes are there.
pub struct StreamAnswer {
    /// The target.
    pub target: Name,
    /// Provider and endpoint.
    pub site: Arc<RemoteSite>,
    /// The attempt, which ends with the stream.
    pub underway: Underway,
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

/// Who asks, for the policy `sticky`: the session if a header names one, else the virtual key.
#[must_use]
pub fn asker(headers: &Headers<'_>, key: Option<Name>) -> Option<u64> {
    let session = headers.get("x-ringside-session");
    session
        .map(xxh3_64)
        .or_else(|| key.map(|key| xxh3_64(&key.number().to_le_bytes())))
}

/// Tries the targets of the first model, then of each further one.
///
/// # Errors
/// The last target's fault.
pub async fn run(
    core: &Core,
    models: &[&ModelRoute],
    plan: &Plan<'_>,
    client: &mut Client,
    trip: &mut Trip,
) -> Result<Attempted, Fault> {
    let mut last: Option<Failed> = None;
    for (nth, route) in models.iter().enumerate() {
        // What is spent is booked on the model that is asked.
        trip.model = Some(route.name);
        trip.fell_back = nth > 0;
        if let Some(attempted) = try_model(core, route, plan, client, trip, &mut last).await {
            return Ok(attempted);
        }
        if last.as_ref().is_some_and(Failed::is_final) {
            break;
        }
    }
    conclude(core, models, last, trip)
}

/// Tries the targets of a model.
async fn try_model(
    core: &Core,
    route: &ModelRoute,
    plan: &Plan<'_>,
    client: &mut Client,
    trip: &mut Trip,
    last: &mut Option<Failed>,
) -> Option<Attempted> {
    let asked = Asked {
        random: ids::random(),
        asker: plan.asker,
        series: plan.series(),
    };
    let order = underway::order(core, route, &asked);
    for at in order.into_iter().map(usize::from) {
        let (Some(target), Some(member)) = (route.targets.get(at), route.members.get(at)) else {
            continue;
        };
        let Site::Remote(site) = &target.site else {
            *last = Some(failure::not_a_chat_model(target));
            continue;
        };
        // Once, and again as long as it has a key that is not set aside.
        while underway::may_try(core, member, trip.attempts == 0) {
            trip.target = Some(target.label);
            trip.stage_done(core, Stage::Route);
            let underway = Underway::begin(core, target.label, member);
            let asking = Asking {
                core,
                target,
                site,
                plan,
            };
            let failed = match asking.attempt(underway, client, trip).await {
                Ok(attempted) => return Some(attempted),
                Err(failed) => failed,
            };
            trip.detail = Some(failed.detail.clone());
            let (is_final, blames_key) = (failed.is_final(), failed.blames_key());
            // That our key is refused is no news for the client if there is other news.
            if last.is_none() || !failed.is_refusal() {
                *last = Some(failed);
            }
            if is_final {
                return None;
            }
            if !blames_key || !underway::has_free_key(core, member) {
                break;
            }
        }
    }
    None
}

/// What the client gets when no target answered.
fn conclude(
    core: &Core,
    models: &[&ModelRoute],
    last: Option<Failed>,
    trip: &mut Trip,
) -> Result<Attempted, Fault> {
    // A single target's own 429 says it best.
    let targets: usize = models.iter().map(|route| route.members.len()).sum();
    let is_own = targets == 1 && last.is_some();
    if let Some(wait) = underway::limited_for(core, models).filter(|_| !is_own) {
        trip.should_retry = Some(wait <= SDK_WAITS_MAX);
        return Err(failure::all_rate_limited(wait));
    }
    let failed = last.ok_or_else(|| Fault::gateway(500, "no_target", "the model has no target"))?;
    match failed.answer {
        Some(answer) => Ok(Attempted::Whole(answer)),
        None => Err(failed.fault),
    }
}

/// One target, about to be asked.
struct Asking<'a> {
    core: &'a Core,
    target: &'a TargetRoute,
    site: &'a Arc<RemoteSite>,
    plan: &'a Plan<'a>,
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
    async fn attempt(
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
