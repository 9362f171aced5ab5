//! What followers of a shared call receive besides bytes: the head of the response, and how the call ended.
//!
//! Plain values. It must not know who follows, or how bytes are buffered.

use crate::base::names::Name;
use crate::error::class::ErrorSource;
use crate::error::gateway_error::GatewayError;
use crate::protocols::usage::Usage;
use std::sync::Arc;

/// The head of an upstream response.
#[derive(Debug, Clone)]
pub struct Head {
    pub target: Name,
    pub status: u16,
    /// Encoded header lines that are forwarded to the client.
    pub forwarded: Vec<u8>,
}

/// A response that was read to its end before it was shared.
#[derive(Debug)]
pub struct SharedResponse {
    pub head: Head,
    pub body: Vec<u8>,
    /// `None` when the provider reported none.
    pub usage: Option<Usage>,
    /// Another attempt could have another outcome, e.g. after a 429 or a 5xx.
    pub may_retry: bool,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum End {
    /// The stream is complete; the usage that the provider reported.
    Complete(Option<Usage>),
    /// With a response that was not streamed.
    Whole(Arc<SharedResponse>),
    /// With an error, before the response or in the middle of it.
    Failed {
        /// The error that the leader's client receives.
        error: Arc<GatewayError>,
        /// The value of `x-should-retry` for every client.
        should_retry: Option<bool>,
    },
    /// No call was made: the response had been stored in the meantime.
    Stored,
    /// The leader ended without a result, e.g. by a panic.
    Lost,
}

impl End {
    /// Whether the same call would end like this again: every follower takes it as it is.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        match self {
            Self::Complete(_) | Self::Stored => true,
            Self::Whole(whole) => !whole.may_retry,
            Self::Failed { error, .. } => error.source == ErrorSource::Client,
            Self::Lost => false,
        }
    }
}
