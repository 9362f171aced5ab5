//! Mirrored traffic: a share of a model's requests is also sent to a target that is being considered, once the
//! client has its answer, and both answers are compared. What comes back is served to nobody.
//!
//! Never for what has an effect beyond its answer, nor where the request's data may not go.

use crate::accounting::billing::{BilledUsage, Charge, record_usage};
use crate::base::names::Name;
use crate::base::random::fraction;
use crate::base::request_ids;
use crate::cache::coalesce::call_end::SharedResponse;
use crate::cache::quality::compare::{Agreement, is_same};
use crate::cache::quality::compare_responses::compare_responses;
use crate::cache::quality::sample_budget::SampleBudget;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::gateway::caching::hit_sampling::SampleInput;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::gateway::experiments::background;
use crate::gateway::experiments::background::ReplayRequest;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::plan::rules::RuleRoute;
use crate::gateway::snapshot::{Backend, TargetRoute};
use crate::gateway::streaming::upstream_stream::StreamEnd;
use crate::observability::metrics::mirror::{MirrorId, MirroredRequest};
use crate::routing::demand::{Traits, exclusion};
use crate::routing::target_ref::TargetRef;
use crate::runtime::clock;
use crate::runtime::spawn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Where the mirrors of a model go.
pub struct MirrorTarget {
    /// The target.
    pub target: TargetRoute,
    /// What routing knows of it.
    pub target_ref: TargetRef,
    /// What is known of it beside that.
    pub traits: Traits,
    /// Share of the requests.
    pub share: f64,
    /// Tokens that they may take in an hour.
    pub tokens_max: u64,
    /// What they took, and came to.
    pub stats: Arc<MirrorStats>,
}

/// What became of requests that were drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOutcome {
    /// Answered by both.
    Answered,
    /// The target gave no answer that can be compared.
    Failed,
    /// The client's own answer cannot be compared: a failure, tools, no end.
    NotComparable,
    /// The budget of the hour is spent.
    OverBudget,
    /// Too many are under way.
    Busy,
}

impl MirrorOutcome {
    /// All, with their label values.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::NotComparable, "not-comparable"),
        (Self::OverBudget, "over-budget"),
        (Self::Busy, "busy"),
    ];
}

/// Labels of compared answers, with their label values.
pub(crate) const LABELS: [(Agreement, &str); 3] = [
    (Agreement::Same, "same"),
    (Agreement::Different, "other"),
    (Agreement::Unknown, "unknown"),
];

/// What the mirrors of a model took, and came to; shared by all cores. It outlives a configuration.
#[derive(Default)]
pub struct MirrorStats {
    /// Places and tokens.
    pub sample_budget: SampleBudget,
    outcomes: [AtomicU64; 5],
    labels: [AtomicU64; 3],
}

