//! The health of targets that the cores of a process share by way of the control plane: a core that has not used a target
//! begins with what the others observed. It holds durations and no times, because each core has a clock of its own.

use crate::routing::indices::TargetSlot;
use crate::routing::measurements::{SIZE_CLASSES, Series};
use std::collections::HashMap;

/// Number of series that are shared: first token, and buffered responses by class of prompt sizes.
pub(crate) const SHARED_SERIES: usize = SIZE_CLASSES + 1;

/// The shared series at `position`.
#[must_use]
pub(crate) fn series_at(position: usize) -> Series {
    match position {
        0 => Series::FirstToken,
        class => Series::Whole(class - 1),
    }
}

/// The position of a series; `None` if it is not shared.
#[must_use]
pub(crate) fn position(series: Series) -> Option<usize> {
    match series {
        Series::FirstToken => Some(0),
        Series::Whole(class) => Some(class + 1),
        Series::Connect => None,
    }
}

/// What one core observed of a target in its own attempts of the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerObservation {
    /// The target.
    pub slot: TargetSlot,
    /// For how many microseconds it stays open; `None` if it is not open.
    pub open_for_us: Option<u64>,
    /// Latency quantiles in microseconds, by position of the series.
    pub expected_us: [Option<u32>; SHARED_SERIES],
    /// The concurrency limit of one core, if the core found one.
    pub limit: Option<u32>,
}

/// The merged observations of all cores.
#[derive(Debug, Clone, Default)]
pub struct SharedHealth {
    /// Grows with each merge.
    pub number: u64,
    targets: HashMap<TargetSlot, PeerObservation>,
}

impl SharedHealth {
    /// Merges the observations of the cores. A target is open if most of the cores that used it report it as open, so that a
    /// single core cannot exclude a target for all. Latencies and limits are medians over the cores.
    #[must_use]
    pub fn of(number: u64, observations: &[Vec<PeerObservation>]) -> Self {
        let mut by_slot: HashMap<TargetSlot, Vec<&PeerObservation>> = HashMap::new();
        for observation in observations.iter().flatten() {
            by_slot
                .entry(observation.slot)
                .or_default()
                .push(observation);
        }
        let targets = by_slot
            .into_iter()
            .map(|(slot, of_target)| (slot, merge(slot, &of_target)));
        Self {
            number,
            targets: targets.collect(),
        }
    }

    /// The same without the target in `slot`.
    #[must_use]
    pub(crate) fn without(&self, slot: TargetSlot) -> Self {
        let mut others = self.clone();
        others.targets.remove(&slot);
        others
    }

    /// Number of targets that were observed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The merged observation of the target in `slot`.
    #[must_use]
    pub fn get(&self, slot: TargetSlot) -> Option<&PeerObservation> {
        self.targets.get(&slot)
    }
}

