//! Which targets a request may go to, and in which order they are tried. `explain` and the journey take
//! the same way through here.

use crate::accounting::prices::PriceBook;
use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::arms::ChosenArm;
use crate::gateway::plan::rules::Looked;
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

/// Tokens that an answer is taken to have when its request does not limit them: for comparing prices.
pub(crate) const COMPLETION_TOKENS_EXPECTED: u64 = 500;

/// How the targets of a request are chosen.
pub(crate) struct RouteConstraints<'s> {
    /// The policy the caller asks for, instead of the model's.
    pub policy: Option<&'static dyn RoutingPolicy>,
    /// What targets must be.
    pub demand: Demand<'s>,
    /// What is bought, by estimate.
    pub expected: Usage,
    /// At what prices.
    pub prices: &'s PriceBook,
    /// The arm of the first model's experiment that the request belongs to.
    pub arm: Option<ChosenArm<'s>>,
    /// The rule of the first model that applies.
    pub rule: Option<&'s RuleRoute>,
    /// The rules that were looked at.
    pub looked: Vec<Looked>,
    /// The first model; rules are its own.
    pub ruled: Option<Name>,
    /// What providers keep of this and earlier answers.
    pub kept: Option<StoredResponses<'s>>,
}

impl<'s> RouteConstraints<'s> {
    /// What headers, key and shape demand.
    ///
    /// # Errors
    /// A malformed header.
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
            looked: Vec::new(),
            ruled: None,
            kept: None,
        })
    }

    /// Which targets of a model may be asked.
    #[must_use]
    pub(crate) fn select(&self, route: &ModelRoute) -> Selection {
        let mut exclusions: ArrayVec<_, TARGETS_MAX> = route
            .traits
            .iter()
            .take(TARGETS_MAX)
            .map(|traits| exclusion(traits, &self.demand))
            .collect();
        // Lengths are estimates: where they alone leave nothing, the provider decides.
        let is_out = |one: &Option<Exclusion>| !matches!(one, None | Some(Exclusion::Context));
        if exclusions.iter().all(Option::is_some) && !exclusions.iter().all(is_out) {
            for one in &mut exclusions {
                *one = one.filter(|why| *why != Exclusion::Context);
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

    /// The order of a model's targets, those named by the caller first.
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
                let is_it = |name: &String| traits.is_some_and(|one| one.is_called(name));
                let place = self.demand.first.iter().position(is_it);
                place.unwrap_or(usize::MAX)
            };
            routed.order.sort_by_key(|index| rank(*index));
        }
        routed
    }

    /// Why no target of any of `models` may be asked; `None` if one may.
    #[must_use]
    pub(crate) fn nothing_fits(&self, models: &[&ModelRoute]) -> Option<GatewayError> {
        let mut reasons = String::new();
        for route in models {
            let selection = self.select(route);
            for (traits, why) in route.traits.iter().zip(&selection.exclusions) {
                let why = (*why)?;
                let _ = write!(
                    reasons,
                    "{}{} ({})",
                    separator(&reasons),
                    traits.label,
                    why.name()
                );
            }
        }
        let message = format!("no target may be asked for this request: {reasons}");
        Some(GatewayError::new(ErrorCode::NoEligibleTarget, message))
    }

    /// The caller names targets, or goes on from what one of them keeps: it is no part of an experiment
    /// then.
    #[must_use]
    pub(crate) fn names_targets(&self) -> bool {
        !self.demand.only.is_empty() || !self.demand.first.is_empty() || self.key_index().is_some()
    }

    /// The only API key that may be used, by its place among those of its provider.
    #[must_use]
    pub(crate) fn key_index(&self) -> Option<KeyIndex> {
        self.kept
            .as_ref()?
            .previous
            .as_ref()
            .map(|one| one.key_index)
    }

    /// The rule, if it is one of this model.
    #[must_use]
    pub(crate) fn rule_of(&self, route: &ModelRoute) -> Option<&'s RuleRoute> {
        self.rule.filter(|_| self.ruled == Some(route.name))
    }

    /// The policy for a model's targets: the caller's, the rule's, or the model's.
    #[must_use]
    pub(crate) fn policy_of(&self, route: &ModelRoute) -> &'static dyn RoutingPolicy {
        let rules = || self.rule_of(route)?.policy;
        self.policy.or_else(rules).unwrap_or(route.policy)
    }

    /// The arm, if it is one of this model.
    #[must_use]
    pub(crate) fn arm_of(&self, route: &ModelRoute) -> Option<&ChosenArm<'s>> {
        self.arm.as_ref().filter(|chosen| chosen.is_of(route))
    }

    /// Whether `target`, which served the request, belongs to another arm.
    #[must_use]
    pub(crate) fn is_other_arm(&self, models: &[&ModelRoute], target: Option<Name>) -> bool {
        match (&self.arm, models.first()) {
            (Some(chosen), Some(route)) => chosen.is_left(&route.targets, target),
            _ => false,
        }
    }

    /// The part of a model's identity that the limits of caller and key change: which answers they
    /// accept, the rule and the arm. Zero when they accept any.
    #[must_use]
    pub(crate) fn identity(&self) -> u64 {
        let rule = self.rule.map_or(0, |rule| rule.identity);
        let arm = rule ^ self.arm.as_ref().map_or(0, ChosenArm::identity);
        let demand = &self.demand;
        // A key's own limits count too: keys of a team may share answers.
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
        // Debug writes strings quoted, so that two lists never read alike.
        let form = format!("{lists:?}{}", demand.no_collection);
        xxhash_rust::xxh3::xxh3_64(form.as_bytes()) ^ arm
    }
}

fn separator(before: &str) -> &'static str {
    if before.is_empty() { "" } else { ", " }
}
