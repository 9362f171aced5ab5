//! What the status of a provider's response means: the only place that classifies statuses. It must not know what
//! becomes of the attempt.

use crate::error::class::Retry;

/// What a status means for the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusClass {
    /// A response that the client gets.
    Ok,
    /// The request fails at every target.
    ClientError,
    /// The gateway's key is wrong, not the client's request.
    Unauthorized,
    /// The provider took too long, as it says itself.
    Timeout,
    /// The provider limits this key.
    RateLimited,
    /// The provider failed.
    ServerError,
}

impl StatusClass {
    /// The class of a status, unless the provider's API gives it another meaning.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Ok,
            401 | 403 => Self::Unauthorized,
            408 => Self::Timeout,
            429 => Self::RateLimited,
            500..=599 => Self::ServerError,
            _ => Self::ClientError,
        }
    }

    /// Outcome of the attempt in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::Unauthorized => "unauthorized",
            Self::Timeout => "timeout",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
        }
    }

    /// Whether another attempt may succeed.
    #[must_use]
    pub fn retry(self) -> Retry {
        match self {
            Self::Ok | Self::ClientError => Retry::Never,
            Self::Unauthorized | Self::Timeout | Self::RateLimited | Self::ServerError => {
                Retry::OnNextTarget
            }
        }
    }

    /// Whether another key of the same target may succeed.
    #[must_use]
    pub fn is_about_key(self) -> bool {
        matches!(self, Self::Unauthorized | Self::RateLimited)
    }

    /// Whether the target failed, and neither the request nor the gateway's key is the reason.
    #[must_use]
    pub fn is_target_failure(self) -> bool {
        matches!(self, Self::Timeout | Self::RateLimited | Self::ServerError)
    }
}

/// Whether the status says that the provider has too much to do: 503, and Anthropic's 529 (docs.anthropic.com,
/// "Errors"). A 429 says when to send the next request, which cooldowns respect.
#[must_use]
pub(crate) fn is_overload(status: u16) -> bool {
    matches!(status, 503 | 529)
}
