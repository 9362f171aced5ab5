//! Hedging: one call to a target, and a second one to another target if the first is late. The first good response is
//! used. The other attempt is interrupted and awaited, never dropped, because its reads and writes must end first.

use crate::base::names::Name;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::attempt::client_watch::ClientWatch;
use crate::gateway::attempt::response::AttemptResult;
use crate::gateway::attempt::send::send;
use crate::gateway::attempt::target_call::{CallStats, TargetCall};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, micros};
use crate::gateway::snapshot::model::ModelRoute;
use crate::observability::metrics::hedging::HedgeOutcome;
use crate::routing::hedge::Rule;
use crate::routing::indices::{ModelIndex, TargetIndex};
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

/// Bytes of a request per token, to estimate its input (OpenAI's rule of thumb for English text).
const BYTES_PER_TOKEN: u64 = 4;

/// How a request is hedged at one model.
#[derive(Clone, Copy)]
pub(crate) struct Hedging {
    pub model: ModelIndex,
    pub name: Name,
    /// When an attempt is late, and how many tokens hedging may use.
    pub rule: Rule,
    /// Estimated tokens of the request's input.
    pub input_tokens: u64,
    /// The series that the request's latency belongs to.
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
            input_tokens: body_bytes.div_ceil(BYTES_PER_TOKEN),
            series: plan.series(),
        })
    }
}

/// One of the targets that a request is sent to.
pub(crate) struct HedgeAttempt<'a> {
    pub index: TargetIndex,
    pub target_ref: &'a TargetRef,
    pub call: TargetCall<'a>,
}

/// What came of one attempt, or of two.
pub(crate) struct HedgeResult {
    /// The result that is used: a success, or the error of the first attempt.
    pub result: Result<AttemptResult, AttemptError>,
    /// The target of the second attempt; `None` when there was none.
    pub second: Option<TargetIndex>,
    pub second_error: Option<AttemptError>,
}

/// An attempt that has ended.
struct EndedAttempt {
    result: Result<AttemptResult, AttemptError>,
    stats: CallStats,
}

/// Sends the request to `first`. If hedging is on, the first attempt is late, and there is a `second` target and budget
/// for it, to both.
pub(crate) async fn send_hedged<'a>(
    client: &RefCell<&mut Client>,
    first: &HedgeAttempt<'a>,
    hedging: Option<Hedging>,
    second: impl FnOnce() -> Option<HedgeAttempt<'a>>,
    ctx: &mut RequestContext,
) -> HedgeResult {
    let core = first.call.core;
    let began_at = clock::recent();
    let first_cancelled = Cell::new(false);
    let mut attempt = pin!(attempt(client, first, hedging, &first_cancelled));
    let late_at = hedging.and_then(|hedging| late_at(core, first.target_ref, &hedging, began_at));
    let (Some(hedging), Some(late_at)) = (hedging, late_at) else {
        return conclude_single(attempt.await, ctx);
    };
    if let Some(ended) = before(late_at, attempt.as_mut()).await {
        return conclude_single(ended, ctx);
    }
    let second = second().and_then(|second| Some((spend(core, &hedging)?, second)));
    let Some((tokens, second)) = second else {
        return conclude_single(attempt.await, ctx);
    };
    ctx.route.hedge.extra_tokens = ctx.route.hedge.extra_tokens.saturating_add(tokens);
    let second_cancelled = Cell::new(false);
    // On the heap: rare.
    let race = on_heap(|| {
        let other = self::attempt(client, &second, Some(hedging), &second_cancelled);
        race(attempt, &first_cancelled, other, &second_cancelled)
    });
    let race = race.await;
    let raced = conclude_race(race, &second, hedging.name, ctx);
    ctx.timing.waited_since(began_at);
    raced
}

/// When an attempt that begins at `now` is late; `None` while too little is known.
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

/// Takes the estimated tokens of a second attempt from the budget; `None` when it is spent.
fn spend(core: &Core, hedging: &Hedging) -> Option<u64> {
    let Hedging {
        model,
        name,
        rule,
        input_tokens,
        series,
    } = hedging;
    let now_us = core.now_us();
    let mut hedges = core.hedges.borrow_mut();
    let spent = hedges.spend(*model, *input_tokens, *series, rule, now_us);
    let mut metrics = core.metrics.borrow_mut();
    match spent {
        Some(tokens) => metrics.hedging.tokens_estimated.add(*name, tokens),
        None => metrics
            .hedging
            .hedges
            .increment((*name, HedgeOutcome::Refused)),
    }
    spent
}

