//! Why an attempt gave nothing to relay: what the client is told of it, what the operator, and what
//! routing learns.

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop::{ANSWER_BYTES_MAX, BufferedResponse};
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::TargetRoute;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::UpstreamBodyError;
use crate::upstream::exchange::UpstreamError;
use std::time::Duration;

/// Why an attempt gave nothing to relay.
pub(crate) struct AttemptError {
    /// What the client is told.
    pub fault: GatewayError,
    /// What the operator is told.
    pub detail: String,
    /// An answer that is passed on if no other target has a better one.
    pub response: Option<BufferedResponse>,
}

impl AttemptError {
    fn status(&self) -> Option<u16> {
        self.response.as_ref().map(|response| response.status)
    }

    /// Nothing else may be tried.
    pub(crate) fn is_final(&self) -> bool {
        self.fault.retry == Retry::Never && self.response.is_none()
    }

    /// The provider's quarrel is with the key: another key may do.
    pub(crate) fn blames_key(&self) -> bool {
        self.is_refusal() || self.status() == Some(429)
    }

    /// The provider refused our key.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.status(), Some(401 | 403))
    }
}

/// The fault when every target asked for nothing to be sent for a while, the first for `wait`.
pub(crate) fn all_rate_limited(wait: Duration) -> GatewayError {
    GatewayError {
        retry_after: Some(whole_seconds(wait).to_string()),
        ..GatewayError::new(
            ErrorCode::UpstreamRateLimited,
            "every target of this model is rate-limited by its provider; retry after the time given",
        )
    }
}

/// `wait` for a `retry-after`: never too short.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// What routing learns from an answer's status.
pub(crate) fn outcome_of(status: u16, wait: Option<Duration>) -> Outcome {
    match status {
        401 | 403 => Outcome::KeyRefused,
        408 => Outcome::TimedOut,
        429 => Outcome::RateLimited(wait.map(crate::gateway::core::micros)),
        500..=599 => Outcome::ServerError,
        _ => Outcome::Good,
    }
}

/// What routing learns from a fault before the answer.
pub(crate) fn outcome_of_fault(fault: &UpstreamError) -> Outcome {
    match fault {
        UpstreamError::NoAddress(_)
        | UpstreamError::NoCredentials(_)
        | UpstreamError::Connect(_)
        | UpstreamError::Tls(_) => Outcome::NotConnected,
        UpstreamError::FirstByte => Outcome::TimedOut,
        UpstreamError::Died { .. } | UpstreamError::Malformed(_) => Outcome::Unusable,
        UpstreamError::Interrupted(_) => Outcome::Abandoned,
    }
}

/// The failure of a target that answers no chats.
pub(crate) fn not_a_chat_model(target: &TargetRoute) -> AttemptError {
    AttemptError {
        fault: GatewayError::new(
            ErrorCode::UnsupportedOperation,
            "this model is the local embedding model: it serves POST /v1/embeddings only",
        )
        .on("model"),
        detail: target.label.text().to_string(),
        response: None,
    }
}

/// The failure of a target whose dialect does not have the operation.
pub(crate) fn no_such_call(target: &TargetRoute, call: UpstreamOperation) -> AttemptError {
    let what = match call {
        UpstreamOperation::Chat => "chats",
        UpstreamOperation::Embeddings => "embeddings",
        UpstreamOperation::CountTokens => "counting of tokens",
        UpstreamOperation::Rerank => "reranking",
        UpstreamOperation::Passthrough(_) => "endpoints of OpenAI's beside chats",
    };
    let fault = GatewayError::new(
        ErrorCode::UnsupportedOperation,
        format!("the provider of this model has no {what}"),
    );
    untranslatable(target, fault.on("model"))
}

/// The failure of a target whose dialect has no place for something in the request. Another target may
/// have.
pub(crate) fn untranslatable(target: &TargetRoute, fault: GatewayError) -> AttemptError {
    AttemptError {
        detail: format!("{}: {}", target.label.text(), fault.message),
        fault: GatewayError {
            retry: Retry::OnNextTarget,
            ..fault
        },
        response: None,
    }
}

/// Why an answer could not be read to its end.
pub(crate) enum ResponseBodyError {
    /// Larger than is held.
    TooLarge,
    /// Broken or interrupted.
    Body(UpstreamBodyError),
    /// A stream that said by an event that it failed, or ended unfinished, before any of it was relayed.
    Stream(&'static str),
    /// The request's deadline passed.
    Deadline,
}

impl ResponseBodyError {
    /// Outcome in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Body(UpstreamBodyError::Broken(_)) => "broken_off",
            Self::Body(UpstreamBodyError::Stalled) => "stalled",
            Self::Stream(_) => "stream_failed",
            Self::Deadline => "deadline",
            Self::Body(UpstreamBodyError::Interrupted(Interruption::ClientGone)) => {
                "client_disconnected"
            }
            Self::Body(UpstreamBodyError::Interrupted(Interruption::Drained)) => "drained",
            Self::Body(UpstreamBodyError::Interrupted(Interruption::HedgeCancelled)) => {
                "hedge_cancelled"
            }
        }
    }

    /// What routing learns from it.
    pub(crate) fn comparison(&self) -> Outcome {
        match self {
            // A large answer is the request's doing.
            Self::TooLarge => Outcome::Good,
            Self::Body(UpstreamBodyError::Broken(_) | UpstreamBodyError::Stalled) => {
                Outcome::Unusable
            }
            Self::Stream(_) => Outcome::StreamBroke,
            Self::Body(UpstreamBodyError::Interrupted(_)) | Self::Deadline => Outcome::Abandoned,
        }
    }
}

