//! A routing rule of a model, ready for use. Whether it applies to a request is in `plan/rules.rs`.

use crate::base::names::Name;
use crate::config::sections::rules::{Rule, When};
use crate::routing::conditional::Conditions;
use crate::routing::demand::Exclusion;
use crate::routing::indices::{ArmIndex, TargetIndex};
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::target_set::TargetSet;
use xxhash_rust::xxh3::xxh3_64;

/// A rule, ready for use.
pub struct RuleRoute {
    /// Its name.
    pub name: Name,
    pub(crate) conditions: Conditions,
    /// Targets that the request may go to; `None` = all.
    targets: Option<TargetSet>,
    /// The arm that the request belongs to.
    pub arm: Option<ArmIndex>,
    /// Policy instead of the model's.
    pub policy: Option<&'static dyn RoutingPolicy>,
    /// Its part of the cache's scope; 0 if it leaves all targets.
    pub identity: u64,
}

impl RuleRoute {
    /// Makes a rule of `model` ready.
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

    /// No target beside those it names may see the request.
    #[must_use]
    pub fn names_targets(&self) -> bool {
        self.targets.is_some()
    }

    /// Leaves out the targets that it does not name.
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

/// The conditions as routing checks them.
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
