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

pub struct ModelRoute {
    pub name: Name,
    /// Hash of all configuration that decides a response: the targets with URL, dialect and model, and `cache.epoch`.
    /// It is part of the cache's scope, so a change makes stored responses unreachable at once.
    pub identity: u64,
    pub policy: &'static dyn RoutingPolicy,
    /// The model in the target table of a core.
    pub index: ModelIndex,
    /// The targets in the target table of a core, in the order of `targets`.
    pub target_refs: Vec<TargetRef>,
    /// What the configuration says about the targets, in the order of `targets`.
    pub traits: Vec<Traits>,
    /// Every target is at OpenRouter.
    pub is_openrouter: bool,
    pub targets: Vec<TargetRoute>,
    pub failover: Failover,
    pub experiment: Option<ExperimentRoute>,
    /// Checked in order; the first rule that applies is used.
    pub rules: Vec<RuleRoute>,
    pub mirror: Option<MirrorTarget>,
}
