//! Types that can be the labels of a metric. It must not know any metric.

use crate::base::names::Name;
use crate::protocols::operation_kind::OperationKind;
use std::hash::Hash;

/// The label values of one sample.
pub(crate) trait LabelKey: Copy + Eq + Hash + 'static {
    /// Number of labels that it fills.
    const COUNT: usize;

    /// Appends its values, in the order of the declaration's labels.
    fn push_values(&self, values: &mut Vec<String>);

    /// A key out of few, for tests.
    #[cfg(test)]
    fn example(number: u64) -> Self;
}

/// A label whose values are the variants of an enum.
pub(crate) trait LabelEnum: Copy + Eq + Hash + 'static {
    /// All values, in the order in which they are written.
    const ALL: &'static [Self];

    /// The value of the label.
    fn as_str(self) -> &'static str;
}

impl<E: LabelEnum> LabelKey for E {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.as_str().to_owned());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        Self::ALL[(number % Self::ALL.len() as u64) as usize]
    }
}

impl LabelEnum for bool {
    const ALL: &'static [Self] = &[false, true];

    fn as_str(self) -> &'static str {
        if self { "true" } else { "false" }
    }
}

impl LabelKey for () {
    const COUNT: usize = 0;

    fn push_values(&self, _: &mut Vec<String>) {}

    #[cfg(test)]
    fn example(_: u64) -> Self {}
}

impl LabelKey for &'static str {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push((*self).to_owned());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        ["first", "second", "third"][(number % 3) as usize]
    }
}

impl LabelKey for OperationKind {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.as_str().to_owned());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        [Self::Chat, Self::Embeddings, Self::Rerank][(number % 3) as usize]
    }
}

impl LabelKey for u16 {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.to_string());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        200 + (number % 3) as Self
    }
}

impl LabelKey for Name {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.text().to_string());
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        Self::new(["label-a", "label-b", "label-c"][(number % 3) as usize])
    }
}

impl LabelKey for Option<Name> {
    const COUNT: usize = 1;

    fn push_values(&self, values: &mut Vec<String>) {
        values.push(self.map_or_else(String::new, |name| name.text().to_string()));
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        (!number.is_multiple_of(4)).then(|| Name::example(number))
    }
}

impl<A: LabelKey, B: LabelKey> LabelKey for (A, B) {
    const COUNT: usize = A::COUNT + B::COUNT;

    fn push_values(&self, values: &mut Vec<String>) {
        self.0.push_values(values);
        self.1.push_values(values);
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        (A::example(number), B::example(number / 3))
    }
}

impl<A: LabelKey, B: LabelKey, C: LabelKey> LabelKey for (A, B, C) {
    const COUNT: usize = A::COUNT + B::COUNT + C::COUNT;

    fn push_values(&self, values: &mut Vec<String>) {
        self.0.push_values(values);
        self.1.push_values(values);
        self.2.push_values(values);
    }

    #[cfg(test)]
    fn example(number: u64) -> Self {
        (
            A::example(number),
            B::example(number / 3),
            C::example(number / 9),
        )
    }
}
