//! The loop over models and targets: targets in the order of the policy, until one has a response for the client.
//!
//! Another key or target is tried only while nothing was relayed: after a failed connection, a deadline, a refused key,
//! 429, 5xx, a response that broke off or is not JSON. It must not know how a request is sent.

use crate::base::request_ids;
use crate::error::class::ErrorSource;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::attempt::attempt_guard::Turn;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::attempt::classify;
use crate::gateway::attempt::hedge;
use crate::gateway::attempt::hedge::{HedgeAttempt, Hedging};
use crate::gateway::attempt::queue;
use crate::gateway::attempt::queue::Queue;
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::attempt::target_call::TargetCall;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::context::route::HedgeBudgetShare;
use crate::gateway::core::Core;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::target::Backend;
use crate::observability::metrics::requests::Stage;
use crate::routing::backoff;
use crate::routing::indices::TargetIndex;
use crate::routing::policy::RequestFacts;
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::{Interrupt, before};
use crate::server::client::Client;
use std::cell::RefCell;
use std::future::poll_fn;
use std::time::Duration;

/// Longest `retry-after` that OpenAI's SDKs respect (openai-python, `_calculate_retry_timeout`). After a longer one they
/// would retry too early, so then they get `x-should-retry: false`.
const SDK_WAITS_MAX: Duration = Duration::from_secs(60);

/// Keys of a target that may refuse what the caller's own headers select, before the next target is tried: such a refusal
/// puts no key in cooldown, so nothing else ends the attempts.
const REFUSALS_OF_CALLER_MAX: u32 = 2;

/// Tries the targets of the first model, then of each further one; all of them again as often as is configured; and the
/// fallback model of a request that is refused for its content.
///
/// # Errors
/// The error of the last target.
pub(crate) async fn run(
    core: &Core,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<AttemptResult, GatewayError> {
    if let Some(error) = plan.scope.constraints.no_eligible_target(models) {
        return Err(error);
    }
    let mut attempts = AttemptLoop {
        core,
        plan,
        client: RefCell::new(client),
        last: None,
        round: 0,
        queue: Queue::default(),
    };
    let retries = models.first().map_or(0, |route| route.failover.retries);
    loop {
        for (position, route) in models.iter().enumerate() {
            // Usage is recorded for the model that is tried.
            ctx.route.model = Some(route.name);
            ctx.route.fell_back = position > 0;
            if let Some(result) = attempts.try_model(route, ctx).await {
                return Ok(attempts.unless_refused(result, ctx).await);
            }
            if attempts.is_over() {
                break;
            }
        }
        if attempts.wait_for_permit(models, ctx).await {
            continue;
        }
        if attempts.round == retries || attempts.is_over() || !attempts.pause(models, ctx).await {
            break;
        }
        attempts.queue.restart();
    }
    conclude(core, models, plan, attempts.last, ctx)
}

struct AttemptLoop<'a, 'c> {
    core: &'a Core,
    plan: &'a AttemptPlan<'a>,
    client: RefCell<&'c mut Client>,
    /// The error that the client gets if no target has a response.
    last: Option<AttemptError>,
    /// How often all targets were tried.
    round: u32,
    /// The wait for targets that are at their concurrency limit.
    queue: Queue,
}

/// The targets of one model in the order in which they are tried, from one of them on.
#[derive(Clone, Copy)]
struct Candidates<'s> {
    route: &'s ModelRoute,
    /// The targets after the one that is tried.
    rest: &'s [TargetIndex],
    hedging: Option<Hedging>,
}

impl AttemptLoop<'_, '_> {
    /// Tries the targets of a model. `None` when none has a response.
    async fn try_model(
        &mut self,
        route: &ModelRoute,
        ctx: &mut RequestContext,
    ) -> Option<AttemptResult> {
        let Self { core, plan, .. } = *self;
        let facts = RequestFacts {
            random: request_ids::random(),
            affinity_key: plan.scope.affinity_key,
            series: plan.series(),
        };
        if self.round == 0 && !ctx.route.fell_back && !self.queue.has_waited() {
            core.target_table.borrow_mut().count_request();
        }
        let (constraints, note) = (&plan.scope.constraints, &mut ctx.route.note);
        let routed = attempt_guard::order(core, route, constraints, &facts, note);
        self.queue.note_full(route, routed.full);
        let hedging = Hedging::new(plan, route);
        if let Some(hedging) = hedging {
            ctx.route.hedge.budget = Some(HedgeBudgetShare {
                model: hedging.model,
                input_tokens: hedging.input_tokens,
            });
        }
        let mut tried = TargetSet::default();
        let mut rest = routed.order.as_slice();
        while let Some((index, after)) = rest.split_first() {
            rest = after;
            if tried.contains(*index) {
                continue;
            }
            let target_ref = route.target_refs.get(index.get());
            let Some(target_ref) = target_ref.filter(|target_ref| self.queue.admits(target_ref))
            else {
                continue;
            };
            let Some(call) = target_call(core, plan, route, *index) else {
                let target = route.targets.get(index.get());
                self.last = target.map(attempt_error::embeddings_only);
                continue;
            };
            let attempt = HedgeAttempt {
                index: *index,
                target_ref,
                call,
            };
            let candidates = Candidates {
                route,
                rest,
                hedging,
            };
            let result = self.try_target(&attempt, candidates, &mut tried, ctx).await;
            if result.is_some() || self.is_over() {
                return result;
            }
        }
        None
    }

