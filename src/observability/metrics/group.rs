//! Declares metrics: `metric_group!` makes a struct of one area's metrics with their merge, their exposition and
//! their rows in the documentation. It must not know any metric.

use crate::observability::metrics::declaration::Declaration;
use crate::observability::metrics::labels::LabelKey;
use crate::observability::metrics::prometheus::Exposition;
use crate::observability::metrics::value::{Map, Samples, sorted};

/// The metrics of one area. [`metric_group`] implements it.
pub(crate) trait MetricGroup: Default + Clone {
    /// The first labels of all its metrics: there is a group for each key. `()` if there is only one group.
    type Key: LabelKey;
    /// Title of the area in the documentation.
    #[cfg(test)]
    const TITLE: &'static str;
    /// Its metrics, in the order of [`MetricGroup::values`].
    const DECLARATIONS: &'static [Declaration];

    /// Their values.
    fn values(&self) -> Vec<&dyn Samples>;

    /// Adds another core's values.
    fn merge(&mut self, other: &Self);

    /// Records a value in each metric, for tests.
    #[cfg(test)]
    fn record_example(&mut self, number: u64);
}

/// One group, or a group for each key: an element of the list of all metrics.
pub(crate) trait MetricSet: Default + Clone {
    /// Title of the area in the documentation.
    #[cfg(test)]
    const TITLE: &'static str;
    /// Its metrics.
    #[cfg(test)]
    const DECLARATIONS: &'static [Declaration];

    /// Adds another core's values.
    fn merge_with(&mut self, other: &Self);

    /// Writes all its metrics.
    fn write(&self, page: &mut Exposition);

    /// Records a value in each metric, for tests.
    #[cfg(test)]
    fn record_examples(&mut self, number: u64);
}

impl<G: MetricGroup<Key = ()>> MetricSet for G {
    #[cfg(test)]
    const TITLE: &'static str = <G as MetricGroup>::TITLE;
    #[cfg(test)]
    const DECLARATIONS: &'static [Declaration] = <G as MetricGroup>::DECLARATIONS;

    fn merge_with(&mut self, other: &Self) {
        self.merge(other);
    }

    fn write(&self, page: &mut Exposition) {
        for (metric, value) in <G as MetricGroup>::DECLARATIONS.iter().zip(self.values()) {
            page.begin(metric);
            value.write(metric, &[], page);
        }
    }

    #[cfg(test)]
    fn record_examples(&mut self, number: u64) {
        self.record_example(number);
    }
}

/// One group of metrics for each key, so that recording several of them looks the key up once. Nothing is written
/// before the first key.
#[derive(Debug, Clone)]
pub(crate) struct GroupBy<G: MetricGroup>(Map<G::Key, G>);

impl<G: MetricGroup> Default for GroupBy<G> {
    fn default() -> Self {
        Self(Map::default())
    }
}

impl<G: MetricGroup> GroupBy<G> {
    /// The group of `key`; empty at first.
    pub(crate) fn entry(&mut self, key: G::Key) -> &mut G {
        self.0.entry(key).or_default()
    }

    /// The group of `key`; `None` before anything is recorded.
    #[must_use]
    pub(crate) fn get(&self, key: G::Key) -> Option<&G> {
        self.0.get(&key)
    }

    /// Adds another core's groups.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, group) in &other.0 {
            self.entry(*key).merge(group);
        }
    }
}

impl<G: MetricGroup> MetricSet for GroupBy<G> {
    #[cfg(test)]
    const TITLE: &'static str = G::TITLE;
    #[cfg(test)]
    const DECLARATIONS: &'static [Declaration] = G::DECLARATIONS;

    fn merge_with(&mut self, other: &Self) {
        self.merge(other);
    }

    fn write(&self, page: &mut Exposition) {
        let groups = sorted(&self.0, &[]);
        if groups.is_empty() {
            return;
        }
        for (index, metric) in G::DECLARATIONS.iter().enumerate() {
            page.begin(metric);
            for (labels, group) in &groups {
                if let Some(value) = group.values().get(index) {
                    value.write(metric, labels, page);
                }
            }
        }
    }

    #[cfg(test)]
    fn record_examples(&mut self, number: u64) {
        self.entry(G::Key::example(number)).record_example(number);
    }
}

/// Declares the metrics of one area:
///
/// ```text
/// metric_group! {
///     /// Title of the area in the documentation.
///     pub(crate) struct AreaMetrics by KeyType {
///         /// Help text.
///         ///
///         /// More, for the documentation only.
///         field: CounterBy<&'static str> = "ringside_name_total" ["label of the key", "outcome"];
///     }
/// }
/// ```
///
/// `by KeyType` is left out if the area has only one group. `unexposed { /// Meaning. field: Counter; }` at the
/// end has values that merge like metrics but are not exposed.
macro_rules! metric_group {
    ($(#[doc = $title:literal])+ pub(crate) struct $group:ident { $($body:tt)+ }) => {
        $crate::observability::metrics::group::metric_group! {
            $(#[doc = $title])+ pub(crate) struct $group by () { $($body)+ }
        }
    };
    (
        $(#[doc = $title:literal])+
        pub(crate) struct $group:ident by $key:ty {
            $(
                $(#[doc = $text:literal])+
                $field:ident: $value:ty = $name:literal [$($label:literal),*];
            )+
            $(unexposed {
                $( $(#[doc = $note:literal])+ $unexposed:ident: $unexposed_value:ty; )+
            })?
        }
    ) => {
        $(#[doc = $title])+
        #[derive(Debug, Clone, Default)]
        pub(crate) struct $group {
            $( $(#[doc = $text])+ pub(crate) $field: $value, )+
            $($( $(#[doc = $note])+ pub(crate) $unexposed: $unexposed_value, )+)?
        }

        impl $crate::observability::metrics::group::MetricGroup for $group {
            type Key = $key;

            #[cfg(test)]
            const TITLE: &'static str = concat!($($title),+);

            const DECLARATIONS: &'static [$crate::observability::metrics::declaration::Declaration] = &[$(
                $crate::observability::metrics::declaration::Declaration {
                    name: $name,
                    kind: <$value as $crate::observability::metrics::value::MetricValue>::KIND,
                    labels: $crate::observability::metrics::declaration::labels(
                        &[$($label),*],
                        <$key as $crate::observability::metrics::labels::LabelKey>::COUNT
                            + <$value as $crate::observability::metrics::value::MetricValue>::LABELS,
                    ),
                    text: concat!($($text, "\n"),+),
                }
            ),+];

            fn values(&self) -> Vec<&dyn $crate::observability::metrics::value::Samples> {
                vec![$(&self.$field),+]
            }

            fn merge(&mut self, other: &Self) {
                $( $crate::observability::metrics::value::MetricValue::merge(&mut self.$field, &other.$field); )+
                $($( $crate::observability::metrics::value::MetricValue::merge(&mut self.$unexposed, &other.$unexposed); )+)?
            }

            #[cfg(test)]
            fn record_example(&mut self, number: u64) {
                $( $crate::observability::metrics::value::MetricValue::record_example(&mut self.$field, number); )+
                $($( $crate::observability::metrics::value::MetricValue::record_example(&mut self.$unexposed, number); )+)?
            }
        }
    };
}

pub(crate) use metric_group;
