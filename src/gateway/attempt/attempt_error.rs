//! Why an attempt has no response for the client, and the errors that the client gets then. It must not know how
//! targets are chosen.

use crate::error::class::Retry;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::response::{BufferedResponse, RESPONSE_BYTES_MAX};
use crate::gateway::attempt::response_body::ResponseBodyError;
use crate::gateway::core::Core;
use crate::gateway::plan::deadline::RequestDeadline;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::snapshot::target::TargetRoute;
use crate::http::retry_after::whole_seconds;
use crate::protocols::outgoing_request::UpstreamOperation;
use crate::protocols::status_class::StatusClass;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::{UpstreamBodyError, UpstreamError};
use std::time::Duration;

pub(crate) struct AttemptError {
    /// For the client.
    pub error: GatewayError,
    /// For the operator: the access log has it.
    pub detail: String,
    /// The provider's own error response, which the client gets if no other target has a better one.
    pub response: Option<BufferedResponse>,
}

impl AttemptError {
    pub(crate) fn status_class(&self) -> Option<StatusClass> {
        let response = self.response.as_ref();
        response.map(|response| StatusClass::of(response.status))
    }

    /// Whether nothing else may be tried.
    pub(crate) fn is_final(&self) -> bool {
        self.error.retry == Retry::Never && self.response.is_none()
    }

    /// Whether the provider refused or limited the key: the target's next key may work.
    pub(crate) fn blames_key(&self) -> bool {
        self.status_class().is_some_and(StatusClass::is_about_key)
    }

    /// Whether the provider refused the gateway's key.
    pub(crate) fn is_refusal(&self) -> bool {
        self.status_class() == Some(StatusClass::Unauthorized)
    }
}

/// The error when every target is rate-limited; the first may be tried again after `wait`.
pub(crate) fn all_rate_limited(wait: Duration) -> GatewayError {
    GatewayError {
        retry_after: Some(whole_seconds(wait).to_string()),
        ..GatewayError::new(
            ErrorCode::UpstreamRateLimited,
            "every target of this model is rate-limited by its provider; retry after the time given",
        )
    }
}

/// The target is the embedding model in this process.
pub(crate) fn embeddings_only(target: &TargetRoute) -> AttemptError {
    AttemptError {
        error: GatewayError::new(
            ErrorCode::UnsupportedOperation,
            "this model is the local embedding model: it serves POST /v1/embeddings only",
        )
        .on("model"),
        detail: target.label.text().to_string(),
        response: None,
    }
}

/// The provider's API does not have the operation.
pub(crate) fn unsupported_operation(
    target: &TargetRoute,
    operation: UpstreamOperation,
) -> AttemptError {
    let what = match operation {
        UpstreamOperation::Chat => "chats",
        UpstreamOperation::Embeddings => "embeddings",
        UpstreamOperation::CountTokens => "counting of tokens",
        UpstreamOperation::Rerank => "reranking",
        UpstreamOperation::Passthrough(_) => "endpoints of OpenAI's beside chats",
    };
    let error = GatewayError::new(
        ErrorCode::UnsupportedOperation,
        format!("the provider of this model has no {what}"),
    );
    unsupported(target, error.on("model"))
}

/// The provider's API cannot express the request, or its response cannot be translated. Another target may be able to.
pub(crate) fn unsupported(target: &TargetRoute, error: GatewayError) -> AttemptError {
    AttemptError {
        detail: format!("{}: {}", target.label.text(), error.message),
        error: GatewayError {
            retry: Retry::OnNextTarget,
            ..error
        },
        response: None,
    }
}

/// The response could not be read to its end.
pub(crate) fn incomplete_response(
    core: &Core,
    backend: &Provider,
    error: &ResponseBodyError,
    deadline: &RequestDeadline,
) -> AttemptError {
    let provider = &backend.provider;
    let broke_off = || {
        GatewayError::new(
            ErrorCode::UpstreamClosedEarly,
            format!("the provider `{provider}` broke off in the middle of its answer"),
        )
    };
    let (error, detail) = match error {
        ResponseBodyError::TooLarge => (
            GatewayError::new(
                ErrorCode::UpstreamResponseTooLarge,
                format!("the provider `{provider}` sent more than {RESPONSE_BYTES_MAX} bytes"),
            ),
            "answer too large".to_owned(),
        ),
        ResponseBodyError::NoRoom => (core.response_memory.refusal(), "no room".to_owned()),
        ResponseBodyError::Body(UpstreamBodyError::Broken(why)) => (broke_off(), why.clone()),
        ResponseBodyError::Body(UpstreamBodyError::Stalled) => (broke_off(), "stalled".to_owned()),
        ResponseBodyError::Stream(why) => (broke_off(), (*why).to_owned()),
        ResponseBodyError::Deadline => (deadline.error(None), "out of time".to_owned()),
        ResponseBodyError::Body(UpstreamBodyError::Interrupted(why)) => {
            (interrupted(*why), "interrupted".to_owned())
        }
    };
    AttemptError {
        error,
        detail: format!("{provider}: {detail}"),
        response: None,
    }
}

