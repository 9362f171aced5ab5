//! A sample of the hits by meaning is asked upstream too, once the client has its answer, so that the cached
//! answer can be compared with a fresh one.
//!
//! One attempt at one target, in a task of its own. It must not delay or change what the client gets.

use super::attempt::PassedHeaders;
use super::caching::Hit;
use super::core::{Core, InForce};
use super::failure;
use super::select::{Draw, Steer};
use super::snapshot::{ModelRoute, RemoteSite, Site, Snapshot, TargetRoute};
use super::underway::{self, Turn, Underway};
use crate::accounting::{Bill, Bought, settle};
use crate::api::chat::ChatRequest;
use crate::api::face::Face;
use crate::api::usage;
use crate::cache::answer::StreamReader;
use crate::cache::learning::Lesson;
use crate::cache::quality::Sample;
use crate::cache::semantic::SemanticHit;
use crate::cache::{Answer, Semantic};
use crate::config::model::Cache as CacheConfig;
use crate::http::head::ResponseHead;
use crate::http::sse::SseSplitter;
use crate::providers::{Body, Call, Outgoing};
use crate::routing::health::Outcome;
use crate::routing::measure::Series;
use crate::runtime::io::{Interrupt, Interruption};
use crate::runtime::{buffer, clock, spawn};
use crate::telemetry::metrics::count;
use crate::telemetry::{Name, ids};
use crate::upstream::exchange;
use crate::upstream::exchange::Piece;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Largest answer that is read, in bytes; comparing more would say nothing.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Tokens that a sample is taken to cost when the cached answer does not say what it cost.
const TOKENS_EXPECTED: u64 = 1000;

/// The dialect whose answers are read for a comparison.
const READ: &str = "openai";

/// The request that a hit answers.
pub struct Sampled<'r> {
    /// The model asked for.
    pub route: &'r ModelRoute,
    /// The request, read.
    pub chat: &'r ChatRequest,
    /// Its body, as providers may see it.
    pub body: &'r [u8],
    /// Which targets may see it.
    pub steer: &'r Steer<'r>,
    /// The client's dialect.
    pub face: &'static dyn Face,
    /// It has no effect beyond its answer.
    pub may_repeat: bool,
}

/// A hit that was drawn for a sample.
pub struct Shadow {
    hit: SemanticHit,
    question: String,
    model: Name,
    key: Option<Name>,
    /// Place of the target among the model's.
    at: usize,
    body: Vec<u8>,
    model_range: Range<usize>,
    streams: bool,
    tokens: u64,
    place: Place,
}

/// A place among the samples under way; given back however the sample ends.
struct Place(Arc<Semantic>);

