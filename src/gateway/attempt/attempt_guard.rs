//! What routing is asked before an attempt and learns from it: an attempt in flight is counted until it ends, however
//! that happens, and what it changes is logged and counted. It must not know how a request is sent.

use crate::base::names::Name;
use crate::base::request_ids;
use crate::gateway::core::{Core, micros};
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::selection::Selection;
use crate::gateway::snapshot::model::ModelRoute;
use crate::observability::access_log::RouteNote;
use crate::observability::log_line::{LogLine, TargetEvent, TargetNotice};
use crate::observability::metrics::targets::CooldownCause;
use crate::routing::demand::Exclusion;
use crate::routing::health::Outcome;
use crate::routing::indices::{KeyIndex, TargetIndex};
use crate::routing::limiter::Work;
use crate::routing::measurements::Series;
use crate::routing::policy::RequestFacts;
use crate::routing::target_ref::TargetRef;
use crate::routing::targets::{Change, Route, TargetTable, Ticket};
use crate::runtime::clock;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The targets to try, and those excluded. `note` is filled by the first call.
pub(crate) fn order(
    core: &Core,
    route: &ModelRoute,
    constraints: &RouteConstraints<'_>,
    facts: &RequestFacts,
    note: &mut Option<RouteNote>,
) -> Route {
    core.merge_shared_health();
    let selection = constraints.select(route);
    let mut target_table = core.target_table.borrow_mut();
    let routed = constraints.order(route, &selection, facts, &mut target_table, core.now_us());
    note.get_or_insert_with(|| route_note(route, &selection, &routed));
    routed
}

/// The order of the targets, for the log.
fn route_note(route: &ModelRoute, selection: &Selection, routed: &Route) -> RouteNote {
    let label = |index: TargetIndex| route.targets.get(index.get()).map(|target| target.label);
    let mut tried = routed.order.iter().filter_map(|index| label(*index));
    let excluded = selection.exclusions.iter().enumerate();
    let mut excluded = excluded.filter_map(|(index, why)| {
        let index = TargetIndex::new(index);
        let is_full = routed.full.contains(index);
        let why = why.map(Exclusion::as_str).or(is_full.then_some("full"));
        Some((label(index)?, why?))
    });
    RouteNote {
        policy: selection.policy.name(),
        order: std::array::from_fn(|_| tried.next()),
        excluded: std::array::from_fn(|_| excluded.next()),
    }
}

/// Which attempts of the request came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// None.
    First,
    /// At other targets.
    Next,
    /// At all targets, this one too.
    Again,
}

/// Whether an attempt at a target may be made. Counts it if the retry budget forbids it.
pub(crate) fn may_try(core: &Core, target_ref: &TargetRef, turn: Turn) -> bool {
    let now_us = core.now_us();
    let mut target_table = core.target_table.borrow_mut();
    let may = match turn {
        Turn::First => target_table.may_try(target_ref, true, now_us),
        Turn::Next => target_table.may_try(target_ref, false, now_us),
        Turn::Again => target_table.may_repeat(target_ref, now_us),
    };
    core.metrics
        .borrow_mut()
        .targets
        .retries_refused
        .add(u64::from(!may));
    may
}

/// Whether the target is at its concurrency limit.
pub(crate) fn is_full(core: &Core, target_ref: &TargetRef) -> bool {
    target_ref.bounds.is_some() && core.target_table.borrow_mut().is_full(target_ref)
}

/// Whether a second attempt may be made at a target when the first one is late.
pub(crate) fn may_hedge(core: &Core, target_ref: &TargetRef) -> bool {
    core.target_table
        .borrow_mut()
        .may_hedge(target_ref, core.now_us())
}

/// Whether the target has another key to try.
pub(crate) fn has_free_key(core: &Core, target_ref: &TargetRef) -> bool {
    let now_us = core.now_us();
    core.target_table
        .borrow_mut()
        .has_free_key(target_ref, now_us)
}

/// If every target is in cooldown because its provider limits the rate: how long until the first of them may be tried.
pub(crate) fn limited_for(
    core: &Core,
    models: &[&ModelRoute],
    constraints: &RouteConstraints<'_>,
) -> Option<Duration> {
    let now_us = core.now_us();
    let mut target_table = core.target_table.borrow_mut();
    let mut first_us = None;
    for route in models {
        let exclusions = constraints.select(route).exclusions;
        for (target_ref, why) in route.target_refs.iter().zip(exclusions) {
            if why.is_none() {
                let until_us = target_table.limited_until_us(target_ref, now_us)?;
                first_us = Some(first_us.map_or(until_us, |first: u64| first.min(until_us)));
            }
        }
    }
    Some(Duration::from_micros(first_us?.saturating_sub(now_us)))
}

/// An attempt. If it is dropped before [`AttemptGuard::end`], it does not change the health of its target.
pub(crate) struct AttemptGuard {
    target_table: Rc<RefCell<TargetTable>>,
    target: Name,
    has_keys: bool,
    ticket: Option<Ticket>,
    key_index: KeyIndex,
    /// When the request could be sent, after connecting.
    sent_at: Instant,
    now_us: u64,
}

