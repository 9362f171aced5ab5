//! Which targets a request may use, and in which order they are tried. Requests and `explain` share this code, so
//! that an explanation shows what a request does.

use crate::accounting::prices::PriceBook;
use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::arms::ChosenArm;
use crate::gateway::plan::rules::CheckedRule;
use crate::gateway::plan::selection::Selection;
use crate::gateway::plan::stored_responses::StoredResponses;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::rule::RuleRoute;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::headers;
use crate::http::head::Headers;
use crate::protocols::request::request_shape::Shape;
use crate::protocols::usage::Usage;
use crate::routing::demand::{Demand, Exclusion, Needs, exclusion};
use crate::routing::indices::{KeyIndex, TargetIndex};
use crate::routing::policy::{RequestFacts, RoutingPolicy};
use crate::routing::target_set::TARGETS_MAX;
use crate::routing::targets::{Route, TargetTable};
use arrayvec::ArrayVec;
use std::fmt::Write;

/// Completion tokens that a price comparison assumes if the request does not limit them.
pub(crate) const COMPLETION_TOKENS_EXPECTED: u64 = 500;

/// How the targets of a request are chosen.
pub(crate) struct RouteConstraints<'s> {
    /// The policy that the request names; it comes before that of the rule and of the model.
    pub policy: Option<&'static dyn RoutingPolicy>,
    pub demand: Demand<'s>,
    /// Estimated usage, from which costs are compared.
    pub expected: Usage,
    pub prices: &'s PriceBook,
    /// The arm of the first model's experiment that the request belongs to.
    pub arm: Option<ChosenArm<'s>>,
    /// The rule of the first model that applies.
    pub rule: Option<&'s RuleRoute>,
    /// The rules of the first model that were checked.
    pub checked_rules: Vec<CheckedRule>,
    /// The first model if it has rules: `rule` and `checked_rules` are those of this model.
    pub rules_model: Option<Name>,
    /// Set when a provider stores the response or the request continues a stored one.
    pub stored_responses: Option<StoredResponses<'s>>,
}

impl<'s> RouteConstraints<'s> {
    /// The constraints that follow from the headers, the caller's key and the shape of the body.
    ///
    /// # Errors
    /// `x-ringside-region` names no region.
    pub(crate) fn new(
        snapshot: &'s Snapshot,
        caller: Caller<'s>,
        headers: &Headers<'_>,
        shape: &Shape,
    ) -> Result<Self, GatewayError> {
        let mut regions = Vec::new();
        if let Some(value) = headers::REGION.read(headers) {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let names = text.split(',').map(str::trim);
            regions.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            if regions.is_empty() {
                let message = format!("`{}` names no region", headers::REGION);
                return Err(
                    GatewayError::new(ErrorCode::InvalidHeader, message).on(headers::REGION.name())
                );
            }
        }
        Ok(Self {
            policy: None,
            demand: Demand {
                tokens: shape.text_tokens(),
                needs: Needs {
                    tools: shape.has_tools,
                    images: shape.has_images,
                    schema: shape.wants_schema,
                    streams: shape.streams,
                },
                key_regions: caller.regions,
                regions,
                key_tags: caller.tags,
                ..Demand::default()
            },
            expected: Usage {
                prompt: shape.text_tokens(),
                completion: shape.completion_max.unwrap_or(COMPLETION_TOKENS_EXPECTED),
                ..Usage::default()
            },
            prices: &snapshot.prices,
            arm: None,
            rule: None,
            checked_rules: Vec::new(),
            rules_model: None,
            stored_responses: None,
        })
    }

    /// The targets of a model that the request may use.
    #[must_use]
    pub(crate) fn select(&self, route: &ModelRoute) -> Selection {
        let mut exclusions: ArrayVec<_, TARGETS_MAX> = route
            .traits
            .iter()
            .take(TARGETS_MAX)
            .map(|traits| exclusion(traits, &self.demand))
            .collect();
        // The prompt's length is an estimate: if it alone excludes the last target, the provider decides.
        let is_by_length = |exclusion: &Option<Exclusion>| *exclusion == Some(Exclusion::Context);
        if exclusions.iter().all(Option::is_some) && exclusions.iter().any(is_by_length) {
            for exclusion in &mut exclusions {
                *exclusion = exclusion.filter(|reason| *reason != Exclusion::Context);
            }
        }
        if let Some(rule) = self.rule_of(route) {
            rule.exclude(&mut exclusions);
        }
        if let Some(experiment) = &route.experiment
            && !self.names_targets()
        {
            experiment.exclude(&mut exclusions, self.arm_of(route));
        }
        let indexed = exclusions.iter().enumerate();
        let excluded = indexed.filter(|(_, exclusion)| exclusion.is_some());
        let excluded = excluded.map(|(index, _)| TargetIndex::new(index)).collect();
        let policy = self.policy_of(route);
        let mut costs_nanousd = ArrayVec::new();
        if policy.reads_costs() {
            let targets = route.targets.iter().take(TARGETS_MAX);
            costs_nanousd.extend(targets.map(|target| {
                let cost = self.prices.cost(target.label, self.expected);
                cost.map(|cost| cost.total())
            }));
        }
        Selection {
            exclusions,
            excluded,
            costs_nanousd,
            policy,
        }
    }

