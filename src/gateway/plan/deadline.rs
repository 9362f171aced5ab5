//! How long a request may take until its answer is there or its stream has begun: the model's `deadline`
//! over all attempts, which the caller may tighten.

use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::snapshot::model::ModelRoute;
use crate::headers;
use crate::headers::Header;
use crate::http::head::Headers;
use crate::runtime::clock;
use std::time::{Duration, Instant};

/// The caller's own deadline, in milliseconds.
const HEADER: Header = headers::DEADLINE_MS;

/// The deadline of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestDeadline {
    /// When it is over.
    pub by: Instant,
    limit: Limit,
}

#[derive(Debug, Clone, Copy)]
enum Limit {
    Callers(u64),
    Models(Name, Duration),
}

impl RequestDeadline {
    /// The deadline of a request for a model that arrived at `since`.
    ///
    /// # Errors
    /// The caller's header is malformed.
    pub(crate) fn new(
        headers: &Headers<'_>,
        route: &ModelRoute,
        since: Instant,
    ) -> Result<Self, GatewayError> {
        let models = route.failover.deadline;
        let callers = HEADER.read(headers).map(read).transpose()?;
        let tighter = callers.filter(|ms| Duration::from_millis(*ms) < models);
        Ok(match tighter {
            Some(ms) => Self {
                by: since + Duration::from_millis(ms),
                limit: Limit::Callers(ms),
            },
            None => Self {
                by: since + models,
                limit: Limit::Models(route.name, models),
            },
        })
    }

    /// Time left.
    #[must_use]
    pub(crate) fn left(&self) -> Duration {
        self.by.saturating_duration_since(clock::now())
    }

    /// Whether it is over.
    #[must_use]
    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// The fault that names the limit, and `last`, what the last attempt failed with.
    #[must_use]
    pub(crate) fn fault(&self, last: Option<&GatewayError>) -> GatewayError {
        let limit = match self.limit {
            Limit::Callers(ms) => format!("{ms} ms, by {HEADER}"),
            Limit::Models(name, time) => {
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
            format!("no target answered within the request's deadline ({limit}){last}"),
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