    /// Tries a target once, and again while it has another key that is not in cooldown.
    async fn try_target(
        &mut self,
        first: &HedgeAttempt<'_>,
        candidates: Candidates<'_>,
        tried: &mut TargetSet,
        ctx: &mut RequestContext,
    ) -> Option<AttemptResult> {
        let Candidates { route, hedging, .. } = candidates;
        let mut refusals_of_caller = 0;
        while self.has_room(route, first.index) && self.may_try(first.target_ref, ctx) {
            if ctx.route.attempts == 0 {
                ctx.stage_done(self.core, Stage::Route);
            }
            ctx.route.target = Some(first.call.target.label);
            let second = || self.hedge_target(candidates, *tried);
            let raced = hedge::send_hedged(&self.client, first, hedging, second, ctx).await;
            if let Some(index) = raced.second {
                tried.insert(index);
            }
            if let Some(failed) = raced.second_error {
                self.note_error(failed, ctx);
            }
            let failed = match raced.result {
                Ok(result) => return Some(result),
                Err(failed) => failed,
            };
            let blames_key = failed.blames_key();
            let class = failed.status_class();
            let selects = first.call.selects();
            if class.is_some_and(|class| classify::is_about_caller(class, selects)) {
                refusals_of_caller += 1;
            }
            self.note_error(failed, ctx);
            let has_another_key = self.plan.scope.constraints.key_index().is_none()
                && attempt_guard::has_free_key(self.core, first.target_ref);
            let is_refused = refusals_of_caller == REFUSALS_OF_CALLER_MAX;
            if self.is_over() || !blames_key || !has_another_key || is_refused {
                break;
            }
        }
        None
    }

