//! Reads the body of a request: from the buffer that holds its head, or as it arrives, on the account of its caller. It must
//! not know what the body means.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::encode;
use crate::http::framing::{BodyLength, BodyReader};
use crate::runtime::buffer;
use crate::runtime::clock;
use crate::runtime::io::SocketError;
use crate::server::body_memory::{BodyReservation, make_room};
use crate::server::client::Client;
use crate::server::connection_end::ConnectionEnd;
use crate::server::connection_limits::ConnectionLimits;
use crate::server::request_body::PIECES_FROM_BYTES;

/// Bodies that arrive with their head and are not larger than this are not counted: the number of connections bounds
/// them, and nearly all bodies are.
pub(crate) const UNCOUNTED_BYTES_MAX: usize = 16 * 1024;

/// The body, if `rest` begins with the whole body without coding.
pub(crate) fn whole_body<'b>(
    rest: &'b [u8],
    length: BodyLength,
    limits: &ConnectionLimits,
) -> Option<&'b [u8]> {
    let bytes = match length {
        BodyLength::None => 0,
        BodyLength::Exact(bytes) => usize::try_from(bytes).ok()?,
        _ => return None,
    };
    if bytes > limits.body_bytes_max {
        return None;
    }
    rest.get(..bytes)
}

/// The length of a body that may be read piece by piece. A body of unknown length is buffered, because many servers
/// require the length.
pub(crate) fn in_pieces(length: BodyLength, limits: &ConnectionLimits) -> Option<u64> {
    match length {
        BodyLength::Exact(bytes) => {
            let fits = usize::try_from(bytes).is_ok_and(|bytes| bytes <= limits.body_bytes_max);
            (fits && bytes >= PIECES_FROM_BYTES).then_some(bytes)
        }
        _ => None,
    }
}

/// A body that has not arrived yet.
pub(crate) struct ArrivingBody<'l> {
    pub length: BodyLength,
    /// Whether the client sent `expect: 100-continue`.
    pub waits_for_continue: bool,
    pub limits: &'l ConnectionLimits,
}

impl ArrivingBody<'_> {
    /// Checks the announced length.
    ///
    /// # Errors
    /// 413; or 503, if there is no room for it.
    pub(crate) fn check(&self, reservation: Option<&BodyReservation>) -> Result<(), GatewayError> {
        let BodyLength::Exact(bytes) = self.length else {
            return Ok(());
        };
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if bytes > self.limits.body_bytes_max {
            return Err(self.too_large());
        }
        reservation.map_or(Ok(()), |reservation| reservation.check(bytes))
    }

    /// Reads the whole body into `body`. `received` holds the bytes after the head, and in the end those after the body.
    pub(crate) async fn read(
        &self,
        client: &mut Client,
        received: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), ConnectionEnd> {
        let limits = self.limits;
        if self.waits_for_continue && received.is_empty() {
            let (written, _) = client.write(encode::CONTINUE.to_vec()).await;
            written.map_err(|_| ConnectionEnd::Closed)?;
        }
        let mut reader = BodyReader::new(self.length);
        let by = clock::recent() + limits.body_timeout;
        *body = buffer::take(received.len());
        loop {
            self.take(client, &mut reader, received, body)
                .map_err(ConnectionEnd::Rejected)?;
            if reader.is_done() {
                return Ok(());
            }
            match client.stream.fill(received, by).await {
                Ok(count) if count > 0 => {}
                Err(SocketError::Deadline) => {
                    return Err(ConnectionEnd::Rejected(GatewayError::new(
                        ErrorCode::RequestTimeout,
                        format!(
                            "the request body did not arrive within {:?} (server.body_timeout)",
                            limits.body_timeout
                        ),
                    )));
                }
                _ => return Err(ConnectionEnd::Closed),
            }
        }
    }

    /// Moves what was received of the body to `body`.
    fn take(
        &self,
        client: &mut Client,
        reader: &mut BodyReader,
        received: &mut Vec<u8>,
        body: &mut Vec<u8>,
    ) -> Result<(), GatewayError> {
        let bytes_max = match self.length {
            BodyLength::Exact(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            _ => self.limits.body_bytes_max,
        };
        let more = match self.length {
            BodyLength::Exact(_) => received.len().min(bytes_max - body.len()),
            _ => received.len(),
        };
        make_room(client.body_reservation.as_mut(), body, more, bytes_max)?;
        let consumed = reader
            .read(received, body)
            .map_err(|bad| GatewayError::new(ErrorCode::InvalidBodyFraming, bad.to_string()))?;
        if consumed == received.len() {
            received.clear();
        } else {
            received.drain(..consumed);
        }
        // A chunk that is announced is refused before it arrives.
        let announced = usize::try_from(reader.announced()).unwrap_or(usize::MAX);
        if body.len().saturating_add(announced) > self.limits.body_bytes_max {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn too_large(&self) -> GatewayError {
        GatewayError::new(
            ErrorCode::BodyTooLarge,
            format!(
                "the request body is larger than {} bytes (server.body_max)",
                self.limits.body_bytes_max
            ),
        )
    }
}
