//! A routing rule of a model as requests use it. `plan/rules.rs` finds out whether it applies to a request.

use crate::base::names::Name;
use crate::config::sections::rules::{Rule, When};
use crate::routing::conditional::Conditions;
use crate::routing::demand::Exclusion;
use crate::routing::indices::{ArmIndex, TargetIndex};
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::target_set::TargetSet;
use xxhash_rust::xxh3::xxh3_64;

pub struct RuleRoute {
    pub name: Name,
    pub(crate) conditions: Conditions,
    /// Targets that the request may use; `None` = all.
    targets: Option<TargetSet>,
    /// The arm that the request belongs to.
    pub arm: Option<ArmIndex>,
    /// The policy that replaces the model's.
    pub policy: Option<&'static dyn RoutingPolicy>,
    /// The rule's part of the cache's scope; 0 if the rule allows all targets.
    pub identity: u64,
}

impl RuleRoute {
    #[must_use]
    pub fn new(model: &str, rule: &Rule) -> Self {
        let set = |targets: &Vec<usize>| targets.iter().copied().map(TargetIndex::new).collect();
        let targets: Option<TargetSet> = rule.targets.as_ref().map(set);
        let bits = targets.map(TargetSet::bits);
        let form = format!("{model}\0{}\0{bits:?}", rule.name);
        Self {
            name: Name::new(&rule.name),
            conditions: conditions(&rule.when),
            targets,
            arm: rule.arm.map(ArmIndex::new),
            policy: rule.policy.as_deref().and_then(policy),
            identity: targets.map_or(0, |_| xxh3_64(form.as_bytes())),
        }
    }

    /// Whether the rule allows only some targets.
    #[must_use]
    pub fn names_targets(&self) -> bool {
        self.targets.is_some()
    }

    /// Excludes the targets that the rule does not allow.
    pub fn exclude(&self, exclusions: &mut [Option<Exclusion>]) {
        let Some(targets) = self.targets else {
            return;
        };
        for (index, exclusion) in exclusions.iter_mut().enumerate() {
            if exclusion.is_none() && !targets.contains(TargetIndex::new(index)) {
                *exclusion = Some(Exclusion::Rule);
            }
        }
    }
}

fn conditions(when: &When) -> Conditions {
    Conditions {
        headers: when.headers.clone(),
        metadata: when.metadata.clone(),
        keys: when.keys.clone(),
        teams: when.teams.clone(),
        regions: when.regions.clone(),
        prompt_tokens_min: when.prompt_tokens_min,
        prompt_tokens_max: when.prompt_tokens_max,
        tools: when.tools,
        images: when.images,
        schema: when.schema,
        stream: when.stream,
    }
}
