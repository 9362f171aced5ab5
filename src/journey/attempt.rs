//! Route and exchange: targets in the policy's order, until one answers.
//!
//! Another key or target is tried only while nothing was relayed: on a failed connection, a deadline,
//! a refused key, 429, 5xx, an answer that broke off or is no JSON. How one target is asked is in
//! `asking.rs`.

use super::asking::{Asking, ReplyHead};
use super::core::Core;
use super::failure::{self, Failed};
use super::snapshot::{ModelRoute, RemoteSite, Site};
use super::trip::Trip;
use super::underway::{self, Underway};
use crate::api::splice::Edit;
use crate::error::Fault;
use crate::http::encode;
use crate::http::head::Headers;
use crate::listener::Client;
use crate::providers::Call;
use crate::routing::fleet::Asked;
use crate::routing::measure::Series;
use crate::telemetry::metrics::Stage;
use crate::telemetry::{Name, ids};
use crate::upstream::Reply;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
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
    pub fn series(&self) -> Series {
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
