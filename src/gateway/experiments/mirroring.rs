//! Mirrored traffic: sends a share of a model's requests to a target under consideration too, once the client has its
//! response, and compares both responses. The mirror's response is sent to nobody.
//!
//! Never for a request with an effect beyond its response, nor where the request's data may not go.

use crate::accounting::billing::{BilledUsage, Charge};
use crate::base::names::Name;
use crate::base::random::fraction;
use crate::base::request_ids;
use crate::cache::quality::compare::{Agreement, is_same};
use crate::cache::quality::compare_responses::compare_responses;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::response::from_stream::StreamReader;
use crate::cache::response::not_stored::NotStored;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::gateway::experiments::background;
use crate::gateway::experiments::background::ReplayRequest;
use crate::gateway::experiments::sampled_request::SampledRequest;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::mirror::{MirrorOutcome, MirrorStats, MirrorTarget};
use crate::gateway::snapshot::rule::RuleRoute;
use crate::gateway::snapshot::target::Backend;
use crate::gateway::usage_metrics::record_usage;
use crate::observability::metrics::mirror::{MirrorId, MirroredRequest};
use crate::routing::demand::exclusion;
use crate::runtime::clock;
use crate::runtime::spawn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// One of the mirrored requests that may be in flight; given back however it ends.
struct MirrorPermit(Arc<MirrorStats>);

impl Drop for MirrorPermit {
    fn drop(&mut self) {
        self.0.sample_budget.release_permit();
    }
}

/// A request that was drawn.
pub(crate) struct Mirror {
    model: Name,
    replay: ReplayRequest,
    tokens_expected: u64,
    permit: MirrorPermit,
    /// Reads the stream that the client gets.
    reader: Option<StreamReader>,
    /// `None` as long as the client has no response that can be compared.
    served: Option<ServedResponse>,
}

/// What the client got.
struct ServedResponse {
    content: String,
    duration: Duration,
}

impl Mirror {
    /// Draws a share of the requests, within the token budget, and only where the target may see the request.
    #[must_use]
    pub(crate) fn draw(request: &SampledRequest<'_>) -> Option<Box<Self>> {
        let mirror = request.route.mirror.as_ref()?;
        if fraction(request_ids::random()) > mirror.share || !may_see(mirror, request) {
            return None;
        }
        let stats = &mirror.stats;
        if !stats.sample_budget.take_permit() {
            stats.count(MirrorOutcome::Busy);
            return None;
        }
        let permit = MirrorPermit(Arc::clone(stats));
        let expected = &request.constraints.expected;
        let tokens_expected = expected.total();
        let hour = clock::since_epoch().as_secs() / 3600;
        let tokens_max = mirror.tokens_max;
        if !stats
            .sample_budget
            .reserve(tokens_expected, tokens_max, hour)
        {
            stats.count(MirrorOutcome::OverBudget);
            return None;
        }
        let reads_stream = request.chat.stream;
        Some(Box::new(Self {
            model: request.route.name,
            replay: ReplayRequest::new(request),
            tokens_expected,
            permit,
            reader: reads_stream.then(|| StreamReader::new(background::BODY_BYTES_MAX)),
            served: None,
        }))
    }

    /// The reader of the stream that the client gets.
    pub(crate) fn take_reader(&mut self) -> Option<StreamReader> {
        self.reader.take()
    }

    /// The client has its response, after `duration`.
    pub(crate) fn served(
        &mut self,
        response: Result<CachedResponse, NotStored>,
        duration: Duration,
    ) {
        self.served = response.ok().map(|response| ServedResponse {
            content: response.content().to_owned(),
            duration,
        });
    }

    /// Sends the request to the mirror target, in a task of its own, if the client's response can be compared.
    pub(crate) fn send(
        mut self: Box<Self>,
        core: &Rc<Core>,
        snapshot: CurrentSnapshot,
        headers: ForwardedHeaders,
    ) {
        let stats = &self.permit.0;
        let Some(served) = self.served.take() else {
            stats.sample_budget.record_spent(self.tokens_expected, 0);
            return stats.count(MirrorOutcome::NotComparable);
        };
        let (core, on_panic) = (Rc::clone(core), Rc::clone(core));
        let task = async move { self.run(served, &core, &snapshot, &headers).await };
        spawn::spawn(task, move |_| {
            on_panic.metrics.borrow_mut().process.panics.increment();
        });
    }

    async fn run(
        self: Box<Self>,
        served: ServedResponse,
        core: &Core,
        snapshot: &CurrentSnapshot,
        headers: &ForwardedHeaders,
    ) {
        let stats = Arc::clone(&self.permit.0);
        let model = snapshot.models.get(&*self.model.text());
        let Some(mirror) = model.and_then(|route| route.mirror.as_ref()) else {
            return;
        };
        let began_at = clock::now();
        let (target, target_ref) = (&mirror.target, &mirror.target_ref);
        let Some(response) = self.replay.send(core, target, target_ref, headers).await else {
            return stats.count(MirrorOutcome::Failed);
        };
        let duration = clock::now().saturating_duration_since(began_at);
        stats.count(MirrorOutcome::Answered);
        if let Some(usage) = response.usage {
            let tokens = usage.total();
            stats
                .sample_budget
                .record_spent(self.tokens_expected, tokens);
        }
        let usage = response.usage;
        let billed_usage = usage.map_or(BilledUsage::Unknown, BilledUsage::Reported);
        let charge = Charge::of(billed_usage, Some(target.label), &snapshot.prices);
        {
            let mut metrics = core.metrics.borrow_mut();
            // No client sent this request, so no key pays for it.
            record_usage(&mut metrics, None, self.model, billed_usage, &charge);
            let mirrored = MirroredRequest {
                served: served.duration,
                mirror: duration,
                cost_nanousd: charge.paid_nanousd(),
            };
            let id = MirrorId {
                model: self.model,
                target: target.label,
            };
            metrics.mirrors.entry(id).record(&mirrored);
        }
        compare(core, served.content, response.content().to_owned(), stats);
    }
}

/// Whether the target may see the request, and its response can be compared.
fn may_see(mirror: &MirrorTarget, request: &SampledRequest<'_>) -> bool {
    let Backend::Remote(backend) = &mirror.target.backend else {
        return false;
    };
    let constraints = request.constraints;
    let is_eligible = exclusion(&mirror.traits, &constraints.demand).is_none();
    // A rule may exist to keep data where it is.
    let is_ruled_out = constraints.rule.is_some_and(RuleRoute::names_targets);
    let is_comparable = background::is_comparable(request.client_api, backend);
    request.may_repeat && is_eligible && !is_ruled_out && is_comparable
}

/// Without an embedding pool, or while its queue is full, only equal responses get a label.
fn compare(core: &Core, served: String, mirror: String, stats: Arc<MirrorStats>) {
    if is_same(&served, &mirror) {
        return stats.label(Agreement::Same);
    }
    let Some(embedding_pool) = &core.shared.embedding_pool else {
        return stats.label(Agreement::Unknown);
    };
    let on_label = {
        let stats = Arc::clone(&stats);
        move |label| stats.label(label)
    };
    if compare_responses(embedding_pool, served, mirror, on_label).is_err() {
        stats.label(Agreement::Unknown);
    }
}
