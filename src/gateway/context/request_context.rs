//! The facts of one trip, gathered on the way: for the answer's headers, the metrics and the record.

use crate::accounting::billing::{BilledUsage, Charge};
use crate::base::names::Name;
use crate::base::request_ids;
use crate::gateway::caching::hit_sampling::HitSample;
use crate::gateway::core::Core;
use crate::gateway::experiments::arms;
use crate::gateway::experiments::arms::RequestArm;
use crate::gateway::experiments::mirroring::Mirror;
use crate::gateway::streaming::json_array::JsonArray;
use crate::observability::access_log::{AccessRecord, RouteNote};
use crate::observability::log_line::{LogLine, TargetNotice};
use crate::observability::metrics::core_metrics::{Stage, count};
use crate::protocols::client_api;
use crate::protocols::client_api::{ClientApi, ResponseContext};
use crate::protocols::usage::Usage;
use crate::runtime::clock;
use crate::server::connection::Request;
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// What came of a second request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeOutcome {
    /// It answered first.
    Won,
    /// The first target answered first.
    Lost,
}

impl HedgeOutcome {
    /// Value in header, metrics and log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// One trip.
pub struct RequestContext {
    /// Id, echoed to the client.
    pub request_id: String,
    /// When the request was complete.
    pub started_at: Instant,
    /// Operation, for metrics.
    pub operation: &'static str,
    /// Virtual key.
    pub key: Option<Name>,
    /// Team of the key.
    pub team: Option<Name>,
    /// Model asked for, or the one of the caller's chain that it came to.
    pub model: Option<Name>,
    /// Target that answered, or was tried last.
    pub target: Option<Name>,
    /// How targets of the first model tried were chosen.
    pub route: Option<RouteNote>,
    /// The rule of its model that applies.
    pub rule: Option<Name>,
    /// The arm of an experiment that it belongs to.
    pub arm: Option<RequestArm>,
    /// Cache outcome.
    pub cache: &'static str,
    /// Why, in words for a header.
    pub cache_why: Option<Cow<'static, str>>,
    /// Entry served and its age.
    pub cache_entry: Option<(u128, Duration)>,
    /// The hit is to be compared with a fresh answer.
    pub hit_sample: Option<Box<HitSample>>,
    /// It is to be sent to another target as well.
    pub mirror: Option<Box<Mirror>>,
    /// Upstream attempts made.
    pub attempts: u32,
    /// The place of a model that is hedged, and an estimate of this request's input in tokens.
    pub hedge_earns: Option<(usize, u64)>,
    /// Tokens that the request which was not used may have cost, an estimate.
    pub hedge_tokens: u64,
    /// A second target was asked because the first was late: whether it came first.
    pub hedged: Option<HedgeOutcome>,
    /// Another model than the one in the body was tried.
    pub fell_back: bool,
    /// What the client's SDK is told about trying again; `None` leaves it to what was attempted.
    pub should_retry: Option<bool>,
    /// The dialect that the client speaks.
    pub client_api: &'static dyn ClientApi,
    /// The client wants a stream as one array; how far that is.
    pub array: Option<JsonArray>,
    /// Fields of the request that were dropped, for a header.
    pub dropped: Option<String>,
    /// Status sent.
    pub status: u16,
    /// The answer is streamed.
    pub stream: bool,
    /// Tokens.
    billed_usage: BilledUsage,
    /// Money.
    pub charge: Charge,
    /// Code of the fault sent.
    pub fault: Option<&'static str>,
    /// What broke, for the operator.
    pub detail: Option<String>,
    /// Time spent waiting for upstream.
    pub waited: Duration,
    /// Time of that spent in line for a place at a target.
    queued: Duration,
    /// From the request sent upstream to its first byte.
    pub first_byte: Option<Duration>,
    stage_began_at: Instant,
    overhead: Option<Duration>,
}

impl RequestContext {
    /// Begins.
    #[must_use]
    pub fn begin(request: &Request<'_>) -> Self {
        let callers = request.head.headers.get_str("x-request-id");
        Self::at(request.received_at, request_ids::request_id(callers))
    }

    /// The trip of what is no proper request.
    #[must_use]
    pub fn rejected() -> Self {
        Self::at(clock::now(), request_ids::request_id(None))
    }

    fn at(started_at: Instant, request_id: String) -> Self {
        Self {
            request_id,
            started_at,
            operation: "none",
            key: None,
            team: None,
            model: None,
            target: None,
            route: None,
            rule: None,
            arm: None,
            cache: "bypass",
            cache_why: None,
            cache_entry: None,
            hit_sample: None,
            mirror: None,
            attempts: 0,
            hedge_earns: None,
            hedge_tokens: 0,
            hedged: None,
            fell_back: false,
            should_retry: None,
            client_api: client_api::DEFAULT,
            array: None,
            dropped: None,
            status: 0,
            stream: false,
            billed_usage: BilledUsage::Nothing,
            charge: Charge::Nothing,
            fault: None,
            detail: None,
            waited: Duration::ZERO,
            queued: Duration::ZERO,
            first_byte: None,
            stage_began_at: started_at,
            overhead: None,
        }
    }

