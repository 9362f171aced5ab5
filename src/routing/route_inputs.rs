//! What the target table needs for routing one request to the targets of one model.

use crate::routing::policy::RequestFacts;
use crate::routing::target_set::TargetSet;

/// A request, and which targets of a model it may go to.
#[derive(Debug, Clone, Copy)]
pub struct RouteInputs<'c> {
    /// The request; the same for each of its models.
    pub facts: RequestFacts,
    /// Targets of the model that the request may not go to.
    pub excluded: TargetSet,
    /// Estimated cost of the request at each target in nano-dollars; empty unless the policy reads costs.
    pub costs_nanousd: &'c [Option<u64>],
}
