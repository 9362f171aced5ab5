//! The end of a request: metrics, the numbers of its experiment arm, and its access record.

use crate::accounting::billing::Charge;
use crate::error::code::ErrorCode;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::context::route::RequestArm;
use crate::gateway::core::Core;
use crate::gateway::usage_metrics::record_usage;
use crate::observability::access_log::{
    AccessRecord, CostRecord, IdentityRecord, OutcomeRecord, RouteRecord, TimingRecord,
};
use crate::observability::log_line::LogLine;
use crate::observability::metrics::arms::{ArmRequest, ArmResult};
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::metrics::requests::Stage;
use crate::protocols::operation_kind::OperationKind;
use crate::runtime::clock;
use std::time::Duration;

impl RequestContext {
    /// Counts the request, and logs it if requests are logged.
    pub(crate) fn finish(mut self, core: &Core, logs_requests: bool) {
        let overhead = self.timing.overhead();
        let duration = self.timing.duration();
        if let Some(share) = self.route.hedge.budget {
            let tokens = self.usage.tokens_or(share.input_tokens);
            let mut hedges = core.hedges.borrow_mut();
            hedges.earn(share.model, tokens, core.now_us());
        }
        let mut metrics = core.metrics.borrow_mut();
        self.count(&mut metrics, overhead, duration);
        if !logs_requests {
            return;
        }
        let record = self.into_record(overhead, duration);
        if core.records.push(LogLine::Request(record)).is_err() {
            metrics.process.access_records_dropped.increment();
        }
    }

    fn count(&self, metrics: &mut CoreMetrics, overhead: Duration, duration: Duration) {
        let operation = self.identity.operation;
        let status = self.outcome.status();
        metrics.requests.answered.increment((operation, status));
        metrics.stage(Stage::Total, overhead);
        if let Some(model) = self.route.model {
            metrics
                .requests
                .duration_seconds
                .record((operation, model), duration.as_secs_f64());
            let (billed, charge) = (self.usage.billed(), self.usage.charge());
            record_usage(metrics, self.identity.key, model, billed, charge);
        }
        if operation == OperationKind::Chat && self.outcome.is_sent() {
            metrics.cache.lookups.increment(self.cache.result());
        }
        if let Some(arm) = self.route.arm.filter(|arm| arm.is_fair) {
            let request = self.arm_request(&arm, duration);
            metrics.arms.entry(arm.id).record(&request);
        }
    }

    /// How the request went, for the numbers of its arm.
    fn arm_request(&self, arm: &RequestArm, duration: Duration) -> ArmRequest {
        let error_code = self.outcome.error_code();
        // A request that fails because all targets are in cooldown is a failure of the arm too.
        let was_attempted =
            self.route.attempts > 0 || error_code == Some(ErrorCode::UpstreamRateLimited);
        let result = match (error_code, self.outcome.status()) {
            (Some(code @ (ErrorCode::ClientDisconnected | ErrorCode::ShuttingDown)), _) => {
                ArmResult::Interrupted(code)
            }
            (Some(code), _) => ArmResult::Failed(code),
            (None, 429) => ArmResult::RateLimited,
            (None, 400..=499) => ArmResult::ClientError,
            (None, 500..) => ArmResult::ServerError,
            _ if !was_attempted => ArmResult::Cached,
            _ if arm.has_left => ArmResult::Failover,
            _ => ArmResult::Ok,
        };
        ArmRequest {
            result,
            was_attempted,
            is_stream: self.format.streams,
            first_byte: self.timing.first_byte,
            duration,
            cost_nanousd: self.usage.charge().paid_nanousd(),
            is_cost_unknown: matches!(self.usage.charge(), Charge::Unknown(_)),
        }
    }

    fn into_record(self, overhead: Duration, duration: Duration) -> AccessRecord {
        let (route, charge) = (&self.route, self.usage.charge());
        AccessRecord {
            at: clock::since_epoch(),
            route: RouteRecord {
                model: route.model,
                target: route.target,
                note: route.note,
                rule: route.rule,
                arm: route.arm.map(|arm| arm.label),
                attempts: route.attempts,
                hedged: route.hedge.outcome,
                hedge_tokens: route.hedge.extra_tokens,
            },
            cache: self.cache.result(),
            cost: CostRecord {
                usage: self.usage.reported(),
                nanousd: charge.paid_nanousd(),
                is_estimated: matches!(charge, Charge::Estimated(_)),
                saved_nanousd: charge.saved_nanousd(),
            },
            timing: TimingRecord {
                duration,
                queued: self.timing.queued(),
                upstream_first_byte: self.timing.first_byte,
                overhead,
            },
            outcome: OutcomeRecord {
                status: self.outcome.status(),
                stream: self.format.streams,
                error_code: self.outcome.error_code(),
                detail: self.outcome.detail,
            },
            identity: IdentityRecord {
                request_id: self.identity.request_id,
                key: self.identity.key,
                team: self.identity.team,
                operation: self.identity.operation,
            },
        }
    }
}
