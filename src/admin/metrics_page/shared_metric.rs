//! Metrics that are read from shared state when the page is written, declared with the function that reads them. It must not
//! know any metric.

use crate::control::plane::Plane;
use crate::observability::metrics::declaration::{Declaration, MetricKind};
use crate::observability::metrics::prometheus::Exposition;

/// The state that a metric can be read from.
pub(crate) struct Sources<'p> {
    pub(crate) plane: &'p Plane,
    /// Cores whose metrics are on the page.
    pub(crate) cores_reporting: usize,
}

/// A metric and the function that reads it.
pub(crate) struct SharedMetric {
    pub(crate) declaration: Declaration,
    read: Reader,
}

/// A value, and the values of the metric's labels.
pub(crate) struct Sample {
    pub(crate) labels: Vec<String>,
    pub(crate) value: f64,
}

enum Reader {
    One(fn(&Sources<'_>) -> f64),
    Optional(fn(&Sources<'_>) -> Option<f64>),
    Labelled(fn(&Sources<'_>) -> Option<Vec<Sample>>),
}

/// Metrics of one area.
pub(crate) struct SharedMetrics {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only the documentation shows it")
    )]
    pub(crate) title: &'static str,
    pub(crate) metrics: &'static [SharedMetric],
}

impl SharedMetrics {
    pub(crate) fn write(&self, from: &Sources<'_>, page: &mut Exposition) {
        for metric in self.metrics {
            metric.write(from, page);
        }
    }
}

impl SharedMetric {
    fn write(&self, from: &Sources<'_>, page: &mut Exposition) {
        let alone = |value| Sample {
            labels: Vec::new(),
            value,
        };
        let samples = match self.read {
            Reader::One(read) => Some(vec![alone(read(from))]),
            Reader::Optional(read) => read(from).map(|value| vec![alone(value)]),
            Reader::Labelled(read) => read(from),
        };
        let Some(samples) = samples else {
            return;
        };
        page.begin(&self.declaration);
        for sample in samples {
            page.sample(&self.declaration, &sample.labels, sample.value);
        }
    }
}

/// A gauge that is always on the page.
pub(crate) const fn gauge(
    name: &'static str,
    text: &'static str,
    read: fn(&Sources<'_>) -> f64,
) -> SharedMetric {
    declared(MetricKind::Gauge, name, &[], text, Reader::One(read))
}

/// A gauge of a feature that may be switched off: `None` leaves the metric out.
pub(crate) const fn optional_gauge(
    name: &'static str,
    text: &'static str,
    read: fn(&Sources<'_>) -> Option<f64>,
) -> SharedMetric {
    declared(MetricKind::Gauge, name, &[], text, Reader::Optional(read))
}

/// Gauges by label; `None` leaves the metric out.
pub(crate) const fn labelled_gauge(
    name: &'static str,
    labels: &'static [&'static str],
    text: &'static str,
    read: fn(&Sources<'_>) -> Option<Vec<Sample>>,
) -> SharedMetric {
    declared(
        MetricKind::Gauge,
        name,
        labels,
        text,
        Reader::Labelled(read),
    )
}

/// A counter that is always on the page.
pub(crate) const fn counter(
    name: &'static str,
    text: &'static str,
    read: fn(&Sources<'_>) -> f64,
) -> SharedMetric {
    declared(MetricKind::Counter, name, &[], text, Reader::One(read))
}

/// A counter of a feature that may be switched off: `None` leaves the metric out.
pub(crate) const fn optional_counter(
    name: &'static str,
    text: &'static str,
    read: fn(&Sources<'_>) -> Option<f64>,
) -> SharedMetric {
    declared(MetricKind::Counter, name, &[], text, Reader::Optional(read))
}

/// Counters by label; `None` leaves the metric out.
pub(crate) const fn labelled_counter(
    name: &'static str,
    labels: &'static [&'static str],
    text: &'static str,
    read: fn(&Sources<'_>) -> Option<Vec<Sample>>,
) -> SharedMetric {
    declared(
        MetricKind::Counter,
        name,
        labels,
        text,
        Reader::Labelled(read),
    )
}

const fn declared(
    kind: MetricKind,
    name: &'static str,
    labels: &'static [&'static str],
    text: &'static str,
    read: Reader,
) -> SharedMetric {
    SharedMetric {
        declaration: Declaration {
            name,
            kind,
            labels,
            text,
        },
        read,
    }
}
