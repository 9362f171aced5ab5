//! What the cores of a process tell each other of targets, by way of the control plane: a core that has
//! not met a target begins with what the others know. Durations only, since each core has a clock of its
//! own.

use crate::routing::indices::TargetSlot;
use crate::routing::measurements::{SIZE_CLASSES, Series};
use std::collections::HashMap;

/// The series that are observations: first token, and whole answers by class of prompt sizes.
pub(crate) const SHARED_SERIES: usize = SIZE_CLASSES + 1;

/// The series in this place of what is observations.
#[must_use]
pub(crate) fn series(at: usize) -> Series {
    match at {
        0 => Series::FirstToken,
        class => Series::Whole(class - 1),
    }
}

/// The place of a series; `None` for what is not observations.
#[must_use]
pub(crate) fn position(series: Series) -> Option<usize> {
    match series {
        Series::FirstToken => Some(0),
        Series::Whole(class) => Some(class + 1),
        Series::Connect => None,
    }
}

/// What is known of one target, by own attempts within the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerObservation {
    /// Its place in the fleet, the same in every core.
    pub slot: TargetSlot,
    /// For how many microseconds it stays open; `None` if it is not.
    pub open_for_us: Option<u64>,
    /// Latency quantiles in microseconds, by [`series`].
    pub expected_us: [Option<u32>; SHARED_SERIES],
    /// Requests that may be under way from one core, if it was found out.
    pub limit: Option<u32>,
}

/// What all cores know together.
#[derive(Debug, Clone, Default)]
pub struct SharedHealth {
    /// Grows with each view.
    pub number: u64,
    targets: HashMap<TargetSlot, PeerObservation>,
}

impl SharedHealth {
    /// The view of what the cores observations. A target is open if most of the cores that know it say so: one
    /// bad core must not shut a target for all. Latencies and limits are the median over the cores.
    #[must_use]
    pub fn of(number: u64, observations: &[Vec<PeerObservation>]) -> Self {
        let mut by_slot: HashMap<TargetSlot, Vec<&PeerObservation>> = HashMap::new();
        for known in observations.iter().flatten() {
            by_slot.entry(known.slot).or_default().push(known);
        }
        let targets = by_slot
            .into_iter()
            .map(|(slot, known)| (slot, merge(slot, &known)));
        Self {
            number,
            targets: targets.collect(),
        }
    }

    /// Targets that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether none is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// What is known of the target in this place.
    #[must_use]
    pub fn get(&self, slot: TargetSlot) -> Option<&PeerObservation> {
        self.targets.get(&slot)
    }
}

fn merge(slot: TargetSlot, known: &[&PeerObservation]) -> PeerObservation {
    let mut open: Vec<u64> = known.iter().filter_map(|one| one.open_for_us).collect();
    open.sort_unstable();
    let most_say_so = 2 * open.len() > known.len();
    let mut expected_us = [None; SHARED_SERIES];
    for (at, expected) in expected_us.iter_mut().enumerate() {
        let mut said: Vec<u32> = known.iter().filter_map(|one| one.expected_us[at]).collect();
        said.sort_unstable();
        *expected = said.get(said.len() / 2).copied();
    }
    let mut limits: Vec<u32> = known.iter().filter_map(|one| one.limit).collect();
    limits.sort_unstable();
    PeerObservation {
        slot,
        limit: limits.get(limits.len() / 2).copied(),
        // The first core that may probe it does.
        open_for_us: open.first().copied().filter(|_| most_say_so),
        expected_us,
    }
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
        let asked = RouteInputs {
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
                &asked,
                now_us,
            )
            .order[0]
            .get()
    }

    #[test]
    fn a_cold_core_begins_with_what_the_others_know() {
        let (mut warm, mut cold) = (TargetTable::default(), TargetTable::default());
        for _ in 0..20 {
            attempt(&mut warm, 0, Outcome::Good, 900_000, SECOND);
            attempt(&mut warm, 1, Outcome::Good, 10_000, SECOND);
        }
        assert_eq!(first(&mut TargetTable::default(), 1, 0), 0);
        // Another clock, another time.
        let view = SharedHealth::of(1, &[warm.observations(SECOND), cold.observations(0)]);
        cold.merge_shared_health(&Arc::new(view), 77 * SECOND);
        for random in 0..50 {
            assert_eq!(first(&mut cold, random, 77 * SECOND), 1);
        }
        // What it measures itself counts from then on.
        attempt(&mut cold, 1, Outcome::Good, 5 * SECOND, 77 * SECOND);
        assert_eq!(first(&mut cold, 1, 77 * SECOND), 0);
    }

    #[test]
    fn an_open_target_is_open_for_a_core_that_has_not_met_it_and_is_not_told_on() {
        let (mut warm, mut cold) = (TargetTable::default(), TargetTable::default());
        for _ in 0..5 {
            attempt(&mut warm, 0, Outcome::NotConnected, 0, SECOND);
        }
        let view = SharedHealth::of(1, &[warm.observations(SECOND), cold.observations(0)]);
        let open_for_us = view.get(TargetSlot::new(0)).unwrap().open_for_us.unwrap();
        cold.merge_shared_health(&Arc::new(view), 0);
        for random in 0..50 {
            assert_eq!(first(&mut cold, random, 1), 1);
        }
        assert!(
            cold.observations(1)
                .iter()
                .all(|known| known.open_for_us.is_none())
        );
        // Then it may be probed here as well.
        let firsts: Vec<usize> = (0..50)
            .map(|random| first(&mut cold, random, open_for_us + 1))
            .collect();
        assert!(firsts.contains(&0));
    }

    #[test]
    fn one_bad_core_shuts_no_target_for_those_that_know_it() {
        let mut fleets: Vec<TargetTable> = (0..4).map(|_| TargetTable::default()).collect();
        for target_table in &mut fleets[1..] {
            attempt(target_table, 0, Outcome::Good, 1000, SECOND);
        }
        for _ in 0..5 {
            attempt(&mut fleets[0], 0, Outcome::NotConnected, 0, SECOND);
        }
        let observations: Vec<Vec<PeerObservation>> = fleets
            .iter_mut()
            .map(|target_table| target_table.observations(SECOND))
            .collect();
        let view = SharedHealth::of(1, &observations);
        assert_eq!(view.get(TargetSlot::new(0)).unwrap().open_for_us, None);
        // Nor does the word of others change what a core has met itself.
        let open = SharedHealth::of(2, &observations[..1]);
        assert!(open.get(TargetSlot::new(0)).unwrap().open_for_us.is_some());
        fleets[1].merge_shared_health(&Arc::new(open), SECOND);
        assert_eq!(
            fleets[1]
                .summary(TargetSlot::new(0), SECOND)
                .unwrap()
                .phase
                .name(),
            "healthy"
        );
    }
}