    /// The next healthy target, for a second attempt when the first is late.
    fn hedge_target<'s>(
        &'s self,
        candidates: Candidates<'s>,
        tried: TargetSet,
    ) -> Option<HedgeAttempt<'s>> {
        let Candidates { route, rest, .. } = candidates;
        let arm = self.plan.scope.constraints.arm_of(route);
        let mut untried = rest.iter().copied().filter(|index| !tried.contains(*index));
        untried.find_map(|index| {
            let target_ref = route.target_refs.get(index.get())?;
            let is_eligible = arm.is_none_or(|arm| arm.holds(index))
                && attempt_guard::may_hedge(self.core, target_ref)
                && self.queue.admits(target_ref);
            let call = target_call(self.core, self.plan, route, index).filter(|_| is_eligible)?;
            Some(HedgeAttempt {
                index,
                target_ref,
                call,
            })
        })
    }

    /// Whether the target has a free permit; if not, the request may wait for one.
    fn has_room(&mut self, route: &ModelRoute, index: TargetIndex) -> bool {
        let target_ref = route.target_refs.get(index.get());
        let is_full =
            target_ref.is_some_and(|target_ref| attempt_guard::is_full(self.core, target_ref));
        if is_full {
            self.queue.note_full(route, TargetSet::from_iter([index]));
        }
        !is_full
    }

    /// Waits for a permit if targets were skipped because they are full; true when there is one.
    async fn wait_for_permit(&mut self, models: &[&ModelRoute], ctx: &mut RequestContext) -> bool {
        // A permit that this request waited for and did not use goes to the next in the queue.
        self.core.target_table.borrow_mut().release_unused_permit();
        if self.is_over() || self.queue.is_empty() {
            return false;
        }
        let (core, client, queue) = (self.core, &self.client, &mut self.queue);
        // On the heap: rare.
        let wait = on_heap(|| queue::wait(core, queue, models, self.plan, client, ctx));
        match wait.await {
            Ok(()) => true,
            Err(failed) => {
                // The error of a target says more than that the others were busy.
                if failed.error.code != ErrorCode::Overloaded || self.last.is_none() {
                    self.note_error(failed, ctx);
                }
                false
            }
        }
    }

    /// Whether the retry budget allows an attempt at the target.
    fn may_try(&self, target_ref: &TargetRef, ctx: &mut RequestContext) -> bool {
        let turn = match self.round {
            _ if ctx.route.attempts == 0 => Turn::First,
            0 => Turn::Next,
            _ => Turn::Again,
        };
        let may = attempt_guard::may_try(self.core, target_ref, turn);
        if !may && turn != Turn::First {
            // An SDK must not make the retry that the budget forbids here.
            ctx.outcome.should_retry = Some(false);
        }
        may
    }

    /// Notes an error; the client gets it if no target has a response.
    fn note_error(&mut self, mut failed: AttemptError, ctx: &mut RequestContext) {
        ctx.outcome.detail = Some(failed.detail.clone());
        let deadline = &self.plan.scope.deadline;
        if let Some(last) = &self.last
            && failed.is_final()
            && deadline.is_over()
        {
            failed.error = deadline.error(Some(&last.error));
        }
        // Another error says more to the client than that the gateway's key was refused.
        if self.last.is_none() || !failed.is_refusal() {
            self.last = Some(failed);
        }
    }

    /// Whether nothing else may be tried.
    fn is_over(&self) -> bool {
        self.last.as_ref().is_some_and(AttemptError::is_final)
    }

    /// Waits before all targets are tried again; false if that cannot help, or not in time.
    async fn pause(&mut self, models: &[&ModelRoute], ctx: &mut RequestContext) -> bool {
        let is_hopeless =
            |last: &AttemptError| last.is_refusal() || last.error.source == ErrorSource::Client;
        if self.last.as_ref().is_some_and(is_hopeless) {
            return false;
        }
        self.round += 1;
        let scope = &self.plan.scope;
        let wait = attempt_guard::limited_for(self.core, models, &scope.constraints);
        let left = scope.deadline.left();
        let Some(pause) = backoff::pause(self.round, request_ids::random(), wait, left) else {
            return false;
        };
        let began_at = clock::now();
        let interrupted = before(
            began_at + pause,
            poll_fn(|cx| self.client.borrow_mut().poll_interrupt(cx)),
        )
        .await;
        ctx.timing.waited_since(began_at);
        if let Some(interruption) = interrupted {
            self.note_error(attempt_error::wait_interrupted(interruption), ctx);
        }
        interrupted.is_none()
    }

    /// The response; or, if the request was refused for its content, that of the fallback model for this refusal.
    async fn unless_refused(
        &mut self,
        refused: AttemptResult,
        ctx: &mut RequestContext,
    ) -> AttemptResult {
        let AttemptResult::Whole(response) = &refused else {
            return refused;
        };
        let refusal = response.refusal;
        let fallback = refusal.and_then(|refusal| self.plan.fallbacks.of(refusal));
        let Some(route) = fallback else {
            return refused;
        };
        let before = (ctx.route.model, ctx.route.fell_back, response.target);
        (ctx.route.model, ctx.route.fell_back) = (Some(route.name), true);
        // The fallback is tried if it has a free permit. A request that has a response does not wait for one.
        self.queue.restart();
        match self.try_model(route, ctx).await {
            Some(AttemptResult::Whole(other)) if other.refusal.is_some() => {}
            Some(better) => return better,
            None => {}
        }
        // The first refusal says more about the request than how its fallback failed.
        (ctx.route.model, ctx.route.fell_back) = (before.0, before.1);
        ctx.route.target = Some(before.2);
        refused
    }
}

/// A call to the target with this index; `None` for the embedding model in this process.
fn target_call<'s>(
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
        measures_rate: plan.scope.constraints.policy_of(route).reads_rates(),
    })
}

/// What the client gets when no target has a good response.
fn conclude(
    core: &Core,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    last: Option<AttemptError>,
    ctx: &mut RequestContext,
) -> Result<AttemptResult, GatewayError> {
    // A single target's own 429 says more.
    let targets: usize = models.iter().map(|route| route.target_refs.len()).sum();
    let is_own = targets == 1 && last.is_some();
    if let Some(wait) =
        attempt_guard::limited_for(core, models, &plan.scope.constraints).filter(|_| !is_own)
    {
        ctx.outcome.should_retry = Some(wait <= SDK_WAITS_MAX);
        return Err(attempt_error::all_rate_limited(wait));
    }
    let failed = last.ok_or_else(attempt_error::no_target)?;
    match failed.response {
        Some(response) => Ok(AttemptResult::Whole(response)),
        None => Err(failed.error),
    }
}
