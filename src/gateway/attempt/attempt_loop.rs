//! Route and exchange: targets in the policy's order, until one answers.
//!
//! Another key or target is tried only while nothing was relayed: on a failed connection, a deadline,
//! a refused key, 429, 5xx, an answer that broke off or is no JSON. How one target is asked is in
//! `asking.rs`.

use crate::base::key_priority::KeyPriority;
use crate::base::names::Name;
use crate::base::request_ids;
use crate::error::class::ErrorSource;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::attempt::attempt_guard::{AttemptGuard, Turn};
use crate::gateway::attempt::classify;
use crate::gateway::attempt::classify::AttemptError;
use crate::gateway::attempt::hedge;
use crate::gateway::attempt::hedge::{HedgeAttempt, Hedging};
use crate::gateway::attempt::queue;
use crate::gateway::attempt::queue::Queue;
use crate::gateway::attempt::response_head::UpstreamHead;
use crate::gateway::attempt::target_call::TargetCall;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::context::route::HedgeBudgetShare;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::plan::forward_headers::ForwardedHeaders;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::Backend;
use crate::gateway::transform::id_sealing::IdSealer;
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::observability::metrics::requests::Stage;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::splice::Edit;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::provider_refusals::Refusal;
use crate::routing::backoff;
use crate::routing::hedge::Rule;
use crate::routing::indices::TargetIndex;
use crate::routing::measurements::Series;
use crate::routing::policy::RequestFacts;
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, before};
use crate::server::client::Client;
use crate::upstream::exchange::UpstreamResponse;
use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Largest whole answer, in bytes: it is held until it is complete, so that a provider that fails in
/// the middle costs the client nothing.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest wait that OpenAI's SDKs take from `retry-after` (openai-python, `_calculate_retry_timeout`);
/// told to wait longer they would come back too early, so then they are told not to.
const SDK_WAITS_MAX: Duration = Duration::from_secs(60);

/// What is to be asked.
pub(crate) struct AttemptPlan<'p> {
    /// Which call.
    pub call: UpstreamOperation,
    /// The dialect that the client speaks.
    pub client_api: &'static dyn ClientApi,
    /// Body as the client sent it.
    pub body: &'p [u8],
    /// Where the model's name stands in it.
    pub model_range: &'p Range<usize>,
    /// The edit that asks for usage.
    pub usage_edit: Option<&'p Edit>,
    /// A stream was asked for.
    pub streams: bool,
    /// Headers that cross.
    pub forwarded_headers: ForwardedHeaders,
    /// Hash of who asks.
    pub affinity_key: Option<u64>,
    /// How long it may take.
    pub request_deadline: RequestDeadline,
    /// A second request for the same does no harm.
    pub may_hedge: bool,
    /// Models for what is refused for its content.
    pub fallbacks: Fallbacks<'p>,
    /// How targets are chosen.
    pub constraints: RouteConstraints<'p>,
    /// Whose requests go first when targets are busy.
    pub priority: KeyPriority,
}

/// The models to ask when a request is refused for its content.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fallbacks<'s> {
    /// When it is longer than the context window.
    pub context_length: Option<&'s ModelRoute>,
    /// When the content policy forbids it.
    pub content_policy: Option<&'s ModelRoute>,
}

impl<'s> Fallbacks<'s> {
    fn of(&self, refusal: Refusal) -> Option<&'s ModelRoute> {
        match refusal {
            Refusal::ContextLength => self.context_length,
            Refusal::ContentPolicy => self.content_policy,
        }
    }
}

impl AttemptPlan<'_> {
    /// How it is hedged at a model.
    fn hedging(&self, route: &ModelRoute) -> Option<Hedging> {
        let hedge = &route.failover.hedge;
        (hedge.enabled && self.may_hedge && route.target_refs.len() > 1).then(|| Hedging {
            model: route.index,
            name: route.name,
            rule: Rule {
                quantile: hedge.quantile,
                extra_tokens_share_max: hedge.extra_tokens_share_max,
            },
            input: hedge::estimated_input(self.body.len()),
            series: self.series(),
        })
    }

    /// What its latency is compared with.
    pub(crate) fn series(&self) -> Series {
        Series::of_request(self.streams, self.body.len())
    }
}

