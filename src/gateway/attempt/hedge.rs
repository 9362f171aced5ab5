//! Asking one target; and a second one if the first is late. The first good answer is kept, the other
//! attempt is interrupted and awaited, never dropped.

use crate::base::names::Name;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::attempt::target_call::{Spent, TargetCall};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, micros};
use crate::gateway::snapshot::model::ModelRoute;
use crate::observability::metrics::hedging::HedgeOutcome;
use crate::routing::hedge::Rule;
use crate::routing::indices::ModelIndex;
use crate::routing::measurements::Series;
use crate::routing::target_ref::TargetRef;
use crate::runtime::clock;
use crate::runtime::heap::on_heap;
use crate::runtime::io::before;
use crate::server::client::Client;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

/// Bytes of a request per token, about, to estimate what its input costs (OpenAI's rule of thumb for
/// English text).
const BYTES_PER_TOKEN: u64 = 4;

/// How the requests of one model are hedged.
#[derive(Clone, Copy)]
pub(crate) struct Hedging {
    /// The model's place.
    pub model: ModelIndex,
    /// Its name.
    pub name: Name,
    /// When, and for how much.
    pub rule: Rule,
    /// Estimate of the request's input, in tokens.
    pub input: u64,
    /// What its latency belongs to.
    pub series: Series,
}

impl Hedging {
    /// `None` when the requests of the model are not hedged, or this request must not be.
    pub(crate) fn new(plan: &AttemptPlan<'_>, route: &ModelRoute) -> Option<Self> {
        let hedge = &route.failover.hedge;
        let is_hedged = hedge.enabled && plan.may_hedge && route.target_refs.len() > 1;
        let body_bytes = plan.body.bytes.len() as u64;
        is_hedged.then(|| Self {
            model: route.index,
            name: route.name,
            rule: Rule {
                quantile: hedge.quantile,
                extra_tokens_share_max: hedge.extra_tokens_share_max,
            },
            input: body_bytes.div_ceil(BYTES_PER_TOKEN),
            series: plan.series(),
        })
    }
}

/// One target and what is known of it.
pub(crate) struct HedgeAttempt<'a> {
    /// How it is asked.
    pub asking: TargetCall<'a>,
    /// What routing knows of it.
    pub target_ref: &'a TargetRef,
}

/// What came of one target, or of two.
pub(crate) struct HedgeResult {
    /// What is used, or the failure of the first.
    pub outcome: Result<AttemptResult, AttemptError>,
    /// The second target was asked.
    pub second_asked: bool,
    /// The failure of the second.
    pub second_failed: Option<AttemptError>,
}

type Ended = (Result<AttemptResult, AttemptError>, Spent);

/// Asks `first`; if hedging is on and it is late, and there is a `second` and the means, both.
pub(crate) async fn ask<'a>(
    core: &'a Core,
    client: &RefCell<&mut Client>,
    first: &HedgeAttempt<'a>,
    hedging: Option<Hedging>,
    second: impl FnOnce() -> Option<HedgeAttempt<'a>>,
    ctx: &mut RequestContext,
) -> HedgeResult {
    let began_at = clock::recent();
    let hedge_cancelled = Cell::new(false);
    let mut attempt = pin!(attempt(core, client, first, hedging, &hedge_cancelled));
    let late_at = hedging.and_then(|hedging| late_at(core, first.target_ref, &hedging, began_at));
    let (Some(hedging), Some(late_at)) = (hedging, late_at) else {
        return alone(attempt.await, ctx);
    };
    if let Some(ended) = before(late_at, attempt.as_mut()).await {
        return alone(ended, ctx);
    }
    let paid = second().and_then(|second| Some((pay(core, &hedging)?, second)));
    let Some((tokens, second)) = paid else {
        return alone(attempt.await, ctx);
    };
    ctx.route.hedge.extra_tokens += tokens;
    // On the heap: rare.
    let race = on_heap(|| {
        race(
            core,
            client,
            attempt,
            &hedge_cancelled,
            &second,
            hedging,
            ctx,
        )
    });
    let raced = race.await;
    ctx.timing.waited_since(began_at);
    raced
}

/// When an attempt that begins now is late.
fn late_at(
    core: &Core,
    target_ref: &TargetRef,
    hedging: &Hedging,
    now: Instant,
) -> Option<Instant> {
    let hedges = core.hedges.borrow();
    let late_us = hedges.late_after_us(target_ref.slot, hedging.series, &hedging.rule)?;
    Some(now + Duration::from_micros(late_us))
}

/// Pays for a second request; says how many tokens that is, by estimate.
fn pay(core: &Core, hedging: &Hedging) -> Option<u64> {
    let Hedging {
        model,
        name,
        rule,
        input,
        series,
    } = hedging;
    let now_us = core.now_us();
    let mut hedges = core.hedges.borrow_mut();
    let paid = hedges.spend(*model, *input, *series, rule, now_us);
    let mut metrics = core.metrics.borrow_mut();
    match paid {
        Some(tokens) => metrics.hedging.tokens_estimated.add(*name, tokens),
        None => metrics
            .hedging
            .hedges
            .increment((*name, HedgeOutcome::Refused)),
    }
    paid
}

