//! Who is at fault for an error, and whether another attempt can help: columns of the table of error codes.

/// Who is at fault for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorSource {
    /// The request cannot be served as it is.
    Client,
    /// Ringside itself.
    Gateway,
    /// The provider.
    Upstream,
}

impl ErrorSource {
    /// The word for it in docs/errors.md.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "provider",
        }
    }
}

/// What the gateway may try before it responds to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the same request fails at every target, or nobody waits for it any more.
    Never,
    /// The same target on a new connection: a pooled one was closed before its first byte came back.
    OnFreshConnection,
    /// Another target.
    OnNextTarget,
}

/// What a client that got the error may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientRetry {
    /// Change the request or the configuration first: the same request fails again.
    No,
    /// Send the same request again after a pause, `retry-after` where it is given.
    Later,
}

impl ClientRetry {
    /// The word for it in docs/errors.md.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Later => "later",
        }
    }
}
