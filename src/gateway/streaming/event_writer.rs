//! Writes relayed events to a response body.

use crate::gateway::core::Core;
use crate::gateway::transform::relay::Relay;
use crate::gateway::transform::stream_relay::EventTooLarge;
use crate::http::encode;
use crate::server::client::Client;
use std::ops::Range;

/// How a body of unknown length is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    /// HTTP/1.0: the body ends with the connection.
    UntilClose,
}

impl Framing {
    pub(crate) fn of(client: &Client) -> Self {
        if client.is_http10 {
            Self::UntilClose
        } else {
            Self::Chunked
        }
    }
}

/// Bytes of a stream that arrived from upstream, or from a shared call.
pub(crate) struct ArrivedEvents<'a> {
    /// Emptied when they are relayed.
    pub bytes: &'a mut Vec<u8>,
    /// Nothing follows.
    pub is_last: bool,
}

/// Appends what arrived as one chunk, and the end of the body when the stream is over. `observe` is called with each
/// event as it arrived, and with the range of its text if only that differs from the event before.
///
/// # Errors
/// One event exceeds the limit.
pub(crate) fn append_events(
    core: &Core,
    relay: &mut Relay,
    arrived: ArrivedEvents<'_>,
    framing: Framing,
    out: &mut Vec<u8>,
    mut observe: impl FnMut(&[u8], Option<Range<usize>>),
) -> Result<(), EventTooLarge> {
    let is_chunked = framing == Framing::Chunked;
    let mark = is_chunked.then(|| encode::begin_chunk(out));
    let fed = relay.feed(arrived.bytes, out, &core.scratch, &mut observe);
    if arrived.is_last {
        relay.end(out, &core.scratch, &mut observe);
    }
    let is_over =
        relay.is_done() || (arrived.is_last && (relay.is_complete() || relay.has_failed()));
    if fed.is_ok() && is_over {
        relay.close(out);
    }
    if let Some(mark) = mark {
        encode::finish_chunk(out, mark);
    }
    if is_chunked && fed.is_ok() && is_over {
        encode::last_chunk(out);
    }
    fed
}
