//! The wait for a place when every target that may be asked is as busy as it may be: in the line of this
//! core and model, until it is called, hangs up, or its time there ends. It must not know how targets
//! are asked (`attempt.rs`).

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_error;
use crate::gateway::attempt::attempt_error::AttemptError;
use crate::gateway::attempt::attempt_plan::AttemptPlan;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::{Core, micros};
use crate::gateway::snapshot::model::ModelRoute;
use crate::http::retry_after::whole_seconds;
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

/// Longest that a client is told to wait before it comes again: what is busy now seldom is for longer,
/// and SDKs ignore more than a minute.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// The targets that a request waits for.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Slots of those that were left out for want of a place.
    full: Vec<TargetSlot>,
    /// Slots of those that it was called for; `None` = it never waited.
    called: Option<Vec<TargetSlot>>,
    /// When its time in line ends, over all waits.
    by: Option<Instant>,
}

impl Queue {
    /// Notes the targets of a model that are at their concurrency limit.
    pub(crate) fn note(&mut self, route: &ModelRoute, full: TargetSet) {
        for index in full.iter() {
            if let Some(target_ref) = route.target_refs.get(index.get())
                && self.admits(target_ref)
                && !self.full.contains(&target_ref.slot)
            {
                self.full.push(target_ref.slot);
            }
        }
    }

    /// Nothing was left out for want of a place.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.full.is_empty()
    }

    /// It was called from the line.
    #[must_use]
    pub(crate) fn was_called(&self) -> bool {
        self.called.is_some()
    }

    /// Whether the target may be asked: after a wait only those that were waited for, the others were
    /// asked before.
    #[must_use]
    pub(crate) fn admits(&self, target_ref: &TargetRef) -> bool {
        let called = self.called.as_ref();
        called.is_none_or(|slots| slots.contains(&target_ref.slot))
    }

    /// All targets may be asked again.
    pub(crate) fn restart(&mut self) {
        self.full.clear();
        self.called = None;
    }
}

/// Waits until a permit of one of the targets that were excluded as full is free.
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
        target_refs.any(|one| one.bounds.is_some() && slots.contains(&one.slot))
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
    let line = InLine::enter(core, queue_entry, admission.queue_max);
    let Some(line) = line else {
        return Err(shed(core, route, "queue_full", ctx));
    };
    let called = poll_fn(|cx| {
        let call = core
            .target_table
            .borrow_mut()
            .poll_queued(line.id, cx.waker());
        if let Some(call) = call {
            return Poll::Ready(Ok(call));
        }
        client.borrow_mut().poll_interrupt(cx).map(Err)
    });
    let ended = before(by.min(plan.scope.deadline.by), called).await;
    let waited = clock::now().saturating_duration_since(began_at);
    ctx.timing.add_queued(waited);
    match ended {
        Some(Ok(Wakeup::Permit(_))) => {
            core.metrics
                .borrow_mut()
                .admission
                .wait_seconds
                .record(route.name, waited.as_secs_f64());
            line.claim(route.index, waited);
            queue.called = Some(slots);
            Ok(())
        }
        Some(Ok(Wakeup::Displaced)) => Err(shed(core, route, "displaced", ctx)),
        Some(Err(why)) => {
            let mut metrics = core.metrics.borrow_mut();
            let shed = &mut metrics.admission.shed;
            shed.increment((route.name, interruption_label(why)));
            Err(attempt_error::wait_interrupted(why))
        }
        None if plan.scope.deadline.is_over() => {
            let mut metrics = core.metrics.borrow_mut();
            metrics.admission.shed.increment((route.name, "deadline"));
            Err(failed(plan.scope.deadline.fault(None)))
        }
        None => Err(shed(core, route, "queue_deadline", ctx)),
    }
}

/// Why a wait was interrupted, as a label of `ringside_admission_shed_total`.
fn interruption_label(why: Interruption) -> &'static str {
    match why {
        Interruption::ClientGone => "client_disconnected",
        Interruption::Drained | Interruption::HedgeCancelled => "drained",
    }
}

/// A place in line, given back however the wait ends.
struct InLine<'c> {
    core: &'c Core,
    id: u64,
}

impl<'c> InLine<'c> {
    fn enter(core: &'c Core, one: QueueEntry<'_>, max: usize) -> Option<Self> {
        let id = core.target_table.borrow_mut().enqueue(one, max)?;
        Some(Self { core, id })
    }

    /// Takes the place that it was called for.
    fn claim(self, model: ModelIndex, waited: Duration) {
        let mut target_table = self.core.target_table.borrow_mut();
        target_table.take_permit(self.id, model, micros(waited));
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        // Not while a panic unwinds through the fleet itself. Who took its place is no longer in line.
        if let Ok(mut target_table) = self.core.target_table.try_borrow_mut() {
            target_table.leave_queue(self.id);
        }
    }
}

/// The failure of a request that is turned away for `reason`.
fn shed(
    core: &Core,
    route: &ModelRoute,
    reason: &'static str,
    ctx: &mut RequestContext,
) -> AttemptError {
    core.metrics
        .borrow_mut()
        .admission
        .shed
        .increment((route.name, reason));
    if ctx.route.attempts == 0 {
        ctx.outcome.should_retry = Some(true);
    }
    let wait_us = core.target_table.borrow().usual_wait_us(route.index);
    let wait = Duration::from_micros(wait_us).clamp(Duration::from_secs(1), RETRY_AFTER_MAX);
    let what = match reason {
        "queue_full" => "no more requests can wait",
        "displaced" => "a request of a higher priority took its place in line",
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
