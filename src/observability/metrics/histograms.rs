//! Histograms of a metric. It must not know any metric.

use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::histogram::{Bounds, Histogram};
use crate::observability::metrics::labels::{LabelEnum, LabelKey};
use crate::observability::metrics::prometheus::Exposition;
#[cfg(test)]
use crate::observability::metrics::prometheus::float;
use crate::observability::metrics::value::{Map, MetricValue, Samples, joined, position, sorted};
use std::marker::PhantomData;

/// A histogram without labels of its own.
#[derive(Debug, Clone)]
pub(crate) struct SingleHistogram<B> {
    histogram: Histogram,
    bounds: PhantomData<B>,
}

impl<B: Bounds> Default for SingleHistogram<B> {
    fn default() -> Self {
        Self {
            histogram: Histogram::new(B::BOUNDS),
            bounds: PhantomData,
        }
    }
}

impl<B: Bounds> SingleHistogram<B> {
    /// Records a value in the unit of the bounds.
    pub(crate) fn record(&mut self, value: f64) {
        self.histogram.record(value);
    }

    /// The values.
    #[must_use]
    pub(crate) fn get(&self) -> &Histogram {
        &self.histogram
    }
}

impl<B: Bounds> Samples for SingleHistogram<B> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        page.histogram(metric, outer, &self.histogram);
    }
}

impl<B: Bounds> MetricValue for SingleHistogram<B> {
    const KIND: MetricKind = MetricKind::Histogram;
    const LABELS: usize = 0;

    fn merge(&mut self, other: &Self) {
        self.histogram.merge(&other.histogram);
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.record(float(number % 5));
    }
}

/// Histograms by label.
#[derive(Debug, Clone)]
pub(crate) struct HistogramBy<K, B> {
    histograms: Map<K, Histogram>,
    bounds: PhantomData<B>,
}

impl<K, B> Default for HistogramBy<K, B> {
    fn default() -> Self {
        Self {
            histograms: Map::default(),
            bounds: PhantomData,
        }
    }
}

impl<K: LabelKey, B: Bounds> HistogramBy<K, B> {
    /// Records a value in the unit of the bounds.
    pub(crate) fn record(&mut self, key: K, value: f64) {
        self.histograms
            .entry(key)
            .or_insert_with(|| Histogram::new(B::BOUNDS))
            .record(value);
    }

    /// The values of `key`; `None` before the first.
    #[cfg(test)]
    pub(crate) fn get(&self, key: K) -> Option<&Histogram> {
        self.histograms.get(&key)
    }
}

impl<K: LabelKey, B: Bounds> Samples for HistogramBy<K, B> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (values, histogram) in sorted(&self.histograms, outer) {
            page.histogram(metric, &values, histogram);
        }
    }
}

impl<K: LabelKey, B: Bounds> MetricValue for HistogramBy<K, B> {
    const KIND: MetricKind = MetricKind::Histogram;
    const LABELS: usize = K::COUNT;

    fn merge(&mut self, other: &Self) {
        for (key, histogram) in &other.histograms {
            self.histograms
                .entry(*key)
                .and_modify(|mine| mine.merge(histogram))
                .or_insert_with(|| histogram.clone());
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.record(K::example(number), float(number % 5));
    }
}

/// Histograms by a label of few values; all of them are written, even if they are empty.
#[derive(Debug, Clone)]
pub(crate) struct HistogramOf<E, B> {
    histograms: Box<[Histogram]>,
    types: PhantomData<(E, B)>,
}

impl<E: LabelEnum, B: Bounds> Default for HistogramOf<E, B> {
    fn default() -> Self {
        Self {
            histograms: E::ALL.iter().map(|_| Histogram::new(B::BOUNDS)).collect(),
            types: PhantomData,
        }
    }
}

impl<E: LabelEnum, B: Bounds> HistogramOf<E, B> {
    /// Records a value in the unit of the bounds.
    pub(crate) fn record(&mut self, label: E, value: f64) {
        if let Some(histogram) = self.histograms.get_mut(position(label)) {
            histogram.record(value);
        }
    }

    /// The values of `label`; `Some` for every value in [`LabelEnum::ALL`].
    #[must_use]
    pub(crate) fn get(&self, label: E) -> Option<&Histogram> {
        self.histograms.get(position(label))
    }
}

impl<E: LabelEnum, B: Bounds> Samples for HistogramOf<E, B> {
    fn write(&self, metric: &Declaration, outer: &[String], page: &mut Exposition) {
        for (label, histogram) in E::ALL.iter().zip(&self.histograms) {
            page.histogram(metric, &joined(outer, label), histogram);
        }
    }
}

impl<E: LabelEnum, B: Bounds> MetricValue for HistogramOf<E, B> {
    const KIND: MetricKind = MetricKind::Histogram;
    const LABELS: usize = 1;

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.histograms.iter_mut().zip(&other.histograms) {
            mine.merge(theirs);
        }
    }

    #[cfg(test)]
    fn record_example(&mut self, number: u64) {
        self.record(E::example(number), float(number % 5));
    }
}
