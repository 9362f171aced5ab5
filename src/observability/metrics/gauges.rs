//! Gauges, by how the cores' values merge. It must not know any metric.

use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::labels::LabelKey;
use crate::observability::metrics::prometheus::{Exposition, float};
use crate::observability::metrics::value::{Map, MetricValue, Samples, sorted};

/// A current value; the cores' values are added.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SumGauge(u64);

impl SumGauge {
    /// Sets this core's value.
    pub(crate) fn set(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Samples for SumGauge {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        page.sample(metric, outer, float(self.0));
    }
}

impl MetricValue for SumGauge {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: usize = 0;

    fn merge(&mut self, other: &Self) {
        self.0 += other.0;
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.0 += number % 5;
    }
}

/// A high-water mark; the largest of the cores' marks counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MaxGauge(u64);

impl MaxGauge {
    /// Raises the mark to `value` if that is more.
    pub(crate) fn raise_to(&mut self, value: u64) {
        self.0 = self.0.max(value);
    }
}

impl Samples for MaxGauge {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        page.sample(metric, outer, float(self.0));
    }
}

impl MetricValue for MaxGauge {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: usize = 0;

    fn merge(&mut self, other: &Self) {
        self.raise_to(other.0);
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.raise_to(number % 5);
    }
}

/// Current values, by label; the cores' values are added.
#[derive(Debug, Clone)]
pub(crate) struct SumGaugeBy<K>(Map<K, u64>);

impl<K> Default for SumGaugeBy<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: LabelKey> SumGaugeBy<K> {
    /// Adds to the value of `key`.
    pub(crate) fn add(&mut self, key: K, value: u64) {
        *self.0.entry(key).or_default() += value;
    }
}

impl<K: LabelKey> Samples for SumGaugeBy<K> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (values, value) in sorted(&self.0, outer) {
            page.sample(metric, &values, float(*value));
        }
    }
}

impl<K: LabelKey> MetricValue for SumGaugeBy<K> {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: usize = K::COUNT;

    fn merge(&mut self, other: &Self) {
        for (key, value) in &other.0 {
            self.add(*key, *value);
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.add(K::example(number), number % 5);
    }
}

/// The mean of recorded values; each value has the same weight. Without a value nothing is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MeanGauge {
    sum: f64,
    count: u64,
}

impl MeanGauge {
    /// Records a value.
    pub(crate) fn record(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    /// The mean; `None` without a value.
    #[must_use]
    pub(crate) fn mean(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / float(self.count))
    }
}

impl Samples for MeanGauge {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        if let Some(mean) = self.mean() {
            page.sample(metric, outer, mean);
        }
    }
}

impl MetricValue for MeanGauge {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: usize = 0;

    fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.record(float(number % 5));
    }
}

/// Means of recorded values, by label.
#[derive(Debug, Clone)]
pub(crate) struct MeanGaugeBy<K>(Map<K, MeanGauge>);

impl<K> Default for MeanGaugeBy<K> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<K: LabelKey> MeanGaugeBy<K> {
    /// Records a value of `key`.
    pub(crate) fn record(&mut self, key: K, value: f64) {
        self.0.entry(key).or_default().record(value);
    }
}

impl<K: LabelKey> Samples for MeanGaugeBy<K> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (values, mean) in sorted(&self.0, outer) {
            mean.write(metric, &values, page);
        }
    }
}

impl<K: LabelKey> MetricValue for MeanGaugeBy<K> {
    const KIND: MetricKind = MetricKind::Gauge;
    const LABELS: usize = K::COUNT;

    fn merge(&mut self, other: &Self) {
        for (key, mean) in &other.0 {
            self.0.entry(*key).or_default().merge(mean);
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.record(K::example(number), float(number % 5));
    }
}