fn merge(slot: TargetSlot, observations: &[&PeerObservation]) -> PeerObservation {
    let all = observations.iter();
    let open = sorted(all.clone().filter_map(|core| core.open_for_us));
    let is_open = 2 * open.len() > observations.len();
    let mut expected_us = [None; SHARED_SERIES];
    for (position, expected) in expected_us.iter_mut().enumerate() {
        let measured = sorted(all.clone().filter_map(|core| core.expected_us[position]));
        *expected = measured.get(measured.len() / 2).copied();
    }
    let limits = sorted(all.filter_map(|core| core.limit));
    PeerObservation {
        slot,
        limit: limits.get(limits.len() / 2).copied(),
        // The shortest, so that the other cores learn of a recovery as early as the first core that may probe.
        open_for_us: open.first().copied().filter(|_| is_open),
        expected_us,
    }
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::health::Outcome;
    use crate::routing::indices::ModelIndex;
    use crate::routing::policies::registry::policy;
    use crate::routing::policy::RequestFacts;
    use crate::routing::route_inputs::RouteInputs;
    use crate::routing::target_ref::TargetRef;
    use crate::routing::target_set::TargetSet;
    use crate::routing::targets::TargetTable;
    use std::sync::Arc;

    const SECOND: u64 = 1_000_000;

    fn target_ref(slot: usize) -> TargetRef {
        TargetRef {
            slot: TargetSlot::new(slot),
            identity: slot as u64,
            priority: 1,
            weight: 1,
            keys: 0,
            bounds: None,
        }
    }

    fn attempt(
        target_table: &mut TargetTable,
        slot: usize,
        outcome: Outcome,
        latency_us: u64,
        now_us: u64,
    ) {
        let ticket = target_table.begin(&target_ref(slot), now_us);
        if outcome == Outcome::Good {
            target_table.measure(&ticket, Series::FirstToken, latency_us, now_us);
        }
        target_table.end(ticket, outcome, now_us, 0);
    }

    fn first(target_table: &mut TargetTable, random: u64, now_us: u64) -> usize {
        let inputs = RouteInputs {
            facts: RequestFacts {
                random,
                affinity_key: None,
                series: Series::FirstToken,
            },
            excluded: TargetSet::default(),
            costs_nanousd: &[],
        };
        let target_refs = [target_ref(0), target_ref(1)];
        target_table
            .route(
                ModelIndex::new(0),
                &target_refs,
                policy("least-latency").unwrap(),
                &inputs,
                now_us,
            )
            .order[0]
            .get()
    }

    #[test]
    fn a_core_that_has_not_used_a_target_begins_with_what_others_measured() {
        let (mut warm, mut cold) = (TargetTable::default(), TargetTable::default());
        for _ in 0..20 {
            attempt(&mut warm, 0, Outcome::Good, 900_000, SECOND);
            attempt(&mut warm, 1, Outcome::Good, 10_000, SECOND);
        }
        assert_eq!(first(&mut TargetTable::default(), 1, 0), 0);
        // The other core's clock shows another time.
        let shared = SharedHealth::of(1, &[warm.observations(SECOND), cold.observations(0)]);
        cold.merge_shared_health(&Arc::new(shared), 77 * SECOND);
        for random in 0..50 {
            assert_eq!(first(&mut cold, random, 77 * SECOND), 1);
        }
        // From its first own measurement on, only its own count.
        attempt(&mut cold, 1, Outcome::Good, 5 * SECOND, 77 * SECOND);
        assert_eq!(first(&mut cold, 1, 77 * SECOND), 0);
    }

    #[test]
    fn an_open_target_is_open_for_a_core_that_has_not_used_it_and_is_not_shared_again() {
        let (mut warm, mut cold) = (TargetTable::default(), TargetTable::default());
        for _ in 0..5 {
            attempt(&mut warm, 0, Outcome::NotConnected, 0, SECOND);
        }
        let shared = SharedHealth::of(1, &[warm.observations(SECOND), cold.observations(0)]);
        let open_for_us = shared.get(TargetSlot::new(0)).unwrap().open_for_us.unwrap();
        cold.merge_shared_health(&Arc::new(shared), 0);
        for random in 0..50 {
            assert_eq!(first(&mut cold, random, 1), 1);
        }
        assert!(
            cold.observations(1)
                .iter()
                .all(|observation| observation.open_for_us.is_none())
        );
        // After that time this core may probe it too.
        let firsts: Vec<usize> = (0..50)
            .map(|random| first(&mut cold, random, open_for_us + 1))
            .collect();
        assert!(firsts.contains(&0));
    }

    #[test]
    fn a_single_core_cannot_open_a_target_for_cores_that_use_it() {
        let mut tables: Vec<TargetTable> = (0..4).map(|_| TargetTable::default()).collect();
        for target_table in &mut tables[1..] {
            attempt(target_table, 0, Outcome::Good, 1000, SECOND);
        }
        for _ in 0..5 {
            attempt(&mut tables[0], 0, Outcome::NotConnected, 0, SECOND);
        }
        let observations: Vec<Vec<PeerObservation>> = tables
            .iter_mut()
            .map(|target_table| target_table.observations(SECOND))
            .collect();
        let shared = SharedHealth::of(1, &observations);
        assert_eq!(shared.get(TargetSlot::new(0)).unwrap().open_for_us, None);
        // Nor do observations of others change the health of a target that a core has used itself.
        let open = SharedHealth::of(2, &observations[..1]);
        assert!(open.get(TargetSlot::new(0)).unwrap().open_for_us.is_some());
        tables[1].merge_shared_health(&Arc::new(open), SECOND);
        assert_eq!(
            tables[1]
                .summary(TargetSlot::new(0), SECOND)
                .unwrap()
                .phase
                .as_str(),
            "healthy"
        );
    }
}
