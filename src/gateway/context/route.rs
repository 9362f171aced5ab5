//! Where a request goes and which attempts were made. Written while it is planned and while targets are
//! tried.

use crate::base::names::Name;
use crate::observability::access_log::RouteNote;
use crate::observability::metrics::arms::ArmId;
use crate::observability::metrics::hedging::HedgeOutcome;
use crate::routing::indices::ModelIndex;

#[derive(Default)]
pub(crate) struct RequestRoute {
    /// The model of the request, or the one of its fallback chain that is being tried.
    pub model: Option<Name>,
    /// The target that served the request, or was tried last.
    pub target: Option<Name>,
    /// How the targets of the first model tried were ordered.
    pub note: Option<RouteNote>,
    /// The rule of the model that applies.
    pub rule: Option<Name>,
    /// The arm of an experiment that the request belongs to.
    pub arm: Option<RequestArm>,
    /// Attempts sent upstream.
    pub attempts: u32,
    pub hedge: HedgeUse,
    /// Another model than the first of the chain was tried.
    pub fell_back: bool,
    /// Fields of the request that were dropped because the provider's API does not have them, for a header.
    pub dropped: Option<String>,
}

/// What hedging did for one request.
#[derive(Default)]
pub(crate) struct HedgeUse {
    /// Set when the model is hedged.
    pub budget: Option<HedgeBudgetShare>,
    /// Tokens that the attempt whose response was not used may have cost, an estimate.
    pub extra_tokens: u64,
    /// Set when a second attempt was sent because the first was late.
    pub outcome: Option<HedgeOutcome>,
}

/// What a request adds to the hedge budget of its model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HedgeBudgetShare {
    /// Index of the model.
    pub model: ModelIndex,
    /// Estimated prompt tokens.
    pub input_tokens: u64,
}

/// The arm of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestArm {
    pub id: ArmId,
    /// `experiment/arm`
    pub label: Name,
    /// The draw was fair, so that arms may be compared by this request.
    pub is_fair: bool,
    /// The target of another arm served it.
    pub has_left: bool,
}
