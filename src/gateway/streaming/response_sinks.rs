//! Who receives a response beside the client that caused the call.

use crate::cache::coalesce::shared_calls::Leader;
use crate::gateway::caching::session::CacheSession;
use crate::gateway::experiments::mirroring::Mirror;

pub(crate) struct ResponseSinks<'m> {
    pub cache: CacheSession,
    /// Followers of the call; `None` when it is not shared.
    pub leader: Option<Leader>,
    /// Compares the response with that of a mirror target.
    pub mirror: Option<&'m mut Mirror>,
}
