//! The limits of a client connection.

use crate::http::limits::HeadLimits;
use std::time::Duration;

/// Limits of a connection.
#[derive(Debug, Clone)]
pub struct ConnectionLimits {
    /// Limits of a request head.
    pub head: HeadLimits,
    /// Largest body, in bytes.
    pub body_bytes_max: usize,
    /// Time from the first byte of a head to its end.
    pub head_timeout: Duration,
    /// Time for a body to arrive.
    pub body_timeout: Duration,
    /// Time between requests.
    pub idle_timeout: Duration,
    /// Time that a write may make no progress.
    pub write_timeout: Duration,
}
