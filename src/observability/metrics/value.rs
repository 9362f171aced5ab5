//! What the value of a metric can do: merge with another core's and write its samples. It must not know any metric.

use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use crate::observability::metrics::prometheus::Exposition;
use std::collections::HashMap;

/// Values by label.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The value of a metric on one core.
pub(crate) trait MetricValue: Default + Clone + Samples {
    /// The kind of metric it is the value of.
    const KIND: MetricKind;
    /// How many labels its samples have.
    const LABELS: usize;

    /// Adds another core's value.
    fn merge(&mut self, other: &Self);

    /// Records something, for tests; the same number records the same.
    #[cfg(test)]
    fn record_example(&mut self, number: u64);
}

/// A value that writes its samples.
pub(crate) trait Samples {
    /// Writes them; `outer` are values of the labels that come before its own.
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

/// The entries with the text of their labels, in its order.
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