    /// What writers of answers are told.
    #[must_use]
    pub fn response_ctx(&self, wants_usage: bool) -> ResponseContext {
        ResponseContext {
            request_id: self.request_id.clone(),
            created: clock::since_epoch().as_secs(),
            wants_usage,
            // What is stored says who answered.
            ..ResponseContext::default()
        }
    }

    /// Ends a stage: its time is measured from the end of the one before.
    pub fn stage_done(&mut self, core: &Core, stage: Stage) {
        let now = clock::now();
        let time = now.saturating_duration_since(self.stage_began_at);
        self.stage_began_at = now;
        core.metrics.borrow_mut().stage(stage, time);
    }

    /// It waited in line for so long: that is no stage's time.
    pub fn queued_for(&mut self, time: Duration) {
        self.waited += time;
        self.queued += time;
        self.stage_began_at += time;
    }

    /// What was bought of the target that answered, and what it costs. That a price is unknown is told
    /// once.
    pub fn buy(&mut self, core: &Core, billed_usage: BilledUsage) {
        let snapshot = core.snapshot();
        self.billed_usage = billed_usage;
        self.charge = Charge::of(billed_usage, self.target, &snapshot.prices);
        let Some(target) = self.target else {
            return;
        };
        if self.charge == Charge::Unknown("price") && snapshot.prices.is_news(target) {
            let notice = TargetNotice {
                at: clock::since_epoch(),
                event: "price_unknown",
                target,
                what: "no price; costs are unknown until [[prices]] has one",
                key: None,
                lasts: None,
            };
            if core.records.push(LogLine::Target(notice)).is_err() {
                core.metrics.borrow_mut().records_dropped += 1;
            }
        }
    }

    /// What the gateway added until now: total time less the time spent waiting for upstream. Fixed
    /// by the first call, which is when the answer's head is written.
    pub fn overhead(&mut self) -> Duration {
        *self.overhead.get_or_insert_with(|| {
            clock::now()
                .saturating_duration_since(self.started_at)
                .saturating_sub(self.waited)
        })
    }

    /// Books everything.
    pub fn end(mut self, core: &Core, logs_requests: bool) {
        let overhead = self.overhead();
        let duration = clock::now().saturating_duration_since(self.started_at);
        if let Some((model, input)) = self.hedge_earns {
            let mut hedges = core.hedges.borrow_mut();
            hedges.earn(
                model,
                bought_tokens(self.billed_usage, input),
                core.now_us(),
            );
        }
        let mut metrics = core.metrics.borrow_mut();
        count(&mut metrics.requests, (self.operation, self.status));
        metrics.stage(Stage::Total, overhead);
        if let Some(model) = self.model {
            metrics.request_duration(self.operation, model, duration);
            crate::accounting::billing::record_usage(
                &mut metrics,
                self.key,
                model,
                self.billed_usage,
                &self.charge,
            );
        }
        if self.operation == "chat" && self.status != 0 {
            count(&mut metrics.cache_lookups, self.cache);
        }
        if let Some(arm) = self.arm.filter(|arm| arm.is_fair) {
            let request = arms::request_of(&self, &arm, duration);
            metrics.arms.record(arm.id, &request);
        }
        if !logs_requests {
            return;
        }
        let record = AccessRecord {
            at: clock::since_epoch(),
            request_id: self.request_id,
            key: self.key,
            team: self.team,
            operation: self.operation,
            model: self.model,
            target: self.target,
            route: self.route,
            rule: self.rule,
            arm: self.arm.map(|arm| arm.label),
            status: self.status,
            stream: self.stream,
            cache: self.cache,
            attempts: self.attempts,
            hedged: self.hedged.map(HedgeOutcome::name),
            hedge_tokens: self.hedge_tokens,
            queued: self.queued,
            usage: usage(self.billed_usage),
            cost_nanousd: self.charge.paid_nanousd(),
            cost_estimated: matches!(self.charge, Charge::Estimated(_)),
            saved_nanousd: self.charge.saved_nanousd(),
            duration,
            upstream_first_byte: self.first_byte,
            overhead,
            fault: self.fault,
            detail: self.detail,
        };
        if core.records.push(LogLine::Request(record)).is_err() {
            metrics.records_dropped += 1;
        }
    }
}

fn usage(billed_usage: BilledUsage) -> Option<Usage> {
    match billed_usage {
        BilledUsage::Reported(usage) => Some(usage),
        _ => None,
    }
}

/// Tokens bought, by `estimate` where the provider did not say.
fn bought_tokens(billed_usage: BilledUsage, estimate: u64) -> u64 {
    match billed_usage {
        BilledUsage::Reported(usage) | BilledUsage::Estimated(usage) => {
            usage.prompt + usage.completion
        }
        BilledUsage::Unknown => estimate,
        BilledUsage::Searches(_) | BilledUsage::Saved(_) | BilledUsage::Nothing => 0,
    }
}
