//! An attempt under way, as routing sees it: it is counted until it ends, however it ends, and what it
//! changed is told to log and metrics.

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

/// The targets to try, and those left out; `note` is filled once.
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
    note.get_or_insert_with(|| noted(route, &selection, &routed));
    routed
}

/// What the log tells of it.
fn noted(route: &ModelRoute, selection: &Selection, routed: &Route) -> RouteNote {
    let label = |index: TargetIndex| route.targets.get(index.get()).map(|target| target.label);
    let mut tried = routed.order.iter().filter_map(|index| label(*index));
    let left_out = selection.exclusions.iter().enumerate();
    let mut left_out = left_out.filter_map(|(index, why)| {
        let index = TargetIndex::new(index);
        let is_full = routed.full.contains(index);
        let why = why.map(Exclusion::name).or(is_full.then_some("full"));
        Some((label(index)?, why?))
    });
    RouteNote {
        policy: selection.policy.name(),
        order: std::array::from_fn(|_| tried.next()),
        excluded: std::array::from_fn(|_| left_out.next()),
    }
}

/// How often a target may have been asked already by a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nothing was asked yet.
    First,
    /// Others were asked.
    Next,
    /// All were asked, this one too.
    Again,
}

/// Whether an attempt may be made at a target; counts it if the retry budget forbids it.
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

/// Whether the target is as busy as it may be.
pub(crate) fn is_full(core: &Core, target_ref: &TargetRef) -> bool {
    target_ref.bounds.is_some() && core.target_table.borrow_mut().is_full(target_ref)
}

/// Whether a second request for one that is late may be sent to a target.
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

/// If every target is set aside by its provider's wish: for how long the first of them is.
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

/// An attempt. Dropped without an end, it says nothing about the target.
pub(crate) struct AttemptGuard {
    target_table: Rc<RefCell<TargetTable>>,
    target: Name,
    has_keys: bool,
    ticket: Option<Ticket>,
    key_index: KeyIndex,
    /// When the request could be sent: connecting left out.
    sent_at: Instant,
    now_us: u64,
}

impl AttemptGuard {
    /// Begins an attempt at a target, with the key of this lane if one is given.
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

    /// Which of the target's keys to use.
    #[must_use]
    pub(crate) fn key_index(&self) -> KeyIndex {
        self.key_index
    }

    /// The request was sent: begun at `began_at`, after connecting for so long.
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

    /// Records that so many tokens came since `from`.
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

    /// No answer came for so long that the wait was given up, by us or by the client: its latency is at
    /// least that, which counts if it is more than usual.
    pub(crate) fn waited(&mut self, core: &Core, series: Series) {
        if let Some(ticket) = &self.ticket {
            let waited = clock::recent().saturating_duration_since(self.sent_at);
            let mut target_table = self.target_table.borrow_mut();
            target_table.measure_at_least(ticket, series, micros(waited), core.now_us());
        }
    }

    /// Whether its target has a limit.
    #[must_use]
    pub(crate) fn is_limited(&self) -> bool {
        let ticket = self.ticket.as_ref();
        ticket.is_some_and(|ticket| self.target_table.borrow().is_limited(ticket))
    }

    /// A good answer, or the begin of one, came now: the limit of its target goes by how long that took.
    pub(crate) fn record_success(&mut self, core: &Core, work: Work) {
        if let Some(ticket) = &self.ticket {
            let latency = clock::recent().saturating_duration_since(self.sent_at);
            let mut target_table = self.target_table.borrow_mut();
            target_table.record_success(ticket, work, micros(latency), core.now_us());
        }
    }

    /// The target said that it is overloaded.
    pub(crate) fn record_overload(&mut self, core: &Core) {
        if let Some(ticket) = &self.ticket {
            self.target_table
                .borrow_mut()
                .record_overload(ticket, core.now_us());
        }
    }

    /// The first bytes of a stream came, for a request with a body of so many bytes.
    pub(crate) fn began(&mut self, core: &Core, body_bytes: usize) {
        self.measure(core, Series::FirstToken);
        self.record_success(core, Work::first_token(body_bytes));
        if let Some(ticket) = &mut self.ticket {
            let now_us = core.now_us();
            let change =
                self.target_table
                    .borrow_mut()
                    .began(ticket, now_us, request_ids::random());
            self.tell(core, change, now_us);
        }
    }

    /// Ends it.
    pub(crate) fn end(&mut self, core: &Core, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            let now_us = core.now_us();
            let change =
                self.target_table
                    .borrow_mut()
                    .end(ticket, outcome, now_us, request_ids::random());
            self.tell(core, change, now_us);
        }
    }

    /// Books and logs a change.
    fn tell(&self, core: &Core, change: Option<Change>, now_us: u64) {
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
        // Not while a panic unwinds through the fleet itself.
        if let (Some(ticket), Ok(mut target_table)) =
            (self.ticket.take(), self.target_table.try_borrow_mut())
        {
            target_table.end(ticket, Outcome::Abandoned, self.now_us, 0);
        }
    }
}