/// A whole answer.
pub(crate) struct BufferedResponse {
    /// The target.
    pub target: Name,
    /// Status.
    pub status: u16,
    /// What was taken from its head.
    pub head: UpstreamHead,
    /// The body, in the caller's dialect.
    pub body: Vec<u8>,
    /// The request was refused for its content.
    pub refusal: Option<Refusal>,
}

/// A stream whose first bytes are there.
pub(crate) struct StreamingResponse {
    /// The target.
    pub target: Name,
    /// Provider and endpoint.
    pub backend: Arc<Provider>,
    /// The attempt, which ends with the stream.
    pub attempt_guard: AttemptGuard,
    /// The exchange.
    pub upstream_response: UpstreamResponse<UpstreamHead>,
    /// The first bytes of the body.
    pub first: Vec<u8>,
    /// The body is complete already.
    pub is_done: bool,
    /// What puts the body into the caller's dialect, if the provider speaks another.
    pub translation: Option<Box<NeutralRelay>>,
    /// What seals the ids of what the provider keeps.
    pub id_sealer: Option<Box<IdSealer>>,
}

/// What an attempt ended with.
pub(crate) enum AttemptResult {
    /// A whole answer, of whatever status.
    Whole(BufferedResponse),
    /// A stream.
    Stream(Box<StreamingResponse>),
}

