//! The function calls of a request whose results have not been read yet. It must not know how they are written.

use crate::protocols::json::name_map::NameMap;
use std::borrow::{Borrow, Cow};
use std::hash::Hash;

/// The calls without a result, in their order; found by id or by name.
#[derive(Default)]
pub(crate) struct WaitingCalls<'d> {
    calls: Vec<Call<'d>>,
    by_id: Queues<Cow<'d, str>>,
    by_name: Queues<&'d str>,
}

struct Call<'d> {
    id: Cow<'d, str>,
    has_result: bool,
}

impl<'d> WaitingCalls<'d> {
    pub(crate) fn add(&mut self, name: &'d str, id: Cow<'d, str>) {
        self.by_id.push(id.clone());
        self.by_name.push(name);
        let has_result = false;
        self.calls.push(Call { id, has_result });
    }

    /// Takes the first call with this id that waits; its id.
    pub(crate) fn take_by_id(&mut self, id: &str) -> Option<&str> {
        let calls = &self.calls;
        let found = self.by_id.first(id, |index| waits(calls, index))?;
        self.take(found)
    }

    /// Takes the first call of this function that waits; its id.
    pub(crate) fn take_by_name(&mut self, name: &str) -> Option<&str> {
        let calls = &self.calls;
        let found = self.by_name.first(name, |index| waits(calls, index))?;
        self.take(found)
    }

    fn take(&mut self, index: usize) -> Option<&str> {
        let call = self.calls.get_mut(index)?;
        call.has_result = true;
        Some(&call.id)
    }
}

fn waits(calls: &[Call<'_>], index: usize) -> bool {
    calls.get(index).is_some_and(|call| !call.has_result)
}

/// The indices of calls by key, each key's in their order. An index is looked at once for each time it is skipped,
/// so that all look-ups together take a time linear in the number of calls.
struct Queues<K> {
    ends: NameMap<K, Ends>,
    /// For each call the next one with its key.
    next: Vec<Option<usize>>,
}

struct Ends {
    first: Option<usize>,
    last: usize,
}

impl<K> Default for Queues<K> {
    fn default() -> Self {
        Self {
            ends: NameMap::default(),
            next: Vec::new(),
        }
    }
}

impl<K: Borrow<str> + Hash + Eq> Queues<K> {
    /// Appends the next call.
    fn push(&mut self, key: K) {
        let index = self.next.len();
        self.next.push(None);
        let Some(ends) = self.ends.get_mut(key.borrow()) else {
            let first = Some(index);
            self.ends.insert(key, Ends { first, last: index });
            return;
        };
        if let Some(last) = self.next.get_mut(ends.last) {
            *last = Some(index);
        }
        ends.first.get_or_insert(index);
        ends.last = index;
    }

    /// The first call of `key` that `waits`; the calls before it are forgotten.
    fn first(&mut self, key: &str, waits: impl Fn(usize) -> bool) -> Option<usize> {
        let ends = self.ends.get_mut(key)?;
        while let Some(index) = ends.first {
            if waits(index) {
                return Some(index);
            }
            ends.first = self.next.get(index).copied().flatten();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;

    /// The rule in its plain form: look through all calls.
    fn plain<'c>(
        calls: &mut Vec<(&'c str, &'c str)>,
        is_it: impl Fn(&(&str, &str)) -> bool,
    ) -> Option<&'c str> {
        let found = calls.iter().position(is_it)?;
        Some(calls.remove(found).1)
    }

    #[test]
    fn the_first_waiting_call_is_taken() {
        const NAMES: [&str; 3] = ["f", "g", "h"];
        const IDS: [&str; 4] = ["1", "2", "3", "4"];
        for seed in 0..500 {
            let (mut waiting, mut expected) = (WaitingCalls::default(), Vec::new());
            for step in 0..40 {
                let drawn = mix(seed, step);
                let name = NAMES[usize::try_from(drawn % 3).unwrap()];
                let id = IDS[usize::try_from(drawn / 8 % 4).unwrap()];
                match drawn / 64 % 4 {
                    0 | 1 => {
                        waiting.add(name, id.into());
                        expected.push((name, id));
                    }
                    2 => assert_eq!(
                        waiting.take_by_id(id),
                        plain(&mut expected, |(_, known)| *known == id)
                    ),
                    _ => assert_eq!(
                        waiting.take_by_name(name),
                        plain(&mut expected, |(known, _)| *known == name)
                    ),
                }
            }
        }
    }
}
