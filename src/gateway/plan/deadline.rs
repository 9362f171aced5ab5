//! The deadline of a request: until then its response is complete or its stream has begun, over all attempts. The model
//! has a `deadline`, and a header of the caller can shorten it.

use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::snapshot::model::ModelRoute;
use crate::headers;
use crate::headers::Header;
use crate::http::head::Headers;
use crate::runtime::clock;
use std::time::{Duration, Instant};

const HEADER: Header = headers::DEADLINE_MS;

#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestDeadline {
    pub by: Instant,
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    CallerMs(u64),
    Model(Name, Duration),
}

impl RequestDeadline {
    /// The deadline of a request for a model that arrived at `since`.
    ///
    /// # Errors
    /// The caller's header is not a number of milliseconds above zero.
    pub(crate) fn new(
        headers: &Headers<'_>,
        route: &ModelRoute,
        since: Instant,
    ) -> Result<Self, GatewayError> {
        let model_limit = route.failover.deadline;
        let caller_limit_ms = HEADER.read(headers).map(read).transpose()?;
        let shorter = caller_limit_ms.filter(|ms| Duration::from_millis(*ms) < model_limit);
        Ok(match shorter {
            Some(ms) => Self {
                by: since + Duration::from_millis(ms),
                limit: Limit::CallerMs(ms),
            },
            None => Self {
                by: since + model_limit,
                limit: Limit::Model(route.name, model_limit),
            },
        })
    }

    #[must_use]
    pub(crate) fn left(&self) -> Duration {
        self.by.saturating_duration_since(clock::now())
    }

    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// The error that names the limit and the error of the last attempt.
    #[must_use]
    pub(crate) fn error(&self, last: Option<&GatewayError>) -> GatewayError {
        let limit = match self.limit {
            Limit::CallerMs(ms) => format!("{ms} ms, by {HEADER}"),
            Limit::Model(name, time) => {
                format!(
                    "{} ms, by `deadline` of the model `{}`",
                    time.as_millis(),
                    name.text()
                )
            }
        };
        let last = last.map_or_else(String::new, |last| {
            format!("; before that: {}", last.message)
        });
        GatewayError::new(
            ErrorCode::DeadlineExceeded,
            format!("no target responded within the request's deadline ({limit}){last}"),
        )
    }
}

fn read(value: &[u8]) -> Result<u64, GatewayError> {
    let number = std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.trim().parse().ok());
    number.filter(|ms| *ms > 0).ok_or_else(|| {
        let message = format!("`{HEADER}` must be a whole number of milliseconds above zero");
        GatewayError::new(ErrorCode::InvalidHeader, message).on(HEADER.name())
    })
}
