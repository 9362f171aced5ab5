//! What an attempt ends with when it did not fail: a complete response, or a stream that has begun.

use crate::base::names::Name;
use crate::gateway::attempt::attempt_guard::AttemptGuard;
use crate::gateway::attempt::response_head::UpstreamHead;
use crate::gateway::snapshot::provider::Provider;
use crate::gateway::transform::id_sealing::IdSealer;
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::protocols::provider_refusals::Refusal;
use crate::upstream::exchange::UpstreamResponse;
use crate::upstream::response_memory::ResponseReservation;
use std::sync::Arc;

/// Largest response that is buffered, in bytes. It is sent once it is complete, so that a provider that fails in
/// the middle can be replaced by another one.
pub(crate) const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(crate) enum AttemptResult {
    /// A complete response, of any status.
    Whole(BufferedResponse),
    Stream(Box<StreamingResponse>),
}

/// A complete response.
pub(crate) struct BufferedResponse {
    pub target: Name,
    pub status: u16,
    pub head: UpstreamHead,
    /// The body, in the client's format.
    pub body: Vec<u8>,
    /// Counts the memory of the body.
    pub reservation: ResponseReservation,
    /// Set when the request was refused for its content.
    pub refusal: Option<Refusal>,
}

/// A stream whose first bytes have arrived.
pub(crate) struct StreamingResponse {
    pub target: Name,
    pub backend: Arc<Provider>,
    /// The attempt, which ends with the stream.
    pub attempt_guard: AttemptGuard,
    pub upstream_response: UpstreamResponse<UpstreamHead>,
    /// The first bytes of the body.
    pub first: Vec<u8>,
    /// The body is complete already.
    pub is_done: bool,
    /// Translates the body into the client's format; `None` when the provider has the same format.
    pub translation: Option<Box<NeutralRelay>>,
    /// Seals the ids of what the provider stores.
    pub id_sealer: Option<Box<IdSealer>>,
}
