//! The declaration of a metric: its name, kind, labels and text in the exposition and the documentation. It must not know any
//! metric.

/// Kinds of metrics in the Prometheus text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    /// It only grows; its name ends in `_total`.
    Counter,
    /// A current value.
    Gauge,
    /// Values counted by bucket.
    Histogram,
}

impl MetricKind {
    /// The word in the `# TYPE` line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declaration {
    /// In the exposition.
    pub name: &'static str,
    pub kind: MetricKind,
    /// Its labels, in the order of their values.
    pub labels: &'static [&'static str],
    /// The first paragraph is the help text; the documentation shows the whole.
    pub text: &'static str,
}

impl Declaration {
    /// The `# HELP` line, without name.
    pub(crate) fn help(&self) -> String {
        let lines = self.text.trim().lines().map(str::trim);
        let help: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        help.join(" ")
    }

    /// The text in the documentation.
    #[cfg(test)]
    pub(crate) fn description(&self) -> String {
        let words: Vec<_> = self.text.split_whitespace().collect();
        words.join(" ")
    }
}

/// Checks at compile time that a metric has as many label names as its key has values.
pub(crate) const fn labels(
    names: &'static [&'static str],
    values: usize,
) -> &'static [&'static str] {
    assert!(
        names.len() == values,
        "a metric has another number of labels than its key has values"
    );
    names
}
