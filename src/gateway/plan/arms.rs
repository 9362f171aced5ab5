//! The experiment arm of a request: how it is chosen, and how its targets are ordered. Arms are drawn in
//! `routing/experiment.rs`.

use crate::base::names::Name;
use crate::base::request_ids;
use crate::config::sections::experiment::Subject;
use crate::gateway::core::Core;
use crate::gateway::plan::affinity_key::affinity_key;
use crate::gateway::plan::selection::Selection;
use crate::gateway::snapshot::experiment::{ArmRoute, ExperimentRoute};
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::target::TargetRoute;
use crate::http::head::Headers;
use crate::observability::rateable_requests::Rateable;
use crate::routing::demand::Exclusion;
use crate::routing::experiment::draw;
use crate::routing::indices::{ArmIndex, TargetIndex};
use crate::routing::policy::RequestFacts;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::target_set::TargetSet;
use crate::routing::targets::{Route, TargetTable};

/// The arm of an experiment that a request belongs to.
#[derive(Clone, Copy)]
pub(crate) struct ChosenArm<'s> {
    pub experiment: &'s ExperimentRoute,
    pub arm: &'s ArmRoute,
    /// The arm was drawn at random, and every arm could have taken the request. Only such requests count in the
    /// comparison of arms.
    pub is_fair: bool,
}

impl ExperimentRoute {
    /// Draws the arm of a request that may not use the targets `excluded`; `None` if no arm can take the request.
    #[must_use]
    pub(crate) fn choose(
        &self,
        headers: &Headers<'_>,
        key: Option<Name>,
        excluded: TargetSet,
    ) -> Option<ChosenArm<'_>> {
        let subject = match self.subject {
            Subject::SessionOrKey => affinity_key(headers, key),
            Subject::Session => affinity_key(headers, None),
            Subject::Request => None,
        };
        let subject = subject.unwrap_or_else(request_ids::random);
        let off = self.rollbacks.off();
        let drawn = draw(self.seed, &self.shares, off, excluded, subject)?;
        Some(ChosenArm {
            experiment: self,
            arm: self.arms.get(drawn.arm.get())?,
            is_fair: drawn.is_fair,
        })
    }

    /// The arm that a rule chose; `None` if the arm was rolled back, or cannot take the request.
    #[must_use]
    pub(crate) fn arm(&self, index: ArmIndex, excluded: TargetSet) -> Option<ChosenArm<'_>> {
        let arm = self.arms.get(index.get())?;
        let can_take = !arm.targets.difference(excluded).is_empty();
        let is_on = !self.rollbacks.is_off(index) && can_take;
        is_on.then_some(ChosenArm {
            experiment: self,
            arm,
            is_fair: false,
        })
    }

    /// Targets of rolled-back arms that belong to no other arm.
    fn rolled_back(&self) -> TargetSet {
        let off = self.rollbacks.off();
        if off.is_empty() {
            return TargetSet::default();
        }
        let targets = |is_off: bool| {
            let arms = self.shares.iter().enumerate();
            let arms = arms.filter(move |(arm, _)| off.contains(ArmIndex::new(*arm)) == is_off);
            arms.fold(TargetSet::default(), |targets, (_, arm)| {
                targets.union(arm.targets)
            })
        };
        targets(true).difference(targets(false))
    }

    /// Excludes the targets of rolled-back arms, unless no other target is left; and those of other arms, if the
    /// chosen arm does not fail over to them.
    pub(crate) fn exclude(
        &self,
        exclusions: &mut [Option<Exclusion>],
        chosen: Option<&ChosenArm<'_>>,
    ) {
        if let Some(chosen) = chosen.filter(|_| !self.fails_over) {
            let others = chosen.arm.targets.complement();
            exclude_targets(exclusions, others, Exclusion::OtherArm);
        }
        let rolled_back = self.rolled_back();
        let has_other = exclusions.iter().enumerate().any(|(index, exclusion)| {
            exclusion.is_none() && !rolled_back.contains(TargetIndex::new(index))
        });
        if has_other {
            exclude_targets(exclusions, rolled_back, Exclusion::RolledBack);
        }
    }
}

/// Excludes those of `targets` that nothing else excludes.
fn exclude_targets(exclusions: &mut [Option<Exclusion>], targets: TargetSet, reason: Exclusion) {
    for (index, exclusion) in exclusions.iter_mut().enumerate() {
        if exclusion.is_none() && targets.contains(TargetIndex::new(index)) {
            *exclusion = Some(reason);
        }
    }
}

impl ChosenArm<'_> {
    /// Whether this is an arm of the model.
    #[must_use]
    pub(crate) fn is_of(&self, route: &ModelRoute) -> bool {
        self.arm.id.model == route.name
    }

    /// The arm's part of the cache's scope; 0 if the arms share cached responses.
    #[must_use]
    pub(crate) fn identity(&self) -> u64 {
        if self.experiment.shares_cache {
            return 0;
        }
        self.arm.identity
    }

    /// Whether the target belongs to the arm.
    #[must_use]
    pub(crate) fn holds(&self, target: TargetIndex) -> bool {
        self.arm.targets.contains(target)
    }

    /// The arm's targets, then the others, each ordered by the policy. If every target of the arm is down and others
    /// are up, only the others are tried.
    pub(crate) fn order(
        &self,
        route: &ModelRoute,
        selection: &Selection,
        facts: &RequestFacts,
        target_table: &mut TargetTable,
        now_us: u64,
    ) -> Route {
        let inputs = selection.inputs(facts);
        let (target_refs, policy) = (&route.target_refs, selection.policy);
        let except = |targets: TargetSet| RouteInputs {
            excluded: inputs.excluded.union(targets),
            ..inputs
        };
        let [own, others] = self.arm.model_indices;
        let inside = except(self.arm.targets.complement());
        let first = target_table.route(own, target_refs, policy, &inside, now_us);
        if !self.experiment.fails_over {
            return first;
        }
        let outside = except(self.arm.targets);
        let second = target_table.route(others, target_refs, policy, &outside, now_us);
        join(first, second)
    }

    /// Remembers the request, so that the client can rate it as soon as it has the response.
    pub(crate) fn remember(&self, core: &Core, key: Option<Name>, request_id: &str) {
        let rateable = Rateable {
            arm: self.arm.id,
            is_fair: self.is_fair,
        };
        let ratings = &core.shared.ratings;
        ratings.remember(key, request_id, rateable);
    }

    /// Whether `target` is outside the arm.
    #[must_use]
    pub(crate) fn is_outside(&self, targets: &[TargetRoute], target: Option<Name>) -> bool {
        let mut own = self
            .arm
            .targets
            .iter()
            .filter_map(|index| targets.get(index.get()));
        !own.any(|own| Some(own.label) == target)
    }
}

fn join(mut first: Route, second: Route) -> Route {
    first.limited_until_us = match (first.limited_until_us, second.limited_until_us) {
        (Some(first_us), Some(second_us)) => Some(first_us.min(second_us)),
        (first_us, second_us) => first_us.or(second_us),
    };
    let is_up = |route: &Route| !route.order.is_empty() && !route.is_last_resort;
    match (is_up(&first), is_up(&second)) {
        (true, false) => {}
        (false, true) => {
            first.order = second.order;
            first.is_last_resort = false;
        }
        // Both have targets that are up, or neither has.
        _ => first.order.extend(second.order),
    }
    first
}
