//! The targets of one model that a request may use, and what their order depends on. It must not know why a target
//! is excluded: `candidates` decides that.

use crate::routing::demand::Exclusion;
use crate::routing::policy::{RequestFacts, RoutingPolicy};
use crate::routing::route_inputs::RouteInputs;
use crate::routing::target_set::{TARGETS_MAX, TargetSet};
use arrayvec::ArrayVec;

pub(crate) struct Selection {
    /// Why each target is excluded, in the order of the model's targets; `None` if it is not.
    pub exclusions: ArrayVec<Option<Exclusion>, TARGETS_MAX>,
    pub excluded: TargetSet,
    /// Estimated cost per target; empty unless the policy compares costs.
    pub costs_nanousd: ArrayVec<Option<u64>, TARGETS_MAX>,
    pub policy: &'static dyn RoutingPolicy,
}

impl Selection {
    /// What the target table needs to order the targets.
    #[must_use]
    pub(crate) fn inputs(&self, facts: &RequestFacts) -> RouteInputs<'_> {
        RouteInputs {
            facts: *facts,
            excluded: self.excluded,
            costs_nanousd: &self.costs_nanousd,
        }
    }
}
