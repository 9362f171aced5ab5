//! A model's experiment as requests use it, and which of its arms were rolled back. The arm of a request is chosen in
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

pub struct ExperimentRoute {
    pub name: Name,
    pub(crate) seed: u64,
    pub arms: Vec<ArmRoute>,
    /// The weights and targets of `arms`, in the same order, from which an arm is drawn.
    pub shares: Vec<Arm>,
    pub(crate) subject: Subject,
    pub(crate) fails_over: bool,
    pub(crate) shares_cache: bool,
    /// Canaries that were rolled back.
    pub rollbacks: Arc<Rollbacks>,
}

pub struct ArmRoute {
    pub id: ArmId,
    /// `experiment/arm`
    pub label: Name,
    /// The arm is rolled back when it does worse than the others.
    pub is_canary: bool,
    /// The arm's part of the cache's scope.
    pub(crate) identity: u64,
    pub(crate) targets: TargetSet,
    /// The target table treats the arm's targets, and all other targets, as two models with rotations of their own.
    pub(crate) model_indices: [ModelIndex; 2],
}

/// The canaries of an experiment that were rolled back. A reload keeps them as long as the experiment is unchanged.
#[derive(Default)]
pub struct Rollbacks {
    /// The rolled-back arms, as the bits of an [`ArmSet`].
    pub(crate) off: AtomicU32,
    resets: AtomicU32,
    rollbacks: Mutex<Vec<Rollback>>,
}

#[derive(Debug, Clone, Copy)]
pub struct Rollback {
    pub arm: ArmIndex,
    pub reason: RollbackReason,
    /// Time of the rollback, since the Unix epoch.
    pub since: Duration,
    /// Requests and failures of the other arms when the canary was rolled back.
    pub baseline: Count,
    /// Requests and failures of the canary.
    pub canary: Count,
}

impl Rollbacks {
    /// The rollbacks of an experiment that replaces an earlier one. No arm is rolled back, and the count of resets goes
    /// up, so that cores forget the counts of the earlier experiment.
    #[must_use]
    pub fn replacing(earlier: &Self) -> Self {
        Self {
            resets: AtomicU32::new(earlier.resets() + 1),
            ..Self::default()
        }
    }

    /// Whether the arm was rolled back, so that it gets no requests.
    #[must_use]
    pub fn is_off(&self, arm: ArmIndex) -> bool {
        self.off().contains(arm)
    }

    pub(crate) fn off(&self) -> ArmSet {
        ArmSet::from_bits(self.off.load(Ordering::Relaxed))
    }

    /// How often all arms got their shares back.
    #[must_use]
    pub fn resets(&self) -> u32 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Takes an arm's share away, from the next request on.
    pub fn roll_back(&self, rollback: Rollback) {
        self.rollbacks.lock().push(rollback);
        let arm = ArmSet::from_iter([rollback.arm]);
        self.off.fetch_or(arm.bits(), Ordering::Relaxed);
    }

    /// Gives all arms their shares back. Returns how many were rolled back.
    pub fn reset(&self) -> usize {
        let rollbacks = std::mem::take(&mut *self.rollbacks.lock());
        self.off.store(0, Ordering::Relaxed);
        self.resets.fetch_add(1, Ordering::Relaxed);
        rollbacks.len()
    }

    /// The rollback of an arm; `None` if it was not rolled back.
    #[must_use]
    pub fn of(&self, arm: ArmIndex) -> Option<Rollback> {
        let rollbacks = self.rollbacks.lock();
        rollbacks
            .iter()
            .find(|rollback| rollback.arm == arm)
            .copied()
    }
}

impl ExperimentRoute {
    /// `model_index` returns the index of a name in the target table.
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
