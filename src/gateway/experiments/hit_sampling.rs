//! Samples semantic hits: sends the request upstream once the client has its response, and compares the cached response
//! with the fresh one.
//!
//! One attempt at one target, in a task of its own. It must not delay or change what the client gets.

use crate::accounting::billing::{BilledUsage, Charge};
use crate::base::names::Name;
use crate::base::random::fraction;
use crate::base::request_ids;
use crate::cache::quality::error_rate::SampleOutcome;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::semantic::hit_comparison::HitComparison;
use crate::cache::semantic::tier::{SemanticHit, SemanticTier};
use crate::gateway::attempt::attempt_guard;
use crate::gateway::caching::hit::Hit;
use crate::gateway::caching::session::CacheSession;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::gateway::experiments::background::ReplayRequest;
use crate::gateway::experiments::sampled_request::SampledRequest;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::gateway::snapshot::target::Backend;
use crate::gateway::usage_metrics::record_usage;
use crate::routing::indices::TargetIndex;
use crate::routing::measurements::Series;
use crate::routing::policy::RequestFacts;
use crate::runtime::clock;
use crate::runtime::spawn;
use std::rc::Rc;
use std::sync::Arc;

/// Tokens that a sample is taken to use when the usage of the cached response is unknown.
const TOKENS_EXPECTED: u64 = 1000;

/// A hit that was drawn for a sample.
pub(crate) struct HitSample {
    hit: SemanticHit,
    question: String,
    model: Name,
    key: Option<Name>,
    /// Index of the target among the model's.
    target_index: TargetIndex,
    replay: ReplayRequest,
    tokens_expected: u64,
    permit: SamplePermit,
}

/// One of the samples that may be in flight; given back however the sample ends.
struct SamplePermit(Arc<SemanticTier>);

impl SamplePermit {
    fn acquire(semantic: &Arc<SemanticTier>) -> Option<Self> {
        let acquired = semantic.quality().sample_budget.take_permit();
        acquired.then(|| Self(Arc::clone(semantic)))
    }
}

impl Drop for SamplePermit {
    fn drop(&mut self) {
        self.0.quality().sample_budget.release_permit();
    }
}

impl HitSample {
    /// Draws a share of the semantic hits, within the token budget.
    #[must_use]
    pub(crate) fn draw(
        core: &Core,
        session: &CacheSession,
        hit: &Hit,
        request: &SampledRequest<'_>,
    ) -> Option<Box<Self>> {
        let (session, scores) = (session.readable()?, hit.scores?);
        let semantic = core.shared.semantic.as_ref()?;
        let config = &session.config().semantic;
        if fraction(request_ids::random()) > config.sample {
            return None;
        }
        let target_index = target_index(core, request)?;
        let permit = SamplePermit::acquire(semantic)?;
        let usage = hit.entry.response.usage;
        let tokens_expected = usage.map_or(TOKENS_EXPECTED, |usage| usage.total());
        let hour = clock::since_epoch().as_secs() / 3600;
        let quality = semantic.quality();
        if !quality.reserve_sample(tokens_expected, config.sample_tokens_max, hour) {
            return None;
        }
        Some(Box::new(Self {
            hit: SemanticHit {
                entry: Arc::clone(&hit.entry),
                similarity: scores.similarity,
                confidence: scores.confidence,
                score: scores.score,
            },
            question: session.key().question().to_owned(),
            model: request.route.name,
            key: session.owner,
            target_index,
            replay: ReplayRequest {
                usage_edit: None,
                ..ReplayRequest::new(request)
            },
            tokens_expected,
            permit,
        }))
    }

    /// Sends the request upstream, in a task of its own.
    pub(crate) fn send(
        self: Box<Self>,
        core: &Rc<Core>,
        snapshot: CurrentSnapshot,
        headers: ForwardedHeaders,
    ) {
        let (core, on_panic) = (Rc::clone(core), Rc::clone(core));
        let task = async move {
            let response = self.request_fresh(&core, &snapshot, &headers).await;
            self.compare(&core, &snapshot, response);
        };
        spawn::spawn(task, move |_| {
            on_panic.metrics.borrow_mut().process.panics.increment();
        });
    }

    async fn request_fresh(
        &self,
        core: &Core,
        snapshot: &Snapshot,
        headers: &ForwardedHeaders,
    ) -> Option<CachedResponse> {
        let route = snapshot.models.get(&*self.model.text())?;
        let target = route.targets.get(self.target_index.get())?;
        let target_ref = route.target_refs.get(self.target_index.get())?;
        self.replay.send(core, target, target_ref, headers).await
    }

    fn target_label(&self, snapshot: &Snapshot) -> Option<Name> {
        let route = snapshot.models.get(&*self.model.text())?;
        let target = route.targets.get(self.target_index.get());
        target.map(|target| target.label)
    }

    fn compare(self, core: &Core, snapshot: &Snapshot, response: Option<CachedResponse>) {
        let semantic = &self.permit.0;
        let quality = semantic.quality();
        let Some(response) = response else {
            return quality.count_sample(SampleOutcome::Failed);
        };
        if let Some(usage) = response.usage {
            let tokens = usage.total();
            quality
                .sample_budget
                .record_spent(self.tokens_expected, tokens);
            let billed_usage = BilledUsage::Reported(usage);
            let charge = Charge::of(billed_usage, self.target_label(snapshot), &snapshot.prices);
            let mut metrics = core.metrics.borrow_mut();
            record_usage(&mut metrics, self.key, self.model, billed_usage, &charge);
        }
        let config = &snapshot.config.cache.semantic;
        let compared = semantic.compare_hit(HitComparison {
            model: self.model,
            question: self.question,
            hit: self.hit,
            fresh: response.content().to_owned(),
            wrong_hit_rate_max: config.wrong_hit_rate_max,
            logs: config.log.is_some(),
        });
        quality.count_sample(if compared.is_ok() {
            SampleOutcome::Compared
        } else {
            SampleOutcome::Failed
        });
    }
}

/// The first target, in the policy's order, of those that may see the request; `None` if it is in this process, or the
/// request may not be repeated.
fn target_index(core: &Core, request: &SampledRequest<'_>) -> Option<TargetIndex> {
    let facts = RequestFacts {
        random: request_ids::random(),
        affinity_key: None,
        series: Series::of_request(request.chat.stream, request.body.len()),
    };
    let (route, constraints) = (request.route, request.constraints);
    let routed = attempt_guard::order(core, route, constraints, &facts, &mut None);
    let index = *routed.order.first()?;
    let target = route.targets.get(index.get())?;
    let is_remote = matches!(&target.backend, Backend::Remote(_));
    (is_remote && request.may_repeat).then_some(index)
}
