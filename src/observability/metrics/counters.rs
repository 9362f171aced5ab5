//! Counters. It must not know any metric.

use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use crate::observability::metrics::prometheus::{Exposition, float};
use crate::observability::metrics::value::{Map, MetricValue, Samples, joined, position, sorted};
use std::marker::PhantomData;

/// A count; the cores' counts are added.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counter(u64);

impl Counter {
    /// Adds 1.
    pub(crate) fn increment(&mut self) {
        self.add(1);
    }

    /// Adds `amount`.
    pub(crate) fn add(&mut self, amount: u64) {
        self.0 = self.0.saturating_add(amount);
    }

    /// The count.
    #[must_use]
    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

impl Samples for Counter {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        page.sample(metric, outer, float(self.0));
    }
}

impl MetricValue for Counter {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: usize = 0;

    fn merge(&mut self, other: &Self) {
        self.add(other.0);
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.add(number % 5);
    }
}

/// Counts by label; the cores' counts are added.
#[derive(Debug, Clone)]
pub(crate) struct CounterBy<K>(Map<K, u64>);

impl<K> Default for CounterBy<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: LabelKey> CounterBy<K> {
    /// Adds 1.
    pub(crate) fn increment(&mut self, key: K) {
        self.add(key, 1);
    }

    /// Adds `amount`.
    pub(crate) fn add(&mut self, key: K, amount: u64) {
        let count = self.0.entry(key).or_default();
        *count = count.saturating_add(amount);
    }

    /// The count of `key`.
    #[cfg(test)]
    pub(crate) fn get(&self, key: K) -> u64 {
        self.0.get(&key).copied().unwrap_or(0)
    }

    /// All counts, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, u64)> + '_ {
        self.0.iter().map(|(key, count)| (*key, *count))
    }
}

impl<K: LabelKey> Samples for CounterBy<K> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (values, count) in sorted(&self.0, outer) {
            page.sample(metric, &values, float(*count));
        }
    }
}

impl<K: LabelKey> MetricValue for CounterBy<K> {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: usize = K::COUNT;

    fn merge(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            self.add(*key, *count);
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.add(K::example(number), number % 5 + 1);
    }
}

/// Counts by a label of few values; all of them are written, even if they are zero.
#[derive(Debug, Clone)]
pub(crate) struct CounterOf<E> {
    counts: Box<[u64]>,
    label: PhantomData<E>,
}

impl<E: LabelEnum> Default for CounterOf<E> {
    fn default() -> Self {
        Self {
            counts: E::ALL.iter().map(|_| 0).collect(),
            label: PhantomData,
        }
    }
}

impl<E: LabelEnum> CounterOf<E> {
    /// Adds 1.
    pub(crate) fn increment(&mut self, value: E) {
        if let Some(count) = self.counts.get_mut(position(value)) {
            *count += 1;
        }
    }

    /// Each value of the label with its count.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (E, u64)> + '_ {
        E::ALL.iter().copied().zip(self.counts.iter().copied())
    }
}

impl<E: LabelEnum> Samples for CounterOf<E> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (value, count) in self.iter() {
            page.sample(metric, &joined(outer, &value), float(count));
        }
    }
}

impl<E: LabelEnum> MetricValue for CounterOf<E> {
    const KIND: MetricKind = MetricKind::Counter;
    const LABELS: usize = 1;

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.increment(E::example(number));
    }
}
