//! The access record of one request, and its JSON line. It contains no text of prompts or responses and no secrets.

use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::observability::metrics::cache::CacheResult;
use crate::observability::metrics::hedging::HedgeOutcome;
use crate::observability::metrics::labels::LabelEnum;
use crate::protocols::operation_kind::OperationKind;
use crate::protocols::usage::Usage;
use std::time::Duration;

/// The access record of one request.
#[derive(Debug, Clone)]
pub(crate) struct AccessRecord {
    /// Time the response ended, since the Unix epoch.
    pub at: Duration,
    pub(crate) identity: IdentityRecord,
    pub(crate) route: RouteRecord,
    /// Value of `x-ringside-cache`.
    pub(crate) cache: CacheResult,
    pub(crate) cost: CostRecord,
    pub(crate) timing: TimingRecord,
    pub(crate) outcome: OutcomeRecord,
}

/// Which request it is and who sent it.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRecord {
    pub request_id: String,
    /// Virtual key; `None` when no keys are configured or authentication failed.
    pub key: Option<Name>,
    /// Team of the key.
    pub team: Option<Name>,
    pub operation: OperationKind,
}

/// Its route.
#[derive(Debug, Clone)]
pub(crate) struct RouteRecord {
    /// Model of the request, as configured; `None` when it is not known.
    pub model: Option<Name>,
    /// Target that served it.
    pub target: Option<Name>,
    /// How the target was chosen; `None` when no provider was needed.
    pub note: Option<RouteNote>,
    /// Rule of the model that applied.
    pub rule: Option<Name>,
    /// Arm of an experiment, as `experiment/arm`.
    pub arm: Option<Name>,
    /// Attempts sent upstream.
    pub attempts: u32,
    /// Set when a second attempt was sent because the first was late.
    pub hedged: Option<HedgeOutcome>,
    /// Tokens that the attempt whose response was not used may have cost, an estimate.
    pub hedge_tokens: u64,
}

/// Its usage and cost.
#[derive(Debug, Clone)]
pub(crate) struct CostRecord {
    /// Tokens; `None` when the provider did not report them or the response came from the cache.
    pub usage: Option<Usage>,
    /// What was paid, in nano-dollars; `None` when unknown or nothing was paid for.
    pub nanousd: Option<u64>,
    pub is_estimated: bool,
    /// What the cache saved, in nano-dollars; `None` when unknown or the cache did not serve it.
    pub saved_nanousd: Option<u64>,
}

/// Its times.
#[derive(Debug, Clone)]
pub(crate) struct TimingRecord {
    /// From the request's arrival to the end of its response.
    pub duration: Duration,
    /// Time in the queue of a model.
    pub queued: Duration,
    /// From the request sent upstream to the first byte of its response.
    pub upstream_first_byte: Option<Duration>,
    /// Time that the gateway added.
    pub overhead: Duration,
}

/// The response that the client got.
#[derive(Debug, Clone)]
pub(crate) struct OutcomeRecord {
    pub status: u16,
    /// The response was streamed.
    pub stream: bool,
    /// Code of the error, if there was one.
    pub error_code: Option<ErrorCode>,
    /// A description of the failure, for the operator only (e.g. why a connect failed).
    pub detail: Option<String>,
}

/// How the targets of a request were chosen: at most [`ROUTE_NOTES_MAX`] of each kind.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RouteNote {
    pub policy: &'static str,
    /// The targets to try, in order.
    pub order: [Option<Name>; ROUTE_NOTES_MAX],
    /// The targets that were left out, and why.
    pub excluded: [Option<(Name, &'static str)>; ROUTE_NOTES_MAX],
}

/// Most targets of each kind in a note.
pub(crate) const ROUTE_NOTES_MAX: usize = 4;

impl RouteNote {
    fn to_json(self) -> serde_json::Value {
        let order = self.order.iter().flatten();
        let excluded = self.excluded.iter().flatten();
        let reason =
            |(target, why): &(Name, &'static str)| (target.text().to_string(), (*why).into());
        serde_json::json!({
            "policy": self.policy,
            "order": order.map(|target| target.text().to_string()).collect::<Vec<_>>(),
            "excluded": excluded.map(reason).collect::<serde_json::Map<_, _>>(),
        })
    }
}

impl AccessRecord {
    /// One line of JSON without the line end.
    #[must_use]
    pub(crate) fn to_json(&self) -> String {
        let name = |name: Option<Name>| name.map(|name| name.text().to_string());
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        serde_json::json!({
            "at_ms": u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX),
            "event": "request",
            "request_id": self.identity.request_id,
            "key": name(self.identity.key),
            "team": name(self.identity.team),
            "operation": self.identity.operation.as_str(),
            "model": name(self.route.model),
            "target": name(self.route.target),
            "route": self.route.note.map(RouteNote::to_json),
            "rule": name(self.route.rule),
            "arm": name(self.route.arm),
            "status": self.outcome.status,
            "stream": self.outcome.stream,
            "cache": self.cache.as_str(),
            "attempts": self.route.attempts,
            "hedged": self.route.hedged.map(HedgeOutcome::as_str),
            "hedge_tokens_estimated": self.route.hedge_tokens,
            "input_tokens": self.cost.usage.map(|usage| usage.prompt),
            "cached_input_tokens": self.cost.usage.map(|usage| usage.cached),
            "output_tokens": self.cost.usage.map(|usage| usage.completion),
            "reasoning_tokens": self.cost.usage.map(|usage| usage.reasoning.unwrap_or(0)),
            "cost_nanousd": self.cost.nanousd,
            "cost_estimated": self.cost.is_estimated,
            "saved_nanousd": self.cost.saved_nanousd,
            "duration_us": micros(self.timing.duration),
            "queued_us": micros(self.timing.queued),
            "upstream_first_byte_us": self.timing.upstream_first_byte.map(micros),
            "overhead_us": micros(self.timing.overhead),
            "error_code": self.outcome.error_code.map(ErrorCode::as_str),
            "detail": self.outcome.detail,
        })
        .to_string()
    }
}
