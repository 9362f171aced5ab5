//! Work that starts once the client has its response.

use crate::gateway::caching::hit_sampling::HitSample;
use crate::gateway::experiments::mirroring::Mirror;

#[derive(Default)]
pub(crate) struct BackgroundWork {
    /// Compares the hit that was served with a fresh response.
    pub hit_sample: Option<Box<HitSample>>,
    /// Sends the request to a mirror target as well.
    pub mirror: Option<Box<Mirror>>,
}
