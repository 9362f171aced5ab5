//! A model with its targets, as requests are routed to them.

use crate::base::names::Name;
use crate::config::sections::failover::Failover;
use crate::gateway::snapshot::experiment::ExperimentRoute;
use crate::gateway::snapshot::mirror::MirrorTarget;
use crate::gateway::snapshot::rule::RuleRoute;
use crate::gateway::snapshot::target::TargetRoute;
use crate::routing::demand::Traits;
use crate::routing::indices::ModelIndex;
use crate::routing::policy::RoutingPolicy;
use crate::routing::target_ref::TargetRef;

/// A model and where it is served.
pub struct ModelRoute {
    /// Its name.
    pub name: Name,
    /// The policy epoch: hash of all that is configured and decides an answer (targets with URL, dialect
    /// and model, `cache.epoch`). Part of the cache's scope, so that a change makes what is stored
    /// unreachable at once.
    pub identity: u64,
    /// Orders its targets.
    pub policy: &'static dyn RoutingPolicy,
    /// Its place among the models a core takes turns for.
    pub index: ModelIndex,
    /// What routing knows of its targets.
    pub target_refs: Vec<TargetRef>,
    /// What is known of them beside that, in the same order.
    pub traits: Vec<Traits>,
    /// All of them are at OpenRouter.
    pub is_openrouter: bool,
    /// Its targets, in the same order.
    pub targets: Vec<TargetRoute>,
    /// What is done about slow and failing ones.
    pub failover: Failover,
    /// Arms that share its requests.
    pub experiment: Option<ExperimentRoute>,
    /// Which of them go where; the first that applies.
    pub rules: Vec<RuleRoute>,
    /// Another target that a share of them is sent to as well.
    pub mirror: Option<MirrorTarget>,
}
