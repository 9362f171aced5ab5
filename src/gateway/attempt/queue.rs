//! The wait for a permit when every target that may be tried is at its concurrency limit: in the queue of this core and
//! model, until a permit is free, the client hangs up, or the time in the queue ends. It must not know how a request is
//! sent.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, micros};
use crate::gateway::snapshot::model::ModelRoute;
use crate::http::retry_after::whole_seconds;
use crate::observability::metrics::admission::ShedReason;
use crate::routing::indices::{ModelIndex, TargetSlot};
use crate::routing::target_ref::TargetRef;
use crate::routing::target_set::TargetSet;
use crate::routing::wait_queue::{QueueEntry, Wakeup};
use crate::runtime::clock;
use crate::runtime::io::{Interrupt, Interruption, before};
use crate::server::client::Client;
use std::cell::RefCell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

/// Longest `retry-after` of a request that got no permit: targets are seldom busy for longer, and SDKs ignore more than
/// a minute.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The targets that a request waits for.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Slots of the targets that were skipped because they are full.
    full: Vec<TargetSlot>,
    /// Slots of the targets that the request has waited for; `None` before the first wait.
    waited_for: Option<Vec<TargetSlot>>,
    /// When the time in the queue ends, over all waits.
    by: Option<Instant>,
}

impl Queue {
    /// Notes targets of a model that are at their concurrency limit.
    pub(crate) fn note_full(&mut self, route: &ModelRoute, full: TargetSet) {
        for index in full.iter() {
            if let Some(target_ref) = route.target_refs.get(index.get())
                && self.admits(target_ref)
                && !self.full.contains(&target_ref.slot)
            {
                self.full.push(target_ref.slot);
            }
        }
    }

    /// Whether no target was skipped because it is full.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// Whether a wait has ended with a permit.
    #[must_use]
    pub(crate) fn has_waited(&self) -> bool {
        self.waited_for.is_some()
    }

    /// Whether the target may be tried. After a wait, only the targets that were waited for: the others were tried
    /// before it.
    #[must_use]
    pub(crate) fn admits(&self, target_ref: &TargetRef) -> bool {
        let waited_for = self.waited_for.as_ref();
        waited_for.is_none_or(|slots| slots.contains(&target_ref.slot))
    }

    /// All targets may be tried again.
    pub(crate) fn restart(&mut self) {
        self.full.clear();
        self.waited_for = None;
    }
}

/// Waits until a permit of one of the targets that were skipped as full is free.
///
/// # Errors
/// No permit became free in time, the queue is full, or the wait was interrupted.
pub(crate) async fn wait(
    core: &Core,
    queue: &mut Queue,
    models: &[&ModelRoute],
    plan: &AttemptPlan<'_>,
    client: &RefCell<&mut Client>,
    ctx: &mut RequestContext,
) -> Result<(), AttemptError> {
    let slots = std::mem::take(&mut queue.full);
    let is_full = |route: &&&ModelRoute| {
        let mut target_refs = route.target_refs.iter();
        target_refs.any(|target| target.bounds.is_some() && slots.contains(&target.slot))
    };
    let route = models.iter().find(is_full).ok_or_else(no_model)?;
    let admission = &route.failover.admission;
    let began_at = clock::now();
    let by = *queue.by.get_or_insert(began_at + admission.queue_deadline);
    let queue_entry = QueueEntry {
        model: route.index,
        priority: plan.scope.priority,
        slots: &slots,
    };
    let position = QueuePosition::enter(core, queue_entry, admission.queue_max);
    let Some(position) = position else {
        return Err(shed(core, route, ShedReason::QueueFull, ctx));
    };
    let wakeup = poll_fn(|cx| {
        let mut target_table = core.target_table.borrow_mut();
        if let Some(wakeup) = target_table.poll_queued(position.id, cx.waker()) {
            return Poll::Ready(Ok(wakeup));
        }
        drop(target_table);
        client.borrow_mut().poll_interrupt(cx).map(Err)
    });
    let wakeup = before(by.min(plan.scope.deadline.by), wakeup).await;
    let waited = clock::now().saturating_duration_since(began_at);
    ctx.timing.add_queued(waited);
    match wakeup {
        Some(Ok(Wakeup::Permit(_))) => {
            core.metrics
                .borrow_mut()
                .admission
                .wait_seconds
                .record(route.name, waited.as_secs_f64());
            position.take_permit(route.index, waited);
            queue.waited_for = Some(slots);
            Ok(())
        }
        Some(Ok(Wakeup::Displaced)) => Err(shed(core, route, ShedReason::Displaced, ctx)),
        Some(Err(interruption)) => {
            count_shed(core, route, reason_of(interruption));
            Err(attempt_error::wait_interrupted(interruption))
        }
        None if plan.scope.deadline.is_over() => {
            count_shed(core, route, ShedReason::Deadline);
            Err(failed(plan.scope.deadline.error(None)))
        }
        None => Err(shed(core, route, ShedReason::QueueDeadline, ctx)),
    }
}

fn reason_of(interruption: Interruption) -> ShedReason {
    match interruption {
        Interruption::ClientGone => ShedReason::ClientDisconnected,
        Interruption::Drained | Interruption::HedgeCancelled => ShedReason::Drained,
    }
}

fn count_shed(core: &Core, route: &ModelRoute, reason: ShedReason) {
    let mut metrics = core.metrics.borrow_mut();
    metrics.admission.shed.increment((route.name, reason));
}

/// A position in the queue; dropping it leaves the queue.
struct QueuePosition<'c> {
    core: &'c Core,
    id: u64,
}

impl<'c> QueuePosition<'c> {
    /// `None` when the queue is full.
    fn enter(core: &'c Core, queue_entry: QueueEntry<'_>, max: usize) -> Option<Self> {
        let id = core.target_table.borrow_mut().enqueue(queue_entry, max)?;
        Some(Self { core, id })
    }

    /// Takes the permit that was reserved for it.
    fn take_permit(self, model: ModelIndex, waited: Duration) {
        let mut target_table = self.core.target_table.borrow_mut();
        target_table.take_permit(self.id, model, micros(waited));
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        // The table is still borrowed when a panic inside it unwinds. After `take_permit` this does nothing.
        if let Ok(mut target_table) = self.core.target_table.try_borrow_mut() {
            target_table.leave_queue(self.id);
        }
    }
}

/// Counts a request that got no permit, and returns its error.
fn shed(
    core: &Core,
    route: &ModelRoute,
    reason: ShedReason,
    ctx: &mut RequestContext,
) -> AttemptError {
    count_shed(core, route, reason);
    if ctx.route.attempts == 0 {
        ctx.outcome.should_retry = Some(true);
    }
    let wait_us = core.target_table.borrow().usual_wait_us(route.index);
    let wait = Duration::from_micros(wait_us).clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
    let what = match reason {
        ShedReason::QueueFull => "no more requests can wait",
        ShedReason::Displaced => "a request of a higher priority took its position in the queue",
        _ => "none became free in time",
    };
    let message = format!(
        "every target of the model `{}` is as busy as it may be, and {what}",
        route.name.text()
    );
    failed(GatewayError {
        retry_after: Some(whole_seconds(wait).to_string()),
        ..GatewayError::new(ErrorCode::Overloaded, message)
    })
}

fn failed(error: GatewayError) -> AttemptError {
    AttemptError {
        detail: error.message.to_string(),
        error,
        response: None,
    }
}

fn no_model() -> AttemptError {
    failed(attempt_error::no_target())
}
