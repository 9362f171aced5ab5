//! The error that every stage of a request returns: a code, and what is specific to this request.

use crate::error::class::{ErrorSource, Retry};
use crate::error::code::ErrorCode;
use std::borrow::Cow;
use std::fmt;

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct GatewayError {
    /// HTTP status: the code's, unless the provider sent another.
    pub status: u16,
    /// Names the kind of error.
    pub code: ErrorCode,
    /// A sentence that a person can act on.
    pub message: Cow<'static, str>,
    /// The request field at fault, when there is one.
    pub param: Option<Cow<'static, str>>,
    /// Who is at fault.
    pub source: ErrorSource,
    /// What the gateway may try next: the code's, unless the code that returns the error knows better.
    pub retry: Retry,
    /// Value for the `retry-after` header.
    pub retry_after: Option<String>,
    /// Value for the `allow` header of a 405.
    pub allow: Option<&'static str>,
}

impl GatewayError {
    /// An error with the status, source and retry of its code.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status: code.status(),
            code,
            message: message.into(),
            param: None,
            source: code.source(),
            retry: code.retry(),
            retry_after: None,
            allow: None,
        }
    }

    /// The same error, naming the request field.
    #[must_use]
    pub fn on(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }
}

impl fmt::Display for GatewayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status, self.code, self.message)
    }
}
