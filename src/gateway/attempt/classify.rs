//! Why an attempt gave nothing to relay: what the client is told of it, what the operator, and what
//! routing learns.

use crate::error::{Fault, Retry};
use crate::gateway::attempt::attempt_loop::{ANSWER_BYTES_MAX, WholeAnswer};
use crate::gateway::plan::deadline::Patience;
use crate::gateway::snapshot::{RemoteSite, TargetRoute};
use crate::protocols::provider_api::Call;
use crate::routing::health::Outcome;
use crate::runtime::io::Interruption;
use crate::upstream::exchange::BodyFault;
use crate::upstream::exchange::UpstreamFault;
use std::time::Duration;

/// Why an attempt gave nothing to relay.
pub(crate) struct Failed {
    /// What the client is told.
    pub fault: Fault,
    /// What the operator is told.
    pub detail: String,
    /// An answer that is passed on if no other target has a better one.
    pub answer: Option<WholeAnswer>,
}

impl Failed {
    fn status(&self) -> Option<u16> {
        self.answer.as_ref().map(|answer| answer.status)
    }

    /// Nothing else may be tried.
    pub(crate) fn is_final(&self) -> bool {
        self.fault.retry == Retry::Never && self.answer.is_none()
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
pub(crate) fn all_rate_limited(wait: Duration) -> Fault {
    Fault {
        retry_after: Some(whole_seconds(wait).to_string()),
        ..Fault::upstream(
            429,
            "upstream_rate_limited",
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
pub(crate) fn outcome_of_fault(fault: &UpstreamFault) -> Outcome {
    match fault {
        UpstreamFault::NoAddress(_)
        | UpstreamFault::NoCredentials(_)
        | UpstreamFault::Connect(_)
        | UpstreamFault::Tls(_) => Outcome::NotConnected,
        UpstreamFault::FirstByte => Outcome::TimedOut,
        UpstreamFault::Died { .. } | UpstreamFault::Malformed(_) => Outcome::Unusable,
        UpstreamFault::Interrupted(_) => Outcome::Abandoned,
    }
}

/// The failure of a target that answers no chats.
pub(crate) fn not_a_chat_model(target: &TargetRoute) -> Failed {
    Failed {
        fault: Fault::client(
            400,
            "wrong_operation",
            "this model is the local embedding model: it serves POST /v1/embeddings only",
        )
        .on("model"),
        detail: target.label.text().to_string(),
        answer: None,
    }
}

/// The failure of a target whose dialect does not have the operation.
pub(crate) fn no_such_call(target: &TargetRoute, call: Call) -> Failed {
    let what = match call {
        Call::Chat => "chats",
        Call::Embeddings => "embeddings",
        Call::CountTokens => "counting of tokens",
        Call::Rerank => "reranking",
        Call::Passed(_) => "endpoints of OpenAI's beside chats",
    };
    let fault = Fault::client(
        400,
        "wrong_operation",
        format!("the provider of this model has no {what}"),
    );
    untranslatable(target, fault.on("model"))
}

/// The failure of a target whose dialect has no place for something in the request. Another target may
/// have.
pub(crate) fn untranslatable(target: &TargetRoute, fault: Fault) -> Failed {
    Failed {
        detail: format!("{}: {}", target.label.text(), fault.message),
        fault: Fault {
            retry: Retry::OnNextTarget,
            ..fault
        },
        answer: None,
    }
}

/// Why an answer could not be read to its end.
pub(crate) enum Broken {
    /// Larger than is held.
    TooLarge,
    /// Broken or interrupted.
    Body(BodyFault),
    /// A stream that said by an event that it failed, or ended unfinished, before any of it was relayed.
    Stream(&'static str),
    /// The request's deadline passed.
    Deadline,
}

impl Broken {
    /// Outcome in metrics.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Body(BodyFault::Broken(_)) => "broken_off",
            Self::Body(BodyFault::Stalled) => "stalled",
            Self::Stream(_) => "stream_failed",
            Self::Deadline => "deadline",
            Self::Body(BodyFault::Interrupted(Interruption::ClientGone)) => "client_gone",
            Self::Body(BodyFault::Interrupted(Interruption::Drained)) => "drained",
            Self::Body(BodyFault::Interrupted(Interruption::Outrun)) => "outrun",
        }
    }

    /// What routing learns from it.
    pub(crate) fn lesson(&self) -> Outcome {
        match self {
            // A large answer is the request's doing.
            Self::TooLarge => Outcome::Good,
            Self::Body(BodyFault::Broken(_) | BodyFault::Stalled) => Outcome::Unusable,
            Self::Stream(_) => Outcome::StreamBroke,
            Self::Body(BodyFault::Interrupted(_)) | Self::Deadline => Outcome::Abandoned,
        }
    }
}

/// The failure of an answer that could not be read.
pub(crate) fn broken_answer(site: &RemoteSite, broken: &Broken, patience: &Patience) -> Failed {
    let provider = &site.provider;
    let broke_off = || {
        Fault::upstream(
            502,
            "upstream_broke_off",
            format!("the provider `{provider}` broke off in the middle of its answer"),
        )
    };
    let (fault, detail) = match broken {
        Broken::TooLarge => (
            Fault::upstream(
                502,
                "upstream_answer_too_large",
                format!("the provider `{provider}` sent more than {ANSWER_BYTES_MAX} bytes"),
            ),
            "answer too large".to_owned(),
        ),
        Broken::Body(BodyFault::Broken(why)) => (broke_off(), why.clone()),
        Broken::Body(BodyFault::Stalled) => (broke_off(), "stalled".to_owned()),
        Broken::Stream(why) => (broke_off(), (*why).to_owned()),
        Broken::Deadline => (out_of_time(patience, None), "out of time".to_owned()),
        Broken::Body(BodyFault::Interrupted(why)) => (interrupted(*why), "interrupted".to_owned()),
    };
    Failed {
        fault,
        detail: format!("{provider}: {detail}"),
        answer: None,
    }
}

/// The fault when the request's deadline has passed; nothing else is tried.
pub(crate) fn out_of_time(patience: &Patience, last: Option<&Fault>) -> Fault {
    Fault {
        retry: Retry::Never,
        ..patience.fault(last)
    }
}

/// The failure of an exchange that the request's deadline ended.
pub(crate) fn late(site: &RemoteSite, fault: &UpstreamFault, patience: &Patience) -> Failed {
    Failed {
        fault: out_of_time(patience, None),
        detail: format!("{}: {fault}, out of time", site.provider),
        answer: None,
    }
}

/// The failure of a wait that was cut short.
pub(crate) fn cut_short(why: Interruption) -> Failed {
    Failed {
        fault: interrupted(why),
        detail: "interrupted".to_owned(),
        answer: None,
    }
}

/// The fault for a wait that was cut short; nothing else is tried.
pub(crate) fn interrupted(why: Interruption) -> Fault {
    let fault = match why {
        Interruption::ClientGone => Fault::client(499, "client_gone", "the client hung up"),
        Interruption::Drained => Fault {
            // Another process, or this one's successor.
            retry_after: Some("1".into()),
            ..Fault::gateway(
                503,
                "shutting_down",
                "the gateway is stopping and its drain deadline has passed",
            )
        },
        // Told to nobody: the one that came first is relayed.
        Interruption::Outrun => Fault::gateway(500, "outrun", "another target answered first"),
    };
    Fault {
        retry: Retry::Never,
        ..fault
    }
}

/// The failure of an exchange without an answer.
pub(crate) fn failed(site: &RemoteSite, fault: &UpstreamFault) -> Failed {
    let provider = &site.provider;
    let (status, code, what) = match fault {
        UpstreamFault::NoAddress(_) => (502, "upstream_unreachable", "its name has no address"),
        UpstreamFault::NoCredentials(_) => (
            502,
            "upstream_no_credentials",
            "the gateway has no valid credentials for it",
        ),
        UpstreamFault::Connect(_) => (502, "upstream_unreachable", "no connection could be made"),
        UpstreamFault::Tls(_) => (502, "upstream_tls", "TLS could not be agreed"),
        UpstreamFault::FirstByte => (504, "upstream_timeout", "no answer came in time"),
        UpstreamFault::Died { .. } => (502, "upstream_died", "it closed without an answer"),
        UpstreamFault::Malformed(_) => (502, "upstream_malformed", "its answer is not HTTP"),
        UpstreamFault::Interrupted(why) => {
            return Failed {
                fault: interrupted(*why),
                detail: format!("{provider}: {fault}"),
                answer: None,
            };
        }
    };
    Failed {
        fault: Fault::upstream(
            status,
            code,
            format!("the provider `{provider}` could not be used: {what}"),
        ),
        detail: format!("{provider}: {fault}"),
        answer: None,
    }
}

/// An answer that is no JSON (an HTML page of a proxy, say) is never passed on as if it were one.
pub(crate) fn not_json(site: &RemoteSite, status: u16, retry: Retry) -> Failed {
    let provider = &site.provider;
    let ok = (200..300).contains(&status);
    let sent_status = if ok { 502 } else { status };
    let fault = Fault::upstream(
        sent_status,
        "upstream_not_json",
        format!(
            "the provider `{provider}` answered with status {status} and a body that is not JSON"
        ),
    );
    let retry = if ok { Retry::OnNextTarget } else { retry };
    Failed {
        fault: Fault { retry, ..fault },
        detail: format!("{provider}: status {status}, not JSON"),
        answer: None,
    }
}

/// A whole answer where events were to be translated: clients that wait for events would read nothing.
pub(crate) fn no_stream(site: &RemoteSite) -> Failed {
    let provider = &site.provider;
    let message = format!("the provider `{provider}` answered a request for a stream with none");
    let fault = Fault::upstream(502, "upstream_not_a_stream", message);
    Failed {
        fault: Fault {
            retry: Retry::OnNextTarget,
            ..fault
        },
        detail: format!("{provider}: not a stream"),
        answer: None,
    }
}

/// No target was asked, and none said why.
#[must_use]
pub(crate) fn no_target() -> Fault {
    Fault::gateway(500, "no_target", "the model has no target")
}