    /// The order of a model's targets. Targets that the request names come first.
    pub(crate) fn order(
        &self,
        route: &ModelRoute,
        selection: &Selection,
        facts: &RequestFacts,
        target_table: &mut TargetTable,
        now_us: u64,
    ) -> Route {
        if let Some(chosen) = self.arm_of(route) {
            return chosen.order(route, selection, facts, target_table, now_us);
        }
        let inputs = selection.inputs(facts);
        let (index, target_refs) = (route.index, &route.target_refs);
        let mut routed = target_table.route(index, target_refs, selection.policy, &inputs, now_us);
        if !self.demand.first.is_empty() {
            let rank = |index: TargetIndex| {
                let traits = route.traits.get(index.get());
                let is_named = |name: &String| traits.is_some_and(|traits| traits.is_called(name));
                let position = self.demand.first.iter().position(is_named);
                position.unwrap_or(usize::MAX)
            };
            routed.order.sort_by_key(|index| rank(*index));
        }
        routed
    }

    /// The error that lists why each target of `models` is excluded; `None` if the request may use at least one.
    #[must_use]
    pub(crate) fn no_eligible_target(&self, models: &[&ModelRoute]) -> Option<GatewayError> {
        let mut reasons = String::new();
        for route in models {
            let selection = self.select(route);
            for (traits, exclusion) in route.traits.iter().zip(&selection.exclusions) {
                let exclusion = (*exclusion)?;
                let _ = write!(
                    reasons,
                    "{}{} ({})",
                    separator(&reasons),
                    traits.label,
                    exclusion.as_str()
                );
            }
        }
        let message = format!("no target may serve this request: {reasons}");
        Some(GatewayError::new(ErrorCode::NoEligibleTarget, message))
    }

    /// Whether the request names targets, or continues a response that only one of them stores. Such a request
    /// takes part in no experiment.
    #[must_use]
    pub(crate) fn names_targets(&self) -> bool {
        !self.demand.only.is_empty() || !self.demand.first.is_empty() || self.key_index().is_some()
    }

    /// The only API key of the provider that may be used: the one that made the response which the request continues.
    #[must_use]
    pub(crate) fn key_index(&self) -> Option<KeyIndex> {
        let previous = self.stored_responses.as_ref()?.previous.as_ref();
        previous.map(|previous| previous.key_index)
    }

    /// The rule that applies, if it is a rule of this model.
    #[must_use]
    pub(crate) fn rule_of(&self, route: &ModelRoute) -> Option<&'s RuleRoute> {
        self.rule.filter(|_| self.rules_model == Some(route.name))
    }

    /// The policy for a model's targets: that of the request, else of the rule, else of the model.
    #[must_use]
    pub(crate) fn policy_of(&self, route: &ModelRoute) -> &'static dyn RoutingPolicy {
        let rule_policy = || self.rule_of(route)?.policy;
        self.policy.or_else(rule_policy).unwrap_or(route.policy)
    }

    /// The arm of the request, if it is an arm of this model.
    #[must_use]
    pub(crate) fn arm_of(&self, route: &ModelRoute) -> Option<&ChosenArm<'s>> {
        self.arm.as_ref().filter(|chosen| chosen.is_of(route))
    }

    /// Whether `target`, which served the request, is outside the arm of the request.
    #[must_use]
    pub(crate) fn is_other_arm(&self, models: &[&ModelRoute], target: Option<Name>) -> bool {
        match (&self.arm, models.first()) {
            (Some(chosen), Some(route)) => chosen.is_outside(&route.targets, target),
            _ => false,
        }
    }

    /// The part of the cache's scope that depends on the constraints: requests share cached responses only if their
    /// target lists, regions, tags, rule and arm are the same. 0 without any of these. The policy is no part of it.
    #[must_use]
    pub(crate) fn identity(&self) -> u64 {
        let rule = self.rule.map_or(0, |rule| rule.identity);
        let arm = rule ^ self.arm.as_ref().map_or(0, ChosenArm::identity);
        let demand = &self.demand;
        // The key's own limits count too, because the keys of a team may share cached responses.
        let lists: [&[String]; 6] = [
            &demand.only,
            &demand.ignored,
            &demand.first,
            &demand.regions,
            demand.key_regions,
            demand.key_tags,
        ];
        if lists.iter().all(|list| list.is_empty()) && !demand.no_collection {
            return arm;
        }
        // Debug quotes and escapes strings, so that different lists never give the same text.
        let form = format!("{lists:?}{}", demand.no_collection);
        xxhash_rust::xxh3::xxh3_64(form.as_bytes()) ^ arm
    }
}

fn separator(before: &str) -> &'static str {
    if before.is_empty() { "" } else { ", " }
}
