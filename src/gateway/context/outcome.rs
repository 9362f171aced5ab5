//! What the client was sent.

use crate::error::code::ErrorCode;

/// How far the response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ResponseState {
    /// No byte of it was written.
    Pending,
    /// Its head was written.
    Sent {
        status: u16,
        /// Code of the error that it is or broke off with.
        error_code: Option<ErrorCode>,
    },
}

pub(crate) struct RequestOutcome {
    state: ResponseState,
    /// What failed, in words for the operator only (e.g. why a connect failed).
    pub detail: Option<String>,
    /// What the client's SDK should do about an error; `None` derives it from the number of attempts.
    pub should_retry: Option<bool>,
}

impl Default for RequestOutcome {
    fn default() -> Self {
        Self {
            state: ResponseState::Pending,
            detail: None,
            should_retry: None,
        }
    }
}

impl RequestOutcome {
    /// The head of a response is written.
    pub(crate) fn sent(&mut self, status: u16) {
        let error_code = self.error_code();
        self.state = ResponseState::Sent { status, error_code };
    }

    /// The response that is being sent is an error, or broke off.
    pub(crate) fn failed(&mut self, code: ErrorCode) {
        debug_assert!(self.is_sent(), "{code} before the head of the response");
        let (status, error_code) = (self.status(), Some(code));
        self.state = ResponseState::Sent { status, error_code };
    }

    #[must_use]
    pub(crate) fn is_sent(&self) -> bool {
        self.state != ResponseState::Pending
    }

    /// Status sent; 0 when nothing was sent.
    #[must_use]
    pub(crate) fn status(&self) -> u16 {
        match self.state {
            ResponseState::Pending => 0,
            ResponseState::Sent { status, .. } => status,
        }
    }

    #[must_use]
    pub(crate) fn error_code(&self) -> Option<ErrorCode> {
        match self.state {
            ResponseState::Pending => None,
            ResponseState::Sent { error_code, .. } => error_code,
        }
    }
}
