//! What the target table needs to route one request to the targets of one model.

use crate::routing::policy::RequestFacts;
use crate::routing::target_set::TargetSet;

/// A request, and the targets of a model that it may be sent to.
#[derive(Debug, Clone, Copy)]
pub struct RouteInputs<'c> {
    /// The same for each model that the request is tried with.
    pub facts: RequestFacts,
    /// Targets of the model that the request may not be sent to.
    pub excluded: TargetSet,
    /// Estimated cost of the request at each target in nano-dollars; empty unless the policy reads costs.
    pub costs_nanousd: &'c [Option<u64>],
}
