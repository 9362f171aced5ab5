//! A model's experiment on a request's way: which arm it belongs to, in which order its targets are tried
//! then, and what is told of it. How arms are drawn is in `routing/experiment.rs`.

use crate::base::names::Name;
use crate::base::request_ids;
use crate::config::sections::experiment::{Experiment, Subject};
use crate::gateway::attempt::attempt_loop;
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::context::route::RequestArm;
use crate::gateway::core::Core;
use crate::gateway::plan::candidates::Selection;
use crate::gateway::snapshot::{ModelRoute, TargetRoute};
use crate::http::head::Headers;
use crate::observability::metrics::arms::ArmId;
use crate::observability::rateable_requests::Rateable;
use crate::routing::canary::{Count, RollbackReason};
use crate::routing::demand::Exclusion;
use crate::routing::experiment::{Arm, draw};
use crate::routing::indices::{ArmIndex, ModelIndex, TargetIndex};
use crate::routing::policy::RequestFacts;
use crate::routing::route_inputs::RouteInputs;
use crate::routing::target_set::{ArmSet, TargetSet};
use crate::routing::targets::{Route, TargetTable};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// An experiment, ready for use.
pub struct ExperimentRoute {
    /// Its name.
    pub name: Name,
    seed: u64,
    /// Its arms.
    pub arms: Vec<ArmRoute>,
    /// The same, as far as drawing needs them.
    pub shares: Vec<Arm>,
    subject: Subject,
    fails_over: bool,
    shares_cache: bool,
    /// Canaries that were rolled back.
    pub rollbacks: Arc<Rollbacks>,
}

/// An arm, ready for use.
pub struct ArmRoute {
    /// Its name among all.
    pub id: ArmId,
    /// `experiment/arm`
    pub label: Name,
    /// It is rolled back when it does worse than the others.
    pub is_canary: bool,
    /// Its part of the cache's scope.
    identity: u64,
    targets: TargetSet,
    /// Among the models that a core counts turns for: of its targets, and of the others.
    model_indices: [ModelIndex; 2],
}

/// Canaries that were rolled back. It outlives a configuration in which the experiment is the same.
#[derive(Default)]
pub struct Rollbacks {
    /// Arms that are off, as the bits of an [`ArmSet`].
    off: AtomicU32,
    resets: AtomicU32,
    told: Mutex<Vec<Rollback>>,
}

/// One roll-back.
#[derive(Debug, Clone, Copy)]
pub struct Rollback {
    /// The arm.
    pub arm: ArmIndex,
    /// Why.
    pub why: RollbackReason,
    /// When, since the Unix epoch.
    pub since: Duration,
    /// What was seen of the others.
    pub baseline: Count,
    /// What was seen of the canary.
    pub canary: Count,
}

impl Rollbacks {
    /// Those of an experiment that comes in the place of another: what is known of that one is not held
    /// against it.
    #[must_use]
    pub fn after(earlier: &Self) -> Self {
        Self {
            resets: AtomicU32::new(earlier.resets() + 1),
            ..Self::default()
        }
    }

    /// Whether the arm in this place takes nobody.
    #[must_use]
    pub fn is_off(&self, arm: ArmIndex) -> bool {
        self.off().contains(arm)
    }

    fn off(&self) -> ArmSet {
        ArmSet::from_bits(self.off.load(Ordering::Relaxed))
    }

    /// How often all arms were taken back in.
    #[must_use]
    pub fn resets(&self) -> u32 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Takes an arm's share away; from the next request on.
    pub fn roll_back(&self, rollback: Rollback) {
        self.told.lock().push(rollback);
        let arm = ArmSet::from_iter([rollback.arm]);
        self.off.fetch_or(arm.bits(), Ordering::Relaxed);
    }

    /// Gives all arms their shares again; how many had lost theirs.
    pub fn reset(&self) -> usize {
        let told = std::mem::take(&mut *self.told.lock());
        self.off.store(0, Ordering::Relaxed);
        self.resets.fetch_add(1, Ordering::Relaxed);
        told.len()
    }

    /// The roll-back of the arm in this place.
    #[must_use]
    pub fn of(&self, arm: ArmIndex) -> Option<Rollback> {
        let told = self.told.lock();
        told.iter().find(|one| one.arm == arm).copied()
    }
}

