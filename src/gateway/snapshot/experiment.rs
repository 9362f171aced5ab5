//! A model's experiment, ready for use, and its arms that were rolled back. How a request gets its arm is in
//! `plan/arms.rs`.

use crate::base::names::Name;
use crate::config::sections::experiment::{Experiment, Subject};
use crate::observability::metrics::arms::ArmId;
use crate::routing::canary::{Count, RollbackReason};
use crate::routing::experiment::Arm;
use crate::routing::indices::{ArmIndex, ModelIndex, TargetIndex};
use crate::routing::target_set::{ArmSet, TargetSet};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// An experiment, ready for use.
pub struct ExperimentRoute {
    /// Its name.
    pub name: Name,
    pub(crate) seed: u64,
    /// Its arms.
    pub arms: Vec<ArmRoute>,
    /// The same, as far as drawing needs them.
    pub shares: Vec<Arm>,
    pub(crate) subject: Subject,
    pub(crate) fails_over: bool,
    pub(crate) shares_cache: bool,
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
    pub(crate) identity: u64,
    pub(crate) targets: TargetSet,
    /// Among the models that a core counts turns for: of its targets, and of the others.
    pub(crate) model_indices: [ModelIndex; 2],
}

/// Canaries that were rolled back. It outlives a configuration in which the experiment is the same.
#[derive(Default)]
pub struct Rollbacks {
    /// Arms that are off, as the bits of an [`ArmSet`].
    pub(crate) off: AtomicU32,
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

    pub(crate) fn off(&self) -> ArmSet {
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
}