/// Tries the targets of the first model, then of each further one; all of them again as often as is
/// configured; and the fallback model of what is refused for its content.
///
/// # Errors
/// The last target's fault.
pub(crate) async fn run(
    core: &Core,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<AttemptResult, GatewayError> {
    if let Some(fault) = plan.constraints.nothing_fits(models) {
        return Err(fault);
    }
    let mut search = AttemptLoop {
        core,
        plan,
        client: RefCell::new(client),
        last: None,
        round: 0,
        queue: Queue::default(),
    };
    let retries = models.first().map_or(0, |route| route.failover.retries);
    loop {
        for (nth, route) in models.iter().enumerate() {
            // What is spent is booked on the model that is asked.
            ctx.route.model = Some(route.name);
            ctx.route.fell_back = nth > 0;
            if let Some(attempted) = search.try_model(route, ctx).await {
                return Ok(search.unless_refused(attempted, ctx).await);
            }
            if search.is_over() {
                break;
            }
        }
        if search.is_called(models, ctx).await {
            continue;
        }
        if search.round == retries || search.is_over() || !search.pause(models, ctx).await {
            break;
        }
        search.queue.restart();
    }
    conclude(core, models, plan, search.last, ctx)
}

/// The search for a target that answers.
struct AttemptLoop<'a, 'c> {
    core: &'a Core,
    plan: &'a AttemptPlan<'a>,
    client: RefCell<&'c mut Client>,
    /// The failure that is told if none answers.
    last: Option<AttemptError>,
    /// Times that all targets were asked.
    round: u32,
    /// The wait for targets that are as busy as they may be.
    queue: Queue,
}

impl AttemptLoop<'_, '_> {
    /// Tries the targets of a model.
    async fn try_model(
        &mut self,
        route: &ModelRoute,
        ctx: &mut RequestContext,
    ) -> Option<AttemptResult> {
        let Self { core, plan, .. } = *self;
        let facts = RequestFacts {
            random: request_ids::random(),
            affinity_key: plan.affinity_key,
            series: plan.series(),
        };
        if self.round == 0 && !ctx.route.fell_back && !self.queue.was_called() {
            core.target_table.borrow_mut().count_request();
        }
        let routed =
            attempt_guard::order(core, route, &plan.constraints, &facts, &mut ctx.route.note);
        let order = routed.order;
        self.queue.note(route, routed.full);
        let hedging = plan.hedging(route);
        if let Some(hedging) = hedging {
            ctx.route.hedge.budget = Some(HedgeBudgetShare {
                model: hedging.model,
                input_tokens: hedging.input,
            });
        }
        let mut tried = TargetSet::default();
        for (nth, index) in order.iter().copied().enumerate() {
            if tried.contains(index) {
                continue;
            }
            let target_ref = route.target_refs.get(index.get());
            let Some(target_ref) = target_ref.filter(|target_ref| self.queue.admits(target_ref))
            else {
                continue;
            };
            let Some(asking) = asking(core, plan, route, index) else {
                self.last = route
                    .targets
                    .get(index.get())
                    .map(classify::not_a_chat_model);
                continue;
            };
            let first = HedgeAttempt { asking, target_ref };
            // Once, and again as long as it has a key that is not set aside.
            while self.has_room(route, index) && self.may_try(target_ref, ctx) {
                if ctx.route.attempts == 0 {
                    ctx.stage_done(core, Stage::Route);
                }
                ctx.route.target = Some(first.asking.target.label);
                let mut second_index = None;
                let rest = order.get(nth + 1..).unwrap_or_default();
                let second = || {
                    let found = self.second(route, rest, tried)?;
                    second_index = Some(found.0);
                    Some(found.1)
                };
                let raced = hedge::ask(core, &self.client, &first, hedging, second, ctx).await;
                if let Some(index) = second_index.filter(|_| raced.second_asked) {
                    tried.insert(index);
                }
                if let Some(failed) = raced.second_failed {
                    self.note(failed, ctx);
                }
                let failed = match raced.outcome {
                    Ok(attempted) => return Some(attempted),
                    Err(failed) => failed,
                };
                let blames_key = failed.blames_key();
                self.note(failed, ctx);
                if self.is_over() {
                    return None;
                }
                let has_another = plan.constraints.key_index().is_none()
                    && attempt_guard::has_free_key(core, target_ref);
                if !blames_key || !has_another {
                    break;
                }
            }
        }
        None
    }

    /// The next target that a late request may be sent to as well: a healthy one.
    fn second<'s>(
        &'s self,
        route: &'s ModelRoute,
        rest: &[TargetIndex],
        tried: TargetSet,
    ) -> Option<(TargetIndex, HedgeAttempt<'s>)> {
        let mut untried = rest.iter().copied().filter(|index| !tried.contains(*index));
        untried.find_map(|index| {
            let target_ref = route.target_refs.get(index.get())?;
            let stays = self
                .plan
                .constraints
                .arm_of(route)
                .is_none_or(|arm| arm.holds(index));
            let is_fit = stays
                && attempt_guard::may_hedge(self.core, target_ref)
                && self.queue.admits(target_ref);
            let asking = asking(self.core, self.plan, route, index).filter(|_| is_fit)?;
            Some((index, HedgeAttempt { asking, target_ref }))
        })
    }

    /// Whether the target has room for this request; if not, it may be waited for.
    fn has_room(&mut self, route: &ModelRoute, index: TargetIndex) -> bool {
        let target_ref = route.target_refs.get(index.get());
        let is_full =
            target_ref.is_some_and(|target_ref| attempt_guard::is_full(self.core, target_ref));
        if is_full {
            self.queue.note(route, TargetSet::from_iter([index]));
        }
        !is_full
    }

    /// Waits for a place if targets were left out for want of one; true when there is one.
    async fn is_called(&mut self, models: &[&ModelRoute], ctx: &mut RequestContext) -> bool {
        // A place that this request was called for and did not take is the next one's.
        self.core.target_table.borrow_mut().release_unused_permit();
        if self.is_over() || self.queue.is_empty() {
            return false;
        }
        let (core, client, queue) = (self.core, &self.client, &mut self.queue);
        // On the heap: rare.
        let ended = on_heap(|| queue::wait(core, queue, models, self.plan, client, ctx));
        match ended.await {
            Ok(()) => true,
            Err(failed) => {
                // What a target said is more to the point than that the others were busy.
                if failed.fault.code != ErrorCode::Overloaded || self.last.is_none() {
                    self.note(failed, ctx);
                }
                false
            }
        }
    }

    /// Whether the target may be asked (again).
    fn may_try(&self, target_ref: &TargetRef, ctx: &mut RequestContext) -> bool {
        let turn = match self.round {
            _ if ctx.route.attempts == 0 => Turn::First,
            0 => Turn::Next,
            _ => Turn::Again,
        };
        let may = attempt_guard::may_try(self.core, target_ref, turn);
        if !may && turn != Turn::First {
            // What the budget forbids here, an SDK must not do instead.
            ctx.outcome.should_retry = Some(false);
        }
        may
    }

    /// Keeps a failure, to be told if nothing better comes.
    fn note(&mut self, mut failed: AttemptError, ctx: &mut RequestContext) {
        ctx.outcome.detail = Some(failed.detail.clone());
        if let (true, Some(last)) = (
            failed.is_final() && self.plan.request_deadline.is_over(),
            &self.last,
        ) {
            failed.fault = classify::out_of_time(&self.plan.request_deadline, Some(&last.fault));
        }
        // That our key is refused is no news for the client if there is other news.
        if self.last.is_none() || !failed.is_refusal() {
            self.last = Some(failed);
        }
    }

    /// Nothing else may be tried.
    fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(AttemptError::is_final)
    }

    /// Waits before all targets are asked again; false if that cannot help, or not in time.
    async fn pause(&mut self, models: &[&ModelRoute], ctx: &mut RequestContext) -> bool {
        let is_hopeless =
            |last: &AttemptError| last.is_refusal() || last.fault.source == ErrorSource::Client;
        if self.last.as_ref().is_some_and(is_hopeless) {
            return false;
        }
        self.round += 1;
        let asked = attempt_guard::limited_for(self.core, models, &self.plan.constraints);
        let left = self.plan.request_deadline.left();
        let Some(pause) = backoff::pause(self.round, request_ids::random(), asked, left) else {
            return false;
        };
        let began_at = clock::now();
        let interrupted = before(
            began_at + pause,
            poll_fn(|cx| self.client.borrow_mut().poll_interrupt(cx)),
        )
        .await;
        ctx.timing.waited_since(began_at);
        if let Some(why) = interrupted {
            self.note(classify::cut_short(why), ctx);
        }
        interrupted.is_none()
    }

    /// The answer; or, if the request was refused for its content, that of the model for such cases.
    async fn unless_refused(
        &mut self,
        attempted: AttemptResult,
        ctx: &mut RequestContext,
    ) -> AttemptResult {
        let AttemptResult::Whole(response) = &attempted else {
            return attempted;
        };
        let fallback = response.refusal.and_then(|one| self.plan.fallbacks.of(one));
        let Some(route) = fallback else {
            return attempted;
        };
        let before = (ctx.route.model, ctx.route.fell_back, response.target);
        (ctx.route.model, ctx.route.fell_back) = (Some(route.name), true);
        // It is asked if it has room; who was answered already does not wait again.
        self.queue.restart();
        match self.try_model(route, ctx).await {
            Some(AttemptResult::Whole(other)) if other.refusal.is_some() => {}
            Some(better) => return better,
            None => {}
        }
        // The first refusal says more about the request than how its fallback failed.
        (ctx.route.model, ctx.route.fell_back) = (before.0, before.1);
        ctx.route.target = Some(before.2);
        attempted
    }
}

