//! The access record of one request, and its JSON line. No prompt text, no answer text, no secrets.

use crate::base::names::Name;
use crate::protocols::usage::Usage;
use std::time::Duration;

/// What is recorded of one request.
#[derive(Debug, Clone)]
pub struct AccessRecord {
    /// Time the answer ended, since the Unix epoch.
    pub at: Duration,
    /// Request id.
    pub request_id: String,
    /// Virtual key; `None` when no keys are configured or the key was wrong.
    pub key: Option<Name>,
    /// The key's team.
    pub team: Option<Name>,
    /// Operation, e.g. `chat`.
    pub operation: &'static str,
    /// Model asked for, as configured; `None` when it is not known.
    pub model: Option<Name>,
    /// Target that answered.
    pub target: Option<Name>,
    /// How it was chosen; `None` when no provider was to be asked.
    pub route: Option<RouteNote>,
    /// Rule of the model that applied.
    pub rule: Option<Name>,
    /// Arm of an experiment, as `experiment/arm`.
    pub arm: Option<Name>,
    /// Status sent to the client.
    pub status: u16,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// Cache outcome, as in `x-ringside-cache`.
    pub cache: &'static str,
    /// Upstream attempts made.
    pub attempts: u32,
    /// A second target was asked because the first was late: `won` or `lost`.
    pub hedged: Option<&'static str>,
    /// Tokens that the request which was not used may have cost, an estimate.
    pub hedge_tokens: u64,
    /// How long it waited for a place at a target.
    pub queued: Duration,
    /// Tokens; `None` when the provider did not say or the answer came from the cache.
    pub usage: Option<Usage>,
    /// What was paid, in nano-dollars; `None` when unknown or nothing was bought.
    pub cost_nanousd: Option<u64>,
    /// The cost is an estimate.
    pub cost_estimated: bool,
    /// What the cache saved, in nano-dollars; `None` when unknown or it did not answer.
    pub saved_nanousd: Option<u64>,
    /// From the request's arrival to the end of its answer.
    pub duration: Duration,
    /// From the request sent upstream to its first byte.
    pub upstream_first_byte: Option<Duration>,
    /// What the gateway added.
    pub overhead: Duration,
    /// Code of the fault, if there was one.
    pub fault: Option<&'static str>,
    /// What broke, in words, for the operator only (e.g. why a connect failed).
    pub detail: Option<String>,
}

/// How the targets of a request were chosen, in short and of bounded size: the first of each.
#[derive(Debug, Clone, Copy)]
pub struct RouteNote {
    /// The policy.
    pub policy: &'static str,
    /// The order they were to be tried in.
    pub order: [Option<Name>; ROUTE_NOTES_MAX],
    /// Those left out, and why.
    pub excluded: [Option<(Name, &'static str)>; ROUTE_NOTES_MAX],
}

/// Targets that one note tells of each kind.
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
    pub fn to_json(&self) -> String {
        let name = |name: Option<Name>| name.map(|name| name.text().to_string());
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        serde_json::json!({
            "at_ms": u64::try_from(self.at.as_millis()).unwrap_or(u64::MAX),
            "event": "request",
            "request_id": self.request_id,
            "key": name(self.key),
            "team": name(self.team),
            "operation": self.operation,
            "model": name(self.model),
            "target": name(self.target),
            "route": self.route.map(RouteNote::to_json),
            "rule": name(self.rule),
            "arm": name(self.arm),
            "status": self.status,
            "stream": self.stream,
            "cache": self.cache,
            "attempts": self.attempts,
            "hedged": self.hedged,
            "hedge_tokens_estimated": self.hedge_tokens,
            "input_tokens": self.usage.map(|usage| usage.prompt),
            "cached_input_tokens": self.usage.map(|usage| usage.cached),
            "output_tokens": self.usage.map(|usage| usage.completion),
            "reasoning_tokens": self.usage.map(|usage| usage.reasoning),
            "cost_nanousd": self.cost_nanousd,
            "cost_estimated": self.cost_estimated,
            "saved_nanousd": self.saved_nanousd,
            "duration_us": micros(self.duration),
            "queued_us": micros(self.queued),
            "upstream_first_byte_us": self.upstream_first_byte.map(micros),
            "overhead_us": micros(self.overhead),
            "fault": self.fault,
            "detail": self.detail,
        })
        .to_string()
    }
}