impl AttemptGuard {
    /// Begins an attempt at a target, with this key if it is given.
    #[must_use]
    pub(crate) fn begin(
        core: &Core,
        target: Name,
        target_ref: &TargetRef,
        key_index: Option<KeyIndex>,
    ) -> Self {
        let now_us = core.now_us();
        let ticket = core
            .target_table
            .borrow_mut()
            .begin_by(target_ref, key_index, now_us);
        Self {
            target_table: Rc::clone(&core.target_table),
            target,
            has_keys: target_ref.keys > 0,
            ticket: Some(ticket),
            key_index: ticket.key_index,
            sent_at: clock::recent(),
            now_us,
        }
    }

    /// The key to use.
    #[must_use]
    pub(crate) fn key_index(&self) -> KeyIndex {
        self.key_index
    }

    /// The request was sent: the exchange began at `began_at`, and `connect` is the time it took to connect.
    pub(crate) fn sent(&mut self, core: &Core, began_at: Instant, connect: Option<Duration>) {
        self.sent_at = began_at + connect.unwrap_or_default();
        if let (Some(connect), Some(ticket)) = (connect, &self.ticket) {
            let mut target_table = self.target_table.borrow_mut();
            target_table.measure(ticket, Series::Connect, micros(connect), core.now_us());
        }
    }

    /// Records the time since the request was sent.
    pub(crate) fn measure(&mut self, core: &Core, series: Series) {
        if let Some(ticket) = &self.ticket {
            let latency = clock::recent().saturating_duration_since(self.sent_at);
            let mut target_table = self.target_table.borrow_mut();
            target_table.measure(ticket, series, micros(latency), core.now_us());
        }
    }

    /// Records that `tokens` arrived since `from`.
    pub(crate) fn generated(&mut self, series: Series, tokens: u64, from: Instant) {
        if let Some(ticket) = &self.ticket {
            let time = clock::recent().saturating_duration_since(from);
            let mut target_table = self.target_table.borrow_mut();
            target_table.generated(ticket, series, tokens, micros(time));
        }
    }

    /// When the request could be sent.
    #[must_use]
    pub(crate) fn sent_at(&self) -> Instant {
        self.sent_at
    }

    /// The wait for a response was given up, by the gateway or by the client. The latency is at least the time until
    /// now, which counts if it is more than usual.
    pub(crate) fn waited(&mut self, core: &Core, series: Series) {
        if let Some(ticket) = &self.ticket {
            let waited = clock::recent().saturating_duration_since(self.sent_at);
            let mut target_table = self.target_table.borrow_mut();
            target_table.measure_at_least(ticket, series, micros(waited), core.now_us());
        }
    }

    /// Whether its target has a concurrency limit.
    #[must_use]
    pub(crate) fn is_limited(&self) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| self.target_table.borrow().is_limited(ticket))
    }

    /// A good response, or its first bytes, arrived now. The concurrency limit of the target follows from how long that
    /// took.
    pub(crate) fn record_success(&mut self, core: &Core, work: Work) {
        if let Some(ticket) = &self.ticket {
            let latency = clock::recent().saturating_duration_since(self.sent_at);
            let mut target_table = self.target_table.borrow_mut();
            target_table.record_success(ticket, work, micros(latency), core.now_us());
        }
    }

    /// The target responded that it is overloaded.
    pub(crate) fn record_overload(&mut self, core: &Core) {
        if let Some(ticket) = &self.ticket {
            self.target_table
                .borrow_mut()
                .record_overload(ticket, core.now_us());
        }
    }

    /// The first bytes of a stream arrived, for a request with a body of `body_bytes`.
    pub(crate) fn began(&mut self, core: &Core, body_bytes: usize) {
        self.measure(core, Series::FirstToken);
        self.record_success(core, Work::first_token(body_bytes));
        if let Some(ticket) = &mut self.ticket {
            let now_us = core.now_us();
            let change =
                self.target_table
                    .borrow_mut()
                    .began(ticket, now_us, request_ids::random());
            self.report(core, change, now_us);
        }
    }

    pub(crate) fn end(&mut self, core: &Core, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let now_us = core.now_us();
            let change =
                self.target_table
                    .borrow_mut()
                    .end(ticket, outcome, now_us, request_ids::random());
            self.report(core, change, now_us);
        }
    }

    /// Counts and logs a change of the target's health.
    fn report(&self, core: &Core, change: Option<Change>, now_us: u64) {
        let Some(change) = change else {
            return;
        };
        let mut metrics = core.metrics.borrow_mut();
        let event = match change {
            Change::Phase(phase) => {
                metrics
                    .targets
                    .phase_changes
                    .increment((self.target, phase));
                TargetEvent::Phase(phase)
            }
            Change::KeyCooldown { reason, until_us } => {
                let cause = CooldownCause::from(reason);
                metrics.targets.cooldowns.increment((self.target, cause));
                TargetEvent::KeyCooldown {
                    cause,
                    key: self.has_keys.then_some(self.key_index.get() + 1),
                    lasts: Duration::from_micros(until_us.saturating_sub(now_us)),
                }
            }
        };
        let notice = TargetNotice {
            at: clock::since_epoch(),
            target: self.target,
            event,
        };
        if core.records.push(LogLine::Target(notice)).is_err() {
            metrics.process.access_records_dropped.increment();
        }
    }
}

impl Drop for AttemptGuard {
    fn drop(&mut self) {
        // The table is still borrowed when a panic inside it unwinds.
        if let (Some(ticket), Ok(mut target_table)) =
            (self.ticket.take(), self.target_table.try_borrow_mut())
        {
            target_table.end(ticket, Outcome::Abandoned, self.now_us, 0);
        }
    }
}