impl MirrorStats {
    fn count(&self, outcome: MirrorOutcome) {
        if let Some(count) = self.outcomes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    fn label(&self, label: Agreement) {
        let at = LABELS.iter().position(|(one, _)| *one == label);
        if let Some(count) = at.and_then(|at| self.labels.get(at)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Requests of one outcome.
    #[must_use]
    pub fn outcomes(&self, outcome: MirrorOutcome) -> u64 {
        let count = self.outcomes.get(outcome as usize);
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// Labels, in the order of [`LABELS`].
    #[must_use]
    pub fn labels(&self) -> [u64; 3] {
        self.labels.each_ref().map(|count| count.load(Relaxed))
    }
}

/// A place among the mirrors under way; given back however it ends.
struct MirrorPermit(Arc<MirrorStats>);

impl Drop for MirrorPermit {
    fn drop(&mut self) {
        self.0.sample_budget.release_permit();
    }
}

/// A request that was drawn.
pub(crate) struct Mirror {
    model: Name,
    again: ReplayRequest,
    /// Tokens that it was taken to cost.
    tokens: u64,
    place: MirrorPermit,
    /// What the client got, and how long it took.
    served: Option<(String, Duration)>,
    reader: Option<StreamReader>,
}

impl Mirror {
    /// Draws: a share of the requests, within the budget, and only where the target may see the request.
    #[must_use]
    pub(crate) fn draw(asked: &SampleInput<'_>) -> Option<Box<Self>> {
        let route = asked.route.mirror.as_ref()?;
        if fraction(request_ids::random()) > route.share || !may_see(route, asked) {
            return None;
        }
        let stats = &route.stats;
        if !stats.sample_budget.take_permit() {
            stats.count(MirrorOutcome::Busy);
            return None;
        }
        let place = MirrorPermit(Arc::clone(stats));
        let expected = &asked.constraints.expected;
        let tokens = expected.prompt + expected.completion;
        let hour = clock::since_epoch().as_secs() / 3600;
        if !stats.sample_budget.reserve(tokens, route.tokens_max, hour) {
            stats.count(MirrorOutcome::OverBudget);
            return None;
        }
        let chat = asked.chat;
        Some(Box::new(Self {
            model: asked.route.name,
            again: ReplayRequest {
                body: asked.body.to_vec(),
                model_range: chat.model_range.clone(),
                usage_edit: chat.usage_edit.clone(),
                streams: chat.stream,
                client_api: asked.client_api,
            },
            tokens,
            place,
            served: None,
            reader: chat
                .stream
                .then(|| StreamReader::new(background::BODY_BYTES_MAX)),
        }))
    }

    /// What reads the stream that the client gets.
    pub(crate) fn take_reader(&mut self) -> Option<StreamReader> {
        self.reader.take()
    }

    /// The client has this answer.
    pub(crate) fn served(&mut self, response: Result<CachedResponse, NotStored>, took: Duration) {
        let response = response.ok();
        self.served = response.map(|response| (response.content().to_owned(), took));
    }

    /// Asks the target, in a task of its own.
    pub(crate) fn send(
        self: Box<Self>,
        core: &Rc<Core>,
        snapshot: CurrentSnapshot,
        passed: ForwardedHeaders,
    ) {
        let stats = Arc::clone(&self.place.0);
        if self.served.is_none() {
            stats.sample_budget.record_spent(self.tokens, 0);
            return stats.count(MirrorOutcome::NotComparable);
        }
        let (core, on_panic) = (Rc::clone(core), Rc::clone(core));
        let task = async move { self.go(&core, &snapshot, &passed).await };
        spawn::spawn(task, move |_| {
            on_panic.metrics.borrow_mut().process.panics.increment()
        });
    }

    async fn go(
        mut self: Box<Self>,
        core: &Core,
        snapshot: &CurrentSnapshot,
        passed: &ForwardedHeaders,
    ) {
        let stats = Arc::clone(&self.place.0);
        let model = snapshot.models.get(&*self.model.text());
        let (Some(route), Some((served, took))) = (
            model.and_then(|one| one.mirror.as_ref()),
            self.served.take(),
        ) else {
            return;
        };
        let began_at = clock::now();
        let target = route.target.label;
        let asking = self
            .again
            .ask(core, &route.target, &route.target_ref, passed);
        let Some(response) = asking.await else {
            return stats.count(MirrorOutcome::Failed);
        };
        let mirror_took = clock::now().saturating_duration_since(began_at);
        stats.count(MirrorOutcome::Answered);
        if let Some(usage) = response.usage {
            stats
                .sample_budget
                .record_spent(self.tokens, usage.prompt + usage.completion);
        }
        let billed_usage = response
            .usage
            .map_or(BilledUsage::Unknown, BilledUsage::Reported);
        let charge = Charge::of(billed_usage, Some(target), &snapshot.prices);
        {
            let mut metrics = core.metrics.borrow_mut();
            // No key asked for it, so none pays.
            record_usage(&mut metrics, None, self.model, billed_usage, &charge);
            let seen = MirroredRequest {
                served: took,
                mirror: mirror_took,
                cost_nanousd: charge.paid_nanousd(),
            };
            metrics
                .mirrors
                .entry(MirrorId {
                    model: self.model,
                    target,
                })
                .record(&seen);
        }
        compare(core, served, response.content().to_owned(), stats);
    }
}

/// Whether the target may see the request and its answer can be compared.
fn may_see(route: &MirrorTarget, asked: &SampleInput<'_>) -> bool {
    let Backend::Remote(backend) = &route.target.backend else {
        return false;
    };
    let fits = exclusion(&route.traits, &asked.constraints.demand).is_none();
    // A rule may be there to keep data where it is.
    let is_ruled_out = asked.constraints.rule.is_some_and(RuleRoute::names_targets);
    asked.may_repeat && fits && !is_ruled_out && background::is_read(asked.client_api, backend)
}

/// Where there is no workshop, or it has no room, only what is the same is known to be.
fn compare(core: &Core, served: String, mirror: String, stats: Arc<MirrorStats>) {
    if is_same(&served, &mirror) {
        return stats.label(Agreement::Same);
    }
    let Some(embedding_pool) = &core.shared.embedding_pool else {
        return stats.label(Agreement::Unknown);
    };
    let told = Arc::clone(&stats);
    let tell = move |label| told.label(label);
    if compare_responses(embedding_pool, served, mirror, tell).is_err() {
        stats.label(Agreement::Unknown);
    }
}

/// A whole answer has gone to the client.
pub(crate) fn served_whole(core: &Core, response: &SharedResponse, ctx: &mut RequestContext) {
    let took = clock::now().saturating_duration_since(ctx.timing.started_at);
    if let Some(mirror) = ctx
        .background
        .mirror
        .as_mut()
        .filter(|_| response.head.status == 200)
    {
        let mut scratch = core.scratch.borrow_mut();
        mirror.served(
            CachedResponse::from_whole(&response.body, response.usage, &mut scratch),
            took,
        );
    }
}

/// A stream has gone to the client, or ended before.
pub(crate) fn served_stream(
    reader: Option<StreamReader>,
    end: &StreamEnd,
    ctx: &mut RequestContext,
) {
    let took = clock::now().saturating_duration_since(ctx.timing.started_at);
    if let (Some(mirror), Some(reader), StreamEnd::Complete) =
        (&mut ctx.background.mirror, reader, end)
    {
        mirror.served(reader.finish(), took);
    }
}
