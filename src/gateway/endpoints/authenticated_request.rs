//! What every endpoint gets. It must not know any endpoint.

use crate::auth::keys::Caller;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::server::connection::Request;

/// A request whose caller is known, and the configuration that was in force when it came.
#[derive(Clone, Copy)]
pub(crate) struct AuthenticatedRequest<'r> {
    pub snapshot: &'r Snapshot,
    pub request: &'r Request<'r>,
    pub caller: Caller<'r>,
}