/// The arm that a request belongs to.
#[derive(Clone, Copy)]
pub struct ChosenArm<'s> {
    /// Its experiment.
    pub experiment: &'s ExperimentRoute,
    /// The arm.
    pub arm: &'s ArmRoute,
    /// Every arm could have taken the request, and chance chose.
    pub is_fair: bool,
}

impl ExperimentRoute {
    /// Makes an experiment of `model` ready; `model_index` gives an index to a name.
    #[must_use]
    pub fn new(
        model: &str,
        configured: &Experiment,
        rollbacks: Arc<Rollbacks>,
        mut model_index: impl FnMut(&str) -> ModelIndex,
    ) -> Self {
        let name = &configured.name;
        let arm = |arm: &crate::config::sections::experiment::Arm| {
            let whole = format!("{model}\0{name}\0{}", arm.name);
            ArmRoute {
                id: ArmId {
                    model: Name::new(model),
                    experiment: Name::new(name),
                    arm: Name::new(&arm.name),
                },
                label: Name::new(&format!("{name}/{}", arm.name)),
                is_canary: arm.canary,
                identity: xxh3_64(whole.as_bytes()),
                targets: arm.targets.iter().copied().map(TargetIndex::new).collect(),
                model_indices: [
                    model_index(&whole),
                    model_index(&format!("{whole}\0others")),
                ],
            }
        };
        let arms: Vec<ArmRoute> = configured.arms.iter().map(arm).collect();
        let shares = arms.iter().zip(&configured.arms);
        let shares = shares.map(|(route, arm)| Arm {
            identity: xxh3_64(arm.name.as_bytes()),
            weight: arm.weight,
            targets: route.targets,
        });
        Self {
            name: Name::new(name),
            seed: xxh3_64(name.as_bytes()),
            shares: shares.collect(),
            arms,
            subject: configured.subject,
            fails_over: configured.fails_over,
            shares_cache: configured.shares_cache,
            rollbacks,
        }
    }

    /// The arm of a request that may not go to the targets `excluded`; `None` if no arm can take it.
    #[must_use]
    pub fn choose(
        &self,
        headers: &Headers<'_>,
        key: Option<Name>,
        excluded: TargetSet,
    ) -> Option<ChosenArm<'_>> {
        let subject = match self.subject {
            Subject::SessionOrKey => attempt_loop::affinity_key(headers, key),
            Subject::Session => attempt_loop::affinity_key(headers, None),
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
    pub fn arm(&self, index: ArmIndex, excluded: TargetSet) -> Option<ChosenArm<'_>> {
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
    pub fn exclude(&self, exclusions: &mut [Option<Exclusion>], chosen: Option<&ChosenArm<'_>>) {
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
    pub fn is_of(&self, route: &ModelRoute) -> bool {
        self.arm.id.model == route.name
    }

    /// Its part of the cache's scope; 0 if arms serve each other's answers.
    #[must_use]
    pub fn identity(&self) -> u64 {
        if self.experiment.shares_cache {
            return 0;
        }
        self.arm.identity
    }

    /// Whether the target is one of its own.
    #[must_use]
    pub fn holds(&self, target: TargetIndex) -> bool {
        self.arm.targets.contains(target)
    }

    /// The arm's targets, then the others, each by the policy. What is down in the arm does not come
    /// before what is up outside.
    pub fn order(
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

    /// Remembers the request, so that it can be rated as soon as its answer is there.
    pub(crate) fn remember(&self, core: &Core, ctx: &mut RequestContext) {
        let rateable = Rateable {
            arm: self.arm.id,
            is_fair: self.is_fair,
        };
        let ratings = &core.shared.ratings;
        ratings.remember(ctx.identity.key, &ctx.identity.request_id, rateable);
        ctx.route.arm = Some(RequestArm {
            id: self.arm.id,
            label: self.arm.label,
            is_fair: self.is_fair,
            has_left: false,
        });
    }

    /// Whether `target` is none of the arm's.
    #[must_use]
    pub fn is_left(&self, targets: &[TargetRoute], target: Option<Name>) -> bool {
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