/// The failure of an answer that could not be read.
pub(crate) fn broken_answer(
    backend: &Provider,
    broken: &ResponseBodyError,
    request_deadline: &RequestDeadline,
) -> AttemptError {
    let provider = &backend.provider;
    let broke_off = || {
        GatewayError::new(
            ErrorCode::UpstreamClosedEarly,
            format!("the provider `{provider}` broke off in the middle of its answer"),
        )
    };
    let (fault, detail) = match broken {
        ResponseBodyError::TooLarge => (
            GatewayError::new(
                ErrorCode::UpstreamResponseTooLarge,
                format!("the provider `{provider}` sent more than {ANSWER_BYTES_MAX} bytes"),
            ),
            "answer too large".to_owned(),
        ),
        ResponseBodyError::Body(UpstreamBodyError::Broken(why)) => (broke_off(), why.clone()),
        ResponseBodyError::Body(UpstreamBodyError::Stalled) => (broke_off(), "stalled".to_owned()),
        ResponseBodyError::Stream(why) => (broke_off(), (*why).to_owned()),
        ResponseBodyError::Deadline => (
            out_of_time(request_deadline, None),
            "out of time".to_owned(),
        ),
        ResponseBodyError::Body(UpstreamBodyError::Interrupted(why)) => {
            (interrupted(*why), "interrupted".to_owned())
        }
    };
    AttemptError {
        fault,
        detail: format!("{provider}: {detail}"),
        response: None,
    }
}

/// The fault when the request's deadline has passed; nothing else is tried.
pub(crate) fn out_of_time(
    request_deadline: &RequestDeadline,
    last: Option<&GatewayError>,
) -> GatewayError {
    request_deadline.fault(last)
}

/// The failure of an exchange that the request's deadline ended.
pub(crate) fn late(
    backend: &Provider,
    fault: &UpstreamError,
    request_deadline: &RequestDeadline,
) -> AttemptError {
    AttemptError {
        fault: out_of_time(request_deadline, None),
        detail: format!("{}: {fault}, out of time", backend.provider),
        response: None,
    }
}

/// The failure of a wait that was cut short.
pub(crate) fn cut_short(why: Interruption) -> AttemptError {
    AttemptError {
        fault: interrupted(why),
        detail: "interrupted".to_owned(),
        response: None,
    }
}

/// The fault for a wait that was cut short; nothing else is tried.
pub(crate) fn interrupted(why: Interruption) -> GatewayError {
    match why {
        Interruption::ClientGone => {
            GatewayError::new(ErrorCode::ClientDisconnected, "the client hung up")
        }
        Interruption::Drained => GatewayError {
            // Another process, or this one's successor.
            retry_after: Some("1".into()),
            ..GatewayError::new(
                ErrorCode::ShuttingDown,
                "the gateway is stopping and its drain deadline has passed",
            )
        },
        // Told to nobody: the one that came first is relayed.
        Interruption::HedgeCancelled => {
            GatewayError::new(ErrorCode::HedgeCancelled, "another target answered first")
        }
    }
}

/// The failure of an exchange without an answer.
pub(crate) fn failed(backend: &Provider, fault: &UpstreamError) -> AttemptError {
    let provider = &backend.provider;
    let (code, what) = match fault {
        UpstreamError::NoAddress(_) => (ErrorCode::UpstreamUnreachable, "its name has no address"),
        UpstreamError::NoCredentials(_) => (
            ErrorCode::UpstreamNoCredentials,
            "the gateway has no valid credentials for it",
        ),
        UpstreamError::Connect(_) => (
            ErrorCode::UpstreamUnreachable,
            "no connection could be made",
        ),
        UpstreamError::Tls(_) => (ErrorCode::UpstreamTls, "TLS could not be agreed"),
        UpstreamError::FirstByte => (ErrorCode::UpstreamTimeout, "no answer came in time"),
        UpstreamError::Died { .. } => (
            ErrorCode::UpstreamConnectionClosed,
            "it closed without an answer",
        ),
        UpstreamError::Malformed(_) => (ErrorCode::UpstreamMalformed, "its answer is not HTTP"),
        UpstreamError::Interrupted(why) => {
            return AttemptError {
                fault: interrupted(*why),
                detail: format!("{provider}: {fault}"),
                response: None,
            };
        }
    };
    AttemptError {
        fault: GatewayError::new(
            code,
            format!("the provider `{provider}` could not be used: {what}"),
        ),
        detail: format!("{provider}: {fault}"),
        response: None,
    }
}

/// An answer that is no JSON (an HTML page of a proxy, say) is never passed on as if it were one.
pub(crate) fn not_json(backend: &Provider, status: u16, retry: Retry) -> AttemptError {
    let provider = &backend.provider;
    let ok = (200..300).contains(&status);
    let message = format!(
        "the provider `{provider}` answered with status {status} and a body that is not JSON"
    );
    let fault = GatewayError::new(ErrorCode::UpstreamNotJson, message);
    let fault = if ok {
        fault
    } else {
        GatewayError {
            status,
            retry,
            ..fault
        }
    };
    AttemptError {
        fault,
        detail: format!("{provider}: status {status}, not JSON"),
        response: None,
    }
}

/// A whole answer where events were to be translated: clients that wait for events would read nothing.
pub(crate) fn no_stream(backend: &Provider) -> AttemptError {
    let provider = &backend.provider;
    let message = format!("the provider `{provider}` answered a request for a stream with none");
    let fault = GatewayError::new(ErrorCode::UpstreamNotAStream, message);
    AttemptError {
        fault: GatewayError {
            retry: Retry::OnNextTarget,
            ..fault
        },
        detail: format!("{provider}: not a stream"),
        response: None,
    }
}

/// No target was asked, and none said why.
#[must_use]
pub(crate) fn no_target() -> GatewayError {
    GatewayError::new(ErrorCode::NoTarget, "the model has no target")
}
