//! A sample of the hits by meaning is asked upstream too, once the client has its answer, so that the cached
//! answer can be compared with a fresh one.
//!
//! One attempt at one target, in a task of its own. It must not delay or change what the client gets.

use crate::accounting::billing::{BilledUsage, Charge, record_usage};
use crate::base::names::Name;
use crate::base::request_ids;
use crate::cache::quality::error_rate::SampleOutcome;
use crate::cache::response::cached_response::CachedResponse;
use crate::cache::semantic::hit_comparison::HitComparison;
use crate::cache::semantic::tier::{SemanticHit, SemanticTier};
use crate::config::sections::cache::Cache as CacheConfig;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::caching::lookup::Hit;
use crate::gateway::core::{Core, CurrentSnapshot};
use crate::gateway::experiments::background::ReplayRequest;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::{Backend, ModelRoute, Snapshot};
use crate::protocols::client_api::ClientApi;
use crate::protocols::request::chat_request::ChatRequest;
use crate::routing::indices::TargetIndex;
use crate::routing::measurements::Series;
use crate::routing::policy::RequestFacts;
use crate::runtime::clock;
use crate::runtime::spawn;
use std::rc::Rc;
use std::sync::Arc;

/// Tokens that a sample is taken to cost when the cached answer does not say what it cost.
const TOKENS_EXPECTED: u64 = 1000;

/// The request that a hit answers.
pub(crate) struct SampleInput<'r> {
    /// The model asked for.
    pub route: &'r ModelRoute,
    /// The request, read.
    pub chat: &'r ChatRequest,
    /// Its body, as providers may see it.
    pub body: &'r [u8],
    /// Which targets may see it.
    pub constraints: &'r RouteConstraints<'r>,
    /// The client's dialect.
    pub client_api: &'static dyn ClientApi,
    /// It has no effect beyond its answer.
    pub may_repeat: bool,
}

/// A hit that was drawn for a sample.
pub(crate) struct HitSample {
    hit: SemanticHit,
    question: String,
    model: Name,
    key: Option<Name>,
    /// Place of the target among the model's.
    index: TargetIndex,
    again: ReplayRequest,
    tokens: u64,
    place: SamplePermit,
}

/// A place among the samples under way; given back however the sample ends.
struct SamplePermit(Arc<SemanticTier>);

impl SamplePermit {
    fn take(semantic: &Arc<SemanticTier>) -> Option<Self> {
        let taken = semantic.quality().sample_budget.take_permit();
        taken.then(|| Self(Arc::clone(semantic)))
    }
}

impl Drop for SamplePermit {
    fn drop(&mut self) {
        self.0.quality().sample_budget.release_permit();
    }
}

impl HitSample {
    /// Draws: a share of the hits, within the budget of tokens.
    #[must_use]
    pub(crate) fn draw(
        core: &Core,
        config: &CacheConfig,
        hit: &Hit,
        question: &str,
        key: Option<Name>,
        request: &SampleInput<'_>,
    ) -> Option<Box<Self>> {
        let semantic = core.shared.semantic.as_ref()?;
        let (similarity, confidence, score) = hit.found?;
        // 53 bits are what a float holds.
        #[allow(clippy::cast_precision_loss)]
        let drawn = (request_ids::random() >> 11) as f64 / (1_u64 << 53) as f64;
        if drawn >= config.semantic.sample {
            return None;
        }
        let index = target(core, request)?;
        let place = SamplePermit::take(semantic)?;
        let usage = hit.entry.response.usage;
        let tokens = usage.map_or(TOKENS_EXPECTED, |usage| usage.prompt + usage.completion);
        let hour = clock::since_epoch().as_secs() / 3600;
        let tokens_max = config.semantic.sample_tokens_max;
        if !semantic.quality().reserve_sample(tokens, tokens_max, hour) {
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
            index,
            again: ReplayRequest {
                body: request.body.to_vec(),
                model_range: request.chat.model_range.clone(),
                usage_edit: None,
                streams: request.chat.stream,
                client_api: request.client_api,
            },
            tokens,
            place,
        }))
    }

    /// Asks upstream, in a task of its own.
    pub(crate) fn send(
        self: Box<Self>,
        core: &Rc<Core>,
        snapshot: CurrentSnapshot,
        passed: ForwardedHeaders,
    ) {
        let (core, on_panic) = (Rc::clone(core), Rc::clone(core));
        let task = async move {
            let response = self.ask(&core, &snapshot, &passed).await;
            self.learn(&core, &snapshot, response);
        };
        spawn::spawn(task, move |_| {
            on_panic.metrics.borrow_mut().process.panics.increment()
        });
    }

    async fn ask(
        &self,
        core: &Core,
        snapshot: &Snapshot,
        passed: &ForwardedHeaders,
    ) -> Option<CachedResponse> {
        let route = snapshot.models.get(&*self.model.text())?;
        let (target, target_ref) = (
            route.targets.get(self.index.get())?,
            route.target_refs.get(self.index.get())?,
        );
        self.again.ask(core, target, target_ref, passed).await
    }

    fn label(&self, snapshot: &Snapshot) -> Option<Name> {
        let route = snapshot.models.get(&*self.model.text())?;
        route
            .targets
            .get(self.index.get())
            .map(|target| target.label)
    }

    fn learn(self, core: &Core, snapshot: &Snapshot, response: Option<CachedResponse>) {
        let semantic = &self.place.0;
        let quality = semantic.quality();
        let Some(response) = response else {
            return quality.count_sample(SampleOutcome::Failed);
        };
        if let Some(usage) = response.usage {
            quality
                .sample_budget
                .record_spent(self.tokens, usage.prompt + usage.completion);
            let billed_usage = BilledUsage::Reported(usage);
            let charge = Charge::of(billed_usage, self.label(snapshot), &snapshot.prices);
            let mut metrics = core.metrics.borrow_mut();
            record_usage(&mut metrics, self.key, self.model, billed_usage, &charge);
        }
        let config = &snapshot.config.cache.semantic;
        let learned = semantic.compare_hit(HitComparison {
            model: self.model,
            question: self.question,
            hit: self.hit,
            fresh: response.content().to_owned(),
            wrong_hit_rate_max: config.wrong_hit_rate_max,
            logs: config.log.is_some(),
        });
        quality.count_sample(if learned.is_ok() {
            SampleOutcome::Compared
        } else {
            SampleOutcome::Failed
        });
    }
}

/// The first target of those that may see the request, in the policy's order; `None` if it is in this process, or
/// the request may not be repeated.
fn target(core: &Core, request: &SampleInput<'_>) -> Option<TargetIndex> {
    let facts = RequestFacts {
        random: request_ids::random(),
        affinity_key: None,
        series: Series::of_request(request.chat.stream, request.body.len()),
    };
    let routed = attempt_guard::order(core, request.route, request.constraints, &facts, &mut None);
    let index = *routed.order.first()?;
    let is_remote = matches!(
        &request.route.targets.get(index.get())?.backend,
        Backend::Remote(_)
    );
    (is_remote && request.may_repeat).then_some(index)
}
