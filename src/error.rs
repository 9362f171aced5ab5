//! Faults: every stage's error becomes one of these, and one of these becomes status and envelope.
//!
//! The only place that maps an error to what the client sees.

use std::borrow::Cow;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorSource {
    /// The request cannot be served as it is.
    Client,
    /// Ringside itself.
    Gateway,
    /// The provider.
    Upstream,
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again.
    Never,
    /// A reused connection died before its first byte: once more on a fresh one.
    OnFreshConnection,
    /// Another target may succeed.
    OnNextTarget,
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct GatewayError {
    /// HTTP status.
    pub status: u16,
    /// Machine-readable code, as in the envelope's `code`.
    pub code: &'static str,
    /// A sentence a person can act on.
    pub message: Cow<'static, str>,
    /// The request field at fault, when there is one.
    pub param: Option<Cow<'static, str>>,
    /// Whose fault it is.
    pub source: ErrorSource,
    /// Whether trying again can help.
    pub retry: Retry,
    /// Value for the `retry-after` header.
    pub retry_after: Option<String>,
    /// Value for the `allow` header of a 405.
    pub allow: Option<&'static str>,
}

impl GatewayError {
    /// A fault of the client's request.
    pub fn client(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, code, message, ErrorSource::Client, Retry::Never)
    }

    /// A fault of Ringside.
    pub fn gateway(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            status,
            code,
            message,
            ErrorSource::Gateway,
            Retry::OnNextTarget,
        )
    }

    /// A fault of the provider.
    pub fn upstream(
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(
            status,
            code,
            message,
            ErrorSource::Upstream,
            Retry::OnNextTarget,
        )
    }

    fn new(
        status: u16,
        code: &'static str,
        message: impl Into<Cow<'static, str>>,
        source: ErrorSource,
        retry: Retry,
    ) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            param: None,
            source,
            retry,
            retry_after: None,
            allow: None,
        }
    }

    /// The same fault, naming the request field.
    #[must_use]
    pub fn on(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// OpenAI's error type for this status.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ if self.source == ErrorSource::Upstream => "upstream_error",
            _ => "server_error",
        }
    }

    /// OpenAI's envelope: `{"error":{"message","type","param","code"}}`.
    #[must_use]
    pub fn envelope(&self) -> String {
        serde_json::json!({
            "error": {
                "message": self.message,
                "type": self.kind(),
                "param": self.param,
                "code": self.code,
            }
        })
        .to_string()
    }
}

impl std::fmt::Display for GatewayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}
