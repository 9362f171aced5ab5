//! Route and exchange: targets in the policy's order, until one answers.
//!
//! Another key or target is tried only while nothing was relayed: on a failed connection, a deadline,
//! a refused key, 429, 5xx, an answer that broke off or is no JSON. How one target is asked is in
//! `asking.rs`.

use crate::base::request_ids;
use crate::error::class::ErrorSource;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard;
use crate::gateway::attempt::attempt_guard::Turn;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
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

/// Longest wait that OpenAI's SDKs take from `retry-after` (openai-python, `_calculate_retry_timeout`);
/// told to wait longer they would come back too early, so then they are told not to.
const SDK_WAITS_MAX: Duration = Duration::from_secs(60);

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
    if let Some(fault) = plan.scope.constraints.no_eligible_target(models) {
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
            affinity_key: plan.scope.affinity_key,
            series: plan.series(),
        };
        if self.round == 0 && !ctx.route.fell_back && !self.queue.has_waited() {
            core.target_table.borrow_mut().count_request();
        }
        let routed = attempt_guard::order(
            core,
            route,
            &plan.scope.constraints,
            &facts,
            &mut ctx.route.note,
        );
        let order = routed.order;
        self.queue.note_full(route, routed.full);
        let hedging = Hedging::new(plan, route);
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
                    .map(attempt_error::embeddings_only);
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
                let has_another = plan.scope.constraints.key_index().is_none()
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
                .scope
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
            self.queue.note_full(route, TargetSet::from_iter([index]));
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
                if failed.error.code != ErrorCode::Overloaded || self.last.is_none() {
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
            failed.is_final() && self.plan.scope.deadline.is_over(),
            &self.last,
        ) {
            failed.error = self.plan.scope.deadline.error(Some(&last.error));
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
            |last: &AttemptError| last.is_refusal() || last.error.source == ErrorSource::Client;
        if self.last.as_ref().is_some_and(is_hopeless) {
            return false;
        }
        self.round += 1;
        let asked = attempt_guard::limited_for(self.core, models, &self.plan.scope.constraints);
        let left = self.plan.scope.deadline.left();
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
            self.note(attempt_error::wait_interrupted(why), ctx);
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
        measures_rate: plan.scope.constraints.policy_of(route).reads_rates(),
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
