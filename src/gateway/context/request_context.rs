//! Everything that is known of one request. Each stage writes its own part; headers, metrics and the
//! access record read all of them.

use crate::accounting::billing::{BilledUsage, Charge, MissingCostInput};
use crate::base::request_ids;
use crate::gateway::context::cache::CacheOutcome;
use crate::gateway::context::format::ResponseFormat;
use crate::gateway::context::identity::RequestIdentity;
use crate::gateway::context::outcome::RequestOutcome;
use crate::gateway::context::route::RequestRoute;
use crate::gateway::context::timing::RequestTiming;
use crate::gateway::context::usage::RequestUsage;
use crate::gateway::core::Core;
use crate::headers;
use crate::observability::log_line::{LogLine, TargetEvent, TargetNotice};
use crate::observability::metrics::requests::Stage;
use crate::protocols::client_api::ResponseContext;
use crate::runtime::clock;
use crate::server::connection::Request;
use std::time::Instant;

pub(crate) struct RequestContext {
    pub identity: RequestIdentity,
    pub format: ResponseFormat,
    pub route: RequestRoute,
    pub cache: CacheOutcome,
    pub usage: RequestUsage,
    pub timing: RequestTiming,
    pub outcome: RequestOutcome,
}

impl RequestContext {
    #[must_use]
    pub(crate) fn new(request: &Request<'_>) -> Self {
        let client_id = headers::X_REQUEST_ID.read_str(&request.head.headers);
        Self::started(request.received_at, request_ids::request_id(client_id))
    }

    /// The context of bytes that are no valid request.
    #[must_use]
    pub(crate) fn rejected() -> Self {
        Self::started(clock::now(), request_ids::request_id(None))
    }

    fn started(started_at: Instant, request_id: String) -> Self {
        Self {
            identity: RequestIdentity::new(request_id),
            format: ResponseFormat::default(),
            route: RequestRoute::default(),
            cache: CacheOutcome::default(),
            usage: RequestUsage::default(),
            timing: RequestTiming::new(started_at),
            outcome: RequestOutcome::default(),
        }
    }

    /// What encoders of responses need to know of the request.
    #[must_use]
    pub(crate) fn response_ctx(&self, wants_usage: bool) -> ResponseContext {
        ResponseContext {
            request_id: self.identity.request_id.clone(),
            created: clock::since_epoch().as_secs(),
            wants_usage,
            // A stored response names its model itself.
            ..ResponseContext::default()
        }
    }

    /// Ends a stage: its time is measured from the end of the stage before.
    pub(crate) fn stage_done(&mut self, core: &Core, stage: Stage) {
        let time = self.timing.end_stage();
        core.metrics.borrow_mut().stage(stage, time);
    }

    /// Records what the target billed, and what that costs. A missing price is logged once per target.
    pub(crate) fn record_billed_usage(&mut self, core: &Core, billed: BilledUsage) {
        let snapshot = core.snapshot();
        let target = self.route.target;
        self.usage.set(billed, target, &snapshot.prices);
        let Some(target) = target else {
            return;
        };
        if *self.usage.charge() == Charge::Unknown(MissingCostInput::Price)
            && snapshot.prices.take_unlogged(target)
        {
            let notice = TargetNotice {
                at: clock::since_epoch(),
                target,
                event: TargetEvent::PriceUnknown,
            };
            if core.records.push(LogLine::Target(notice)).is_err() {
                core.metrics
                    .borrow_mut()
                    .process
                    .access_records_dropped
                    .increment();
            }
        }
    }
}
