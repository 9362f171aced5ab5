//! The bytes that a client has sent and that were not served yet, and how a request head is waited for.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::head::{head_end, parse_request_head};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::{SocketError, before};
use crate::server::client::Client;
use crate::server::connection_end::{ConnectionEnd, rejected};
use crate::server::connection_limits::ConnectionLimits;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

/// Received bytes. Those that were served are skipped and not moved, because a client may send thousands of requests
/// at once.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    /// Bytes at the front that were served.
    served: usize,
}

impl Input {
    /// Bytes that were received and not served. The memory of none is released.
    #[must_use]
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        let mut input = Self { bytes, served: 0 };
        input.skip(0);
        input
    }

    /// The bytes that were not served yet.
    #[must_use]
    pub(crate) fn unserved(&self) -> &[u8] {
        self.bytes.get(self.served..).unwrap_or_default()
    }

    /// Records that the first `count` bytes were served. The memory is released once all were.
    pub(crate) fn skip(&mut self, count: usize) {
        self.served += count;
        if self.served >= self.bytes.len() {
            self.release();
        }
    }

    /// Drops all bytes.
    pub(crate) fn release(&mut self) {
        buffer::give(std::mem::take(&mut self.bytes));
        self.served = 0;
    }

    /// The buffer to append received bytes to. Served bytes are removed first: less than a head is left then.
    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.served > 0 {
            self.bytes.drain(..self.served);
            self.served = 0;
        }
        &mut self.bytes
    }

    /// Waits until the unserved bytes begin with a whole head.
    pub(crate) async fn read_head(
        &mut self,
        client: &mut Client,
        limits: &ConnectionLimits,
    ) -> Result<(), ConnectionEnd> {
        let mut by = None;
        let mut scanned = 0;
        let mut stripped = 0;
        loop {
            self.strip_leading_line_end(&mut stripped);
            let unserved = self.unserved();
            if unserved.is_empty() {
                client.stream.release_memory();
            } else {
                if head_end(unserved, scanned).is_some() {
                    return Ok(());
                }
                // A head that cannot become valid is rejected now, not at the deadline.
                parse_request_head(unserved, &limits.head).map_err(|bad| rejected(&bad))?;
                scanned = unserved.len().saturating_sub(3);
                by.get_or_insert_with(|| clock::recent() + limits.head_timeout);
            }
            let filled = fill_unless_draining(client, self.buffer(), by, limits).await;
            match filled {
                Some(Ok(count)) if count > 0 => {}
                Some(Err(SocketError::Deadline)) if by.is_some() => {
                    return Err(ConnectionEnd::Rejected(GatewayError::new(
                        ErrorCode::RequestTimeout,
                        format!(
                            "the request head did not arrive within {:?} (server.head_timeout)",
                            limits.head_timeout
                        ),
                    )));
                }
                _ => return Err(ConnectionEnd::Closed),
            }
        }
    }

    /// Skips an empty line before the request line (RFC 9112, 2.2), at most twice.
    fn strip_leading_line_end(&mut self, stripped: &mut usize) {
        while *stripped < 2 && self.unserved().starts_with(b"\r\n") {
            self.skip(2);
            *stripped += 1;
        }
    }
}

/// `None` if the process stops while the connection is idle.
async fn fill_unless_draining(
    client: &mut Client,
    input: &mut Vec<u8>,
    by: Option<Instant>,
    limits: &ConnectionLimits,
) -> Option<Result<usize, SocketError>> {
    let is_idle = by.is_none();
    let by = by.unwrap_or_else(|| clock::recent() + limits.idle_timeout);
    let wait = poll_fn(|cx| {
        if let Poll::Ready(filled) = client.stream.poll_fill(input, cx) {
            return Poll::Ready(Some(filled));
        }
        if is_idle && client.guard.poll_begun(cx) {
            return Poll::Ready(None);
        }
        Poll::Pending
    });
    before(by, wait)
        .await
        .unwrap_or(Some(Err(SocketError::Deadline)))
}
