//! Traits of a metric's value: merging with the value of another core, and writing its samples. It must not know any metric.

use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use crate::observability::metrics::prometheus::Exposition;
use std::collections::HashMap;

/// Values by label.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The value of a metric on one core.
pub(crate) trait MetricValue: Default + Clone + Samples {
    /// Kind of the metrics that have such a value.
    const KIND: MetricKind;
    /// Number of labels of its samples.
    const LABELS: usize;

    /// Adds another core's value.
    fn merge(&mut self, other: &Self);

    /// Records a value that depends on `number`, for tests.
    #[cfg(test)]
    fn record_example(&mut self, number: u64);
}

/// A value that writes its samples.
pub(crate) trait Samples {
    /// Writes the samples; `outer` are the values of the labels before its own.
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition);
}

pub(crate) fn position<E: LabelEnum>(value: E) -> usize {
    let position = E::ALL.iter().position(|listed| *listed == value);
    debug_assert!(position.is_some(), "{} is not listed", value.as_str());
    position.unwrap_or(usize::MAX)
}

pub(crate) fn joined<K: LabelKey>(outer: &[String], key: &K) -> Vec<String> {
    let mut values = outer.to_vec();
    key.push_values(&mut values);
    values
}

/// The entries with the texts of their labels, ordered by these texts.
pub(crate) fn sorted<'m, K: LabelKey, V>(
    map: &'m Map<K, V>,
    outer: &[String],
) -> Vec<(Vec<String>, &'m V)> {
    let mut entries: Vec<_> = map
        .iter()
        .map(|(key, value)| (joined(outer, key), value))
        .collect();
    entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    entries
}
