//! Writes the Prometheus text format, version 0.0.4. It must not know any metric.

use crate::observability::metrics::declaration::Declaration;
use crate::observability::metrics::histogram::Histogram;
use std::fmt::Write;

/// The text of the page so far.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

impl Exposition {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Begins a metric; its samples follow.
    pub(crate) fn begin(&mut self, metric: &Declaration) {
        let name = metric.name;
        let (help, kind) = (metric.help(), metric.kind.as_str());
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one sample; `values` are those of the metric's labels.
    pub(crate) fn sample(&mut self, metric: &Declaration, values: &[String], value: f64) {
        self.text.push_str(metric.name);
        self.labels(metric, values, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// Writes the samples of one histogram.
    pub(crate) fn histogram(
        &mut self,
        metric: &Declaration,
        values: &[String],
        histogram: &Histogram,
    ) {
        let name = metric.name;
        for (bound, count) in histogram.cumulative() {
            let bound = if bound.is_finite() {
                bound.to_string()
            } else {
                "+Inf".to_owned()
            };
            let _ = write!(self.text, "{name}_bucket");
            self.labels(metric, values, Some(&bound));
            let _ = writeln!(self.text, " {count}");
        }
        let _ = write!(self.text, "{name}_sum");
        self.labels(metric, values, None);
        let _ = write!(self.text, " {}\n{name}_count", histogram.sum());
        self.labels(metric, values, None);
        let _ = writeln!(self.text, " {}", histogram.count());
    }

    fn labels(&mut self, metric: &Declaration, values: &[String], bound: Option<&str>) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        let names = metric.labels.iter().copied();
        let labels = names.zip(values.iter().map(String::as_str));
        let mut separator = '{';
        for (name, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
    }
}

/// A count as a sample's value. Counts stay far below 2^53, where a float begins to round.
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::declaration::MetricKind;

    #[test]
    fn label_values_are_escaped() {
        let metric = Declaration {
            name: "x",
            kind: MetricKind::Gauge,
            labels: &["a"],
            text: "",
        };
        let mut page = Exposition::default();
        page.sample(&metric, &["q\"\\\n".to_owned()], 1.0);
        assert_eq!(page.into_text(), "x{a=\"q\\\"\\\\\\n\"} 1\n");
    }
}