/// The request's deadline passed during an exchange, which failed with `error`.
pub(crate) fn deadline_exceeded(
    backend: &Provider,
    error: &UpstreamError,
    deadline: &RequestDeadline,
) -> AttemptError {
    AttemptError {
        error: deadline.error(None),
        detail: format!("{}: {error}, out of time", backend.provider),
        response: None,
    }
}

/// The wait between attempts was interrupted.
pub(crate) fn wait_interrupted(interruption: Interruption) -> AttemptError {
    AttemptError {
        error: interrupted(interruption),
        detail: "interrupted".to_owned(),
        response: None,
    }
}

/// The error of an interrupted wait; nothing else is tried.
pub(crate) fn interrupted(interruption: Interruption) -> GatewayError {
    match interruption {
        Interruption::ClientGone => {
            GatewayError::new(ErrorCode::ClientDisconnected, "the client hung up")
        }
        Interruption::Drained => GatewayError {
            // Another process may serve the retry, or the next one on this port.
            retry_after: Some("1".into()),
            ..GatewayError::new(
                ErrorCode::ShuttingDown,
                "the gateway is stopping and its drain deadline has passed",
            )
        },
        // No client gets this error: the other attempt's response is relayed.
        Interruption::HedgeCancelled => {
            GatewayError::new(ErrorCode::HedgeCancelled, "another target answered first")
        }
    }
}

/// The exchange ended without a response.
pub(crate) fn exchange_failed(backend: &Provider, error: &UpstreamError) -> AttemptError {
    let provider = &backend.provider;
    let (code, what) = match error {
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
        UpstreamError::Interrupted(interruption) => {
            return AttemptError {
                error: interrupted(*interruption),
                detail: format!("{provider}: {error}"),
                response: None,
            };
        }
    };
    AttemptError {
        error: GatewayError::new(
            code,
            format!("the provider `{provider}` could not be used: {what}"),
        ),
        detail: format!("{provider}: {error}"),
        response: None,
    }
}

/// The body is compressed although it was asked for as it is, and it has to be read.
pub(crate) fn compressed(backend: &Provider) -> AttemptError {
    let provider = &backend.provider;
    let message = format!(
        "the provider `{provider}` compressed its response, which was asked for uncompressed"
    );
    AttemptError {
        error: GatewayError::new(ErrorCode::UpstreamInvalidResponse, message),
        detail: format!("{provider}: compressed"),
        response: None,
    }
}

/// The body is not JSON (but, say, an HTML page of a proxy): it is never relayed as a response. A status that is no
/// error, such as a 304 that nobody asked for, is not sent without its body.
pub(crate) fn not_json(backend: &Provider, status: u16, retry: Retry) -> AttemptError {
    let provider = &backend.provider;
    let message = format!(
        "the provider `{provider}` answered with status {status} and a body that is not JSON"
    );
    let error = GatewayError::new(ErrorCode::UpstreamNotJson, message);
    let error = if status < 400 {
        error
    } else {
        GatewayError {
            status,
            retry,
            ..error
        }
    };
    AttemptError {
        error,
        detail: format!("{provider}: status {status}, not JSON"),
        response: None,
    }
}

/// The client wants a stream and the response is none: a client that waits for events would read nothing.
pub(crate) fn not_a_stream(backend: &Provider) -> AttemptError {
    let provider = &backend.provider;
    let message = format!("the provider `{provider}` answered a request for a stream with none");
    let error = GatewayError::new(ErrorCode::UpstreamNotAStream, message);
    AttemptError {
        error: GatewayError {
            retry: Retry::OnNextTarget,
            ..error
        },
        detail: format!("{provider}: not a stream"),
        response: None,
    }
}

/// The error when no attempt was made, for no reason that a target gave.
#[must_use]
pub(crate) fn no_target() -> GatewayError {
    GatewayError::new(ErrorCode::NoTarget, "the model has no target")
}