fn conclude_single(ended: EndedAttempt, ctx: &mut RequestContext) -> HedgeResult {
    let stats = ended.stats;
    ctx.route.attempts += stats.attempts;
    ctx.timing.waited += stats.waited;
    ctx.timing.first_byte = stats.first_byte.or(ctx.timing.first_byte);
    ctx.route.dropped = stats.dropped;
    HedgeResult {
        result: ended.result,
        second: None,
        second_error: None,
    }
}

/// One attempt, from its start to its first good bytes or its error.
async fn attempt(
    client: &RefCell<&mut Client>,
    target: &HedgeAttempt<'_>,
    hedging: Option<Hedging>,
    is_cancelled: &Cell<bool>,
) -> EndedAttempt {
    let HedgeAttempt {
        call, target_ref, ..
    } = target;
    let core = call.core;
    let began_at = clock::recent();
    let key_index = call.plan.scope.constraints.key_index();
    let attempt_guard = AttemptGuard::begin(core, call.target.label, target_ref, key_index);
    let mut watch = ClientWatch {
        client,
        is_cancelled,
    };
    let mut stats = CallStats::default();
    let result = send(call, attempt_guard, &mut watch, &mut stats).await;
    // A cancelled attempt would have taken longer. It counts too, else slow attempts would never be measured.
    if let (Some(hedging), true) = (hedging, is_good(&result) || is_cancelled.get()) {
        let duration = clock::now().saturating_duration_since(began_at);
        let mut hedges = core.hedges.borrow_mut();
        hedges.measure(
            target_ref.slot,
            hedging.series,
            micros(duration),
            core.now_us(),
        );
    }
    EndedAttempt { result, stats }
}

/// Whether the other attempt need not be awaited. A refusal may be this target's alone.
fn is_good(result: &Result<AttemptResult, AttemptError>) -> bool {
    match result {
        Ok(AttemptResult::Stream(_)) => true,
        Ok(AttemptResult::Whole(response)) => response.status < 400,
        Err(_) => false,
    }
}

/// Two attempts that have ended.
struct EndedRace {
    first: EndedAttempt,
    second: EndedAttempt,
    /// The second attempt had a good response before the first.
    second_won: bool,
}

/// Polls both attempts until both have ended. When one has a good response, the other is cancelled.
async fn race(
    mut first: Pin<&mut impl Future<Output = EndedAttempt>>,
    first_cancelled: &Cell<bool>,
    second: impl Future<Output = EndedAttempt>,
    second_cancelled: &Cell<bool>,
) -> EndedRace {
    let mut second = pin!(second);
    let mut ended_first = None;
    let mut ended_second = None;
    poll_fn(|cx| {
        if ended_first.is_none()
            && let Poll::Ready(ended) = first.as_mut().poll(cx)
        {
            // The second attempt ends at its next poll, its read or write cancelled and awaited.
            second_cancelled.set(is_good(&ended.result));
            ended_first = Some(ended);
        }
        if ended_second.is_none()
            && let Poll::Ready(ended) = second.as_mut().poll(cx)
        {
            first_cancelled.set(!second_cancelled.get() && is_good(&ended.result));
            ended_second = Some(ended);
            if ended_first.is_none()
                && first_cancelled.get()
                && let Poll::Ready(ended) = first.as_mut().poll(cx)
            {
                ended_first = Some(ended);
            }
        }
        match (ended_first.take(), ended_second.take()) {
            (Some(first), Some(second)) => Poll::Ready(EndedRace {
                first,
                second,
                second_won: first_cancelled.get(),
            }),
            (first, second) => {
                (ended_first, ended_second) = (first, second);
                Poll::Pending
            }
        }
    })
    .await
}

/// Decides which result is used: the second if it won, or if only the second has a response.
fn conclude_race(
    race: EndedRace,
    second_target: &HedgeAttempt<'_>,
    model: Name,
    ctx: &mut RequestContext,
) -> HedgeResult {
    let EndedRace {
        first,
        second,
        second_won,
    } = race;
    let call = &second_target.call;
    ctx.route.attempts += first.stats.attempts + second.stats.attempts;
    let takes_second = second_won || (first.result.is_err() && second.result.is_ok());
    let (used, other, outcome) = if takes_second {
        ctx.route.target = Some(call.target.label);
        (second, first, HedgeOutcome::Won)
    } else {
        (first, second, HedgeOutcome::Lost)
    };
    ctx.route.hedge.outcome = Some(outcome);
    ctx.timing.first_byte = used.stats.first_byte.or(ctx.timing.first_byte);
    ctx.route.dropped = used.stats.dropped;
    let mut metrics = call.core.metrics.borrow_mut();
    metrics.hedging.hedges.increment((model, outcome));
    HedgeResult {
        result: used.result,
        second: Some(second_target.index),
        second_error: other.result.err().filter(|_| !takes_second),
    }
}
