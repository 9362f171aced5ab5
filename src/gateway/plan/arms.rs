//! The experiment arm of a request: how it is chosen, and how its targets are ordered. How arms are drawn is in
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

/// The arm that a request belongs to.
#[derive(Clone, Copy)]
pub(crate) struct ChosenArm<'s> {
    /// Its experiment.
    pub experiment: &'s ExperimentRoute,
    /// The arm.
    pub arm: &'s ArmRoute,
    /// Every arm could have taken the request, and chance chose.
    pub is_fair: bool,
}

impl ExperimentRoute {
    /// The arm of a request that may not go to the targets `excluded`; `None` if no arm can take it.
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

    /// The arm that a rule chose; `None` if it takes nobody, or cannot take the request.
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

    /// Targets of arms that are off and of no other.
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

    /// Leaves out targets of arms that were rolled back, unless nothing else may be asked; and those of
    /// other arms, if the chosen one stays by itself.
    pub(crate) fn exclude(
        &self,
        exclusions: &mut [Option<Exclusion>],
        chosen: Option<&ChosenArm<'_>>,
    ) {
        let open = |one: &Option<Exclusion>| one.is_none();
        if let Some(chosen) = chosen.filter(|_| !self.fails_over) {
            let others = exclusions.iter_mut().enumerate();
            let others =
                others.filter(|(index, one)| open(one) && !chosen.holds(TargetIndex::new(*index)));
            others.for_each(|(_, one)| *one = Some(Exclusion::OtherArm));
        }
        let rolled_back = self.rolled_back();
        let is_rolled_back = |index: usize| rolled_back.contains(TargetIndex::new(index));
        let mut seen = exclusions.iter().enumerate();
        if seen.any(|(index, one)| open(one) && !is_rolled_back(index)) {
            let affected = exclusions.iter_mut().enumerate();
            let affected = affected.filter(|(index, one)| open(one) && is_rolled_back(*index));
            affected.for_each(|(_, one)| *one = Some(Exclusion::RolledBack));
        }
    }
}

impl ChosenArm<'_> {
    /// Whether it is an arm of this model.
    #[must_use]
    pub(crate) fn is_of(&self, route: &ModelRoute) -> bool {
        self.arm.id.model == route.name
    }

    /// Its part of the cache's scope; 0 if arms serve each other's answers.
    #[must_use]
    pub(crate) fn identity(&self) -> u64 {
        if self.experiment.shares_cache {
            return 0;
        }
        self.arm.identity
    }

    /// Whether the target is one of its own.
    #[must_use]
    pub(crate) fn holds(&self, target: TargetIndex) -> bool {
        self.arm.targets.contains(target)
    }

    /// The arm's targets, then the others, each by the policy. What is down in the arm does not come
    /// before what is up outside.
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

    /// Remembers the request, so that it can be rated as soon as its response is there.
    pub(crate) fn remember(&self, core: &Core, key: Option<Name>, request_id: &str) {
        let rateable = Rateable {
            arm: self.arm.id,
            is_fair: self.is_fair,
        };
        let ratings = &core.shared.ratings;
        ratings.remember(key, request_id, rateable);
    }

    /// Whether `target` is none of the arm's.
    #[must_use]
    pub(crate) fn is_left(&self, targets: &[TargetRoute], target: Option<Name>) -> bool {
        let mut own = self
            .arm
            .targets
            .iter()
            .filter_map(|index| targets.get(index.get()));
        !own.any(|one| Some(one.label) == target)
    }
}

fn join(mut first: Route, second: Route) -> Route {
    first.limited_until_us = match (first.limited_until_us, second.limited_until_us) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let is_up = |route: &Route| !route.order.is_empty() && !route.is_last_resort;
    match (is_up(&first), is_up(&second)) {
        (true, false) => {}
        (false, true) => {
            first.order = second.order;
            first.is_last_resort = false;
        }
        // Both up, or none.
        _ => first.order.extend(second.order),
    }
    first
}