fn alone((outcome, spent): Ended, ctx: &mut RequestContext) -> HedgeResult {
    ctx.route.attempts += spent.attempts;
    ctx.timing.waited += spent.waited;
    ctx.timing.first_byte = spent.first_byte.or(ctx.timing.first_byte);
    ctx.route.dropped = spent.dropped;
    HedgeResult {
        outcome,
        second_asked: false,
        second_failed: None,
    }
}

/// One attempt, from its begin to its first good bytes or its failure.
async fn attempt(
    core: &Core,
    client: &RefCell<&mut Client>,
    entrant: &HedgeAttempt<'_>,
    hedging: Option<Hedging>,
    is_outrun: &Cell<bool>,
) -> Ended {
    let HedgeAttempt { asking, target_ref } = entrant;
    let began_at = clock::recent();
    let key_index = asking.plan.scope.constraints.key_index();
    let attempt_guard = AttemptGuard::begin(core, asking.target.label, target_ref, key_index);
    let mut watch = ClientWatch { client, is_outrun };
    let mut spent = Spent::default();
    let outcome = asking.attempt(attempt_guard, &mut watch, &mut spent).await;
    // One that was outrun would have taken longer: left out, the slow ones would never be seen again.
    if let (Some(hedging), true) = (hedging, is_good(&outcome) || is_outrun.get()) {
        let took = clock::now().saturating_duration_since(began_at);
        let mut hedges = core.hedges.borrow_mut();
        hedges.measure(target_ref.slot, hedging.series, micros(took), core.now_us());
    }
    (outcome, spent)
}

/// An answer that another one need not be waited for. A refusal may be this target's alone.
fn is_good(outcome: &Result<AttemptResult, AttemptError>) -> bool {
    match outcome {
        Ok(AttemptResult::Stream(_)) => true,
        Ok(AttemptResult::Whole(response)) => response.status < 400,
        Err(_) => false,
    }
}

/// Both until one has a good answer, or both have ended.
async fn race(
    core: &Core,
    client: &RefCell<&mut Client>,
    mut first: Pin<&mut impl Future<Output = Ended>>,
    first_outrun: &Cell<bool>,
    entrant: &HedgeAttempt<'_>,
    hedging: Hedging,
    ctx: &mut RequestContext,
) -> HedgeResult {
    let second_outrun = Cell::new(false);
    let second = attempt(core, client, entrant, Some(hedging), &second_outrun);
    let mut second = pin!(second);
    let mut ended_first = None;
    let mut ended_second = None;
    poll_fn(|cx| {
        if ended_first.is_none()
            && let Poll::Ready(ended) = first.as_mut().poll(cx)
        {
            // The other one ends at its next poll, its read or write cancelled and awaited.
            second_outrun.set(is_good(&ended.0));
            ended_first = Some(ended);
        }
        if ended_second.is_none()
            && let Poll::Ready(ended) = second.as_mut().poll(cx)
        {
            first_outrun.set(!second_outrun.get() && is_good(&ended.0));
            ended_second = Some(ended);
            if ended_first.is_none()
                && first_outrun.get()
                && let Poll::Ready(ended) = first.as_mut().poll(cx)
            {
                ended_first = Some(ended);
            }
        }
        if ended_first.is_some() && ended_second.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let (Some(first), Some(second)) = (ended_first, ended_second) else {
        unreachable!("both have ended");
    };
    settle(
        core,
        first,
        second,
        first_outrun.get(),
        entrant,
        hedging,
        ctx,
    )
}

/// Which of the two is used.
fn settle(
    core: &Core,
    first: Ended,
    second: Ended,
    second_won: bool,
    entrant: &HedgeAttempt<'_>,
    hedging: Hedging,
    ctx: &mut RequestContext,
) -> HedgeResult {
    ctx.route.attempts += first.1.attempts + second.1.attempts;
    // Also when the first failed and the second has anything to tell.
    let takes_second = second_won || (first.0.is_err() && second.0.is_ok());
    let (used, other) = if takes_second {
        ctx.route.target = Some(entrant.asking.target.label);
        (second, first)
    } else {
        (first, second)
    };
    let hedged = if takes_second {
        HedgeOutcome::Won
    } else {
        HedgeOutcome::Lost
    };
    ctx.route.hedge.outcome = Some(hedged);
    ctx.timing.first_byte = used.1.first_byte.or(ctx.timing.first_byte);
    ctx.route.dropped = used.1.dropped;
    let mut metrics = core.metrics.borrow_mut();
    metrics.hedging.hedges.increment((hedging.name, hedged));
    HedgeResult {
        outcome: used.0,
        second_asked: true,
        second_failed: other.0.err().filter(|_| !takes_second),
    }
}