impl Place {
    fn take(semantic: &Arc<Semantic>) -> Option<Self> {
        let taken = semantic.quality().enter();
        taken.then(|| Self(Arc::clone(semantic)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.quality().leave();
    }
}

impl Shadow {
    /// Draws: a share of the hits, within the budget of tokens.
    #[must_use]
    pub fn draw(
        core: &Core,
        config: &CacheConfig,
        hit: &Hit,
        question: &str,
        key: Option<Name>,
        request: &Sampled<'_>,
    ) -> Option<Box<Self>> {
        let semantic = core.shared.semantic.as_ref()?;
        let (similarity, confidence, score) = hit.found?;
        // 53 bits are what a float holds.
        #[allow(clippy::cast_precision_loss)]
        let drawn = (ids::random() >> 11) as f64 / (1_u64 << 53) as f64;
        if drawn >= config.semantic.sample {
            return None;
        }
        let at = target(core, request)?;
        let place = Place::take(semantic)?;
        let usage = hit.entry.answer.usage;
        let tokens = usage.map_or(TOKENS_EXPECTED, |usage| usage.prompt + usage.completion);
        let hour = clock::since_epoch().as_secs() / 3600;
        let tokens_max = config.semantic.sample_tokens_max;
        if !semantic.quality().may_sample(tokens, tokens_max, hour) {
            return None;
        }
        Some(Box::new(Self {
            hit: SemanticHit {
                entry: Arc::clone(&hit.entry),
                similarity,
                confidence,
                score,
            },
            question: question.to_owned(),
            model: request.route.name,
            key,
            at,
            body: request.body.to_vec(),
            model_range: request.chat.model_range.clone(),
            streams: request.chat.stream,
            tokens,
            place,
        }))
    }

    /// Asks upstream, in a task of its own.
    pub fn send(self: Box<Self>, core: &Rc<Core>, snapshot: InForce, passed: PassedHeaders) {
        let (core, on_panic) = (Rc::clone(core), Rc::clone(core));
        let task = async move {
            let answer = self.ask(&core, &snapshot, passed.lines(true)).await;
            self.learn(&core, &snapshot, answer);
        };
        spawn::spawn(task, move |_| on_panic.metrics.borrow_mut().panics += 1);
    }

    /// One attempt. `None` when it gave no answer that can be compared.
    async fn ask(&self, core: &Core, snapshot: &Snapshot, passed_headers: &[u8]) -> Option<Answer> {
        let route = snapshot.models.get(&*self.model.text())?;
        let (target, member) = (route.targets.get(self.at)?, route.members.get(self.at)?);
        let Site::Remote(site) = &target.site else {
            return None;
        };
        if !underway::may_try(core, member, Turn::First) {
            return None;
        }
        let mut underway = Underway::begin(core, target.label, member);
        let request = self.request(target, site, passed_headers, underway.lane())?;
        let answered = exchanged(core, site, request).await;
        let outcome = answered
            .as_ref()
            .map_or(Outcome::Abandoned, |(status, ..)| {
                failure::outcome_of(*status, None)
            });
        underway.end(core, outcome);
        let name = if answered.is_some() {
            "shadow"
        } else {
            "shadow_failed"
        };
        count(
            &mut core.metrics.borrow_mut().attempts,
            (target.label, name),
        );
        let (status, is_stream, body) = answered?;
        let answer = (status == 200).then(|| read(core, is_stream, &body))?;
        answer.ok()
    }

    fn request(
        &self,
        target: &TargetRoute,
        site: &RemoteSite,
        passed_headers: &[u8],
        lane: usize,
    ) -> Option<Vec<u8>> {
        let held = site.held();
        let auth = site.auth(held.as_deref(), lane).ok()?;
        let mut request = buffer::take(self.body.len() + passed_headers.len() + 1024);
        site.dialect.encode(
            &Outgoing {
                call: Call::Chat,
                streams: self.streams,
                body: Body::Spliced {
                    bytes: &self.body,
                    model_range: &self.model_range,
                    usage_edit: None,
                },
                model: &target.model,
                base_path: &site.endpoint.url.path,
                authority: &site.endpoint.url.authority,
                auth,
                passed_headers,
            },
            &mut request,
        );
        Some(request)
    }

    fn label(&self, snapshot: &Snapshot) -> Option<Name> {
        let route = snapshot.models.get(&*self.model.text())?;
        route.targets.get(self.at).map(|target| target.label)
    }

    fn learn(self, core: &Core, snapshot: &Snapshot, answer: Option<Answer>) {
        let semantic = &self.place.0;
        let quality = semantic.quality();
        let Some(answer) = answer else {
            return quality.sampled(Sample::Failed);
        };
        if let Some(usage) = answer.usage {
            quality.settle(self.tokens, usage.prompt + usage.completion);
            let bought = Bought::Reported(usage);
            let bill = Bill::of(bought, self.label(snapshot), &snapshot.prices);
            let mut metrics = core.metrics.borrow_mut();
            settle(&mut metrics, self.key, self.model, bought, &bill);
        }
        let config = &snapshot.config.cache.semantic;
        let learned = semantic.learn(Lesson {
            model: self.model,
            question: self.question,
            hit: self.hit,
            fresh: answer.content().to_owned(),
            wish: config.wrong_hit_rate_max,
            logs: config.log.is_some(),
        });
        quality.sampled(if learned.is_ok() {
            Sample::Compared
        } else {
            Sample::Failed
        });
    }
}

/// The first target of those that may see the request, in the policy's order; `None` if it speaks another
/// dialect than the client, or one whose answers are not read here.
fn target(core: &Core, request: &Sampled<'_>) -> Option<usize> {
    let draw = Draw {
        random: ids::random(),
        asker: None,
        series: Series::of_request(request.chat.stream, request.body.len()),
        is_new: false,
    };
    let order = underway::order(core, request.route, request.steer, &draw, &mut None);
    let at = usize::from(*order.first()?);
    let Site::Remote(site) = &request.route.targets.get(at)?.site else {
        return None;
    };
    let is_read =
        request.may_repeat && request.face.name() == READ && site.dialect.native() == READ;
    is_read.then_some(at)
}

/// Status, whether it is a stream, and the whole body.
async fn exchanged(
    core: &Core,
    site: &RemoteSite,
    request: Vec<u8>,
) -> Option<(u16, bool, Vec<u8>)> {
    let (endpoint, watch) = (&site.endpoint, &mut Undisturbed);
    let is_stream = |head: &ResponseHead<'_>| {
        let kind = head.headers.get_str("content-type");
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    };
    let until = clock::now() + endpoint.limits.first_byte;
    let (outcome, request, _) = exchange(
        endpoint, &core.pool, request, false, until, watch, is_stream,
    )
    .await;
    buffer::give(request);
    let mut reply = outcome.ok()?;
    let mut body = Vec::new();
    loop {
        let by = clock::now() + endpoint.limits.read;
        match reply.read(&mut body, by, &mut Undisturbed).await.ok()? {
            Piece::Done => break,
            Piece::More if body.len() > BODY_BYTES_MAX => return None,
            Piece::More => {}
        }
    }
    let status = reply.status;
    Some((status, reply.finish(endpoint, &core.pool), body))
}

fn read(core: &Core, is_stream: bool, body: &[u8]) -> Result<Answer, &'static str> {
    let mut scratch = core.scratch.borrow_mut();
    if !is_stream {
        return Answer::from_whole(body, usage::in_answer(body), &mut scratch);
    }
    let (mut splitter, mut reader) = (SseSplitter::new(), StreamReader::new(BODY_BYTES_MAX));
    let mut rest = body;
    while let Ok(Some(end)) = splitter.next_event(rest) {
        let Some((event, after)) = rest.split_at_checked(end) else {
            break;
        };
        reader.event(event, &mut scratch);
        rest = after;
    }
    reader.finish()
}

/// Nobody waits, so nobody cuts it short; its deadlines end it.
struct Undisturbed;

impl Interrupt for Undisturbed {
    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<Interruption> {
        Poll::Pending
    }
}
