//! Which request it is and who sent it. Written once, before the operation is served.

use crate::base::names::Name;
use crate::protocols::operation_kind::OperationKind;

pub(crate) struct RequestIdentity {
    /// The client's `x-request-id`, or a new id.
    pub request_id: String,
    pub operation: OperationKind,
    /// Virtual key; `None` when no keys are configured or authentication failed.
    pub key: Option<Name>,
    /// Team of the key.
    pub team: Option<Name>,
}

impl RequestIdentity {
    #[must_use]
    pub(crate) fn new(request_id: String) -> Self {
        Self {
            request_id,
            operation: OperationKind::None,
            key: None,
            team: None,
        }
    }
}