/// How the target in this place of a model is asked; `None` for the model in this process.
fn asking<'s>(
    core: &'s Core,
    plan: &'s AttemptPlan<'s>,
    route: &'s ModelRoute,
    index: TargetIndex,
) -> Option<TargetCall<'s>> {
    let target = route.targets.get(index.get())?;
    let Backend::Remote(backend) = &target.backend else {
        return None;
    };
    Some(TargetCall {
        core,
        target,
        backend,
        plan,
        hold: route.failover.first_chunk_hold,
        measures_rate: plan.constraints.policy_of(route).reads_rates(),
    })
}

/// What the client gets when no target answered.
fn conclude(
    core: &Core,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    last: Option<AttemptError>,
    ctx: &mut RequestContext,
) -> Result<AttemptResult, GatewayError> {
    // A single target's own 429 says it best.
    let targets: usize = models.iter().map(|route| route.target_refs.len()).sum();
    let is_own = targets == 1 && last.is_some();
    if let Some(wait) =
        attempt_guard::limited_for(core, models, &plan.constraints).filter(|_| !is_own)
    {
        ctx.outcome.should_retry = Some(wait <= SDK_WAITS_MAX);
        return Err(classify::all_rate_limited(wait));
    }
    let failed = last.ok_or_else(classify::no_target)?;
    match failed.response {
        Some(response) => Ok(AttemptResult::Whole(response)),
        None => Err(failed.fault),
    }
}
