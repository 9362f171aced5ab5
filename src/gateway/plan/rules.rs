//! Which of a model's rules applies to a request, and what follows for its targets, arm and policy. Conditions
//! are in `routing/conditional.rs`.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::config::sections::rules::{Rule, When};
use crate::gateway::plan::candidates::RouteConstraints;
use crate::http::head::Headers;
use crate::protocols::json::document::Scratch;
use crate::routing::conditional::{Conditions, RequestAttributes, unmet};
use crate::routing::demand::{Exclusion, Needs};
use crate::routing::indices::{ArmIndex, TargetIndex};
use crate::routing::policies::registry::policy;
use crate::routing::policy::RoutingPolicy;
use crate::routing::target_set::TargetSet;
use xxhash_rust::xxh3::xxh3_64;

/// A rule, ready for use.
pub struct RuleRoute {
    /// Its name.
    pub name: Name,
    conditions: Conditions,
    /// Targets that the request may go to; `None` = all.
    targets: Option<TargetSet>,
    /// The arm that the request belongs to.
    pub arm: Option<ArmIndex>,
    /// Policy instead of the model's.
    pub policy: Option<&'static dyn RoutingPolicy>,
    /// Its part of the cache's scope; 0 if it leaves all targets.
    pub identity: u64,
}

/// A rule that was looked at, and the first condition that was not met.
pub(crate) type Looked = (Name, Option<&'static str>);

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

/// A request, as rules see it.
pub(crate) struct RuleContext<'r, 's> {
    headers: &'r Headers<'r>,
    key: Option<std::sync::Arc<str>>,
    team: Option<std::sync::Arc<str>>,
    constraints: &'r RouteConstraints<'s>,
    metadata: Vec<(String, String)>,
}

impl<'r, 's> RuleContext<'r, 's> {
    /// A request for a model with `rules`. Its body is read again only if one of them asks for `metadata`.
    pub(crate) fn new(
        rules: &[RuleRoute],
        headers: &'r Headers<'r>,
        caller: Caller<'_>,
        constraints: &'r RouteConstraints<'s>,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Self {
        let reads = rules
            .iter()
            .any(|rule| !rule.conditions.metadata.is_empty());
        let metadata = if reads {
            metadata(body, scratch)
        } else {
            Vec::new()
        };
        Self {
            headers,
            key: caller.key.map(Name::text),
            team: caller.team.map(Name::text),
            constraints,
            metadata,
        }
    }

    /// The place of the first rule that applies, and what was looked at on the way.
    #[must_use]
    pub(crate) fn first_of(&self, rules: &[RuleRoute]) -> (Option<usize>, Vec<Looked>) {
        let mut looked = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().enumerate() {
            let unmet = unmet(&rule.conditions, self);
            looked.push((rule.name, unmet));
            if unmet.is_none() {
                return (Some(at), looked);
            }
        }
        (None, looked)
    }
}

/// The texts in the body's `metadata`.
fn metadata(body: &[u8], scratch: &mut Scratch) -> Vec<(String, String)> {
    let read = scratch.with_document(body, |document| {
        let fields = document
            .field(0, "metadata")
            .and_then(|at| document.fields(at));
        let texts = fields
            .into_iter()
            .flatten()
            .filter_map(|(name, at)| Some((name.to_owned(), document.text(at)?.to_owned())));
        texts.collect()
    });
    read.unwrap_or_default()
}

impl RequestAttributes for RuleContext<'_, '_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn team(&self) -> Option<&str> {
        self.team.as_deref()
    }

    fn regions(&self) -> &[String] {
        let demand = &self.constraints.demand;
        match demand.regions.is_empty() {
            true => demand.key_regions,
            false => &demand.regions,
        }
    }

    fn prompt_tokens(&self) -> u64 {
        self.constraints.demand.tokens
    }

    fn needs(&self) -> Needs {
        self.constraints.demand.needs
    }
}
