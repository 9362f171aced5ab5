//! A map by names that a client or provider chose. It must stay fast whatever the names are.

use arrayvec::ArrayVec;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Names up to this number are compared one by one, which is faster than hashing them.
const COMPARED_MAX: usize = 16;

/// A map by name. Beyond [`COMPARED_MAX`] names it is a hash map with the standard library's secret seed, so that
/// nobody can choose names that collide.
#[derive(Debug)]
pub(crate) struct NameMap<K, V> {
    few: ArrayVec<(K, V), COMPARED_MAX>,
    /// Holds all names as soon as there are more than `few` takes.
    many: HashMap<K, V>,
}

impl<K, V> Default for NameMap<K, V> {
    fn default() -> Self {
        Self {
            few: ArrayVec::new(),
            many: HashMap::new(),
        }
    }
}

impl<K: Borrow<str> + Hash + Eq, V> NameMap<K, V> {
    /// The value of `name`.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        if !self.many.is_empty() {
            return self.many.get(name);
        }
        let mut few = self.few.iter();
        few.find(|(known, _)| known.borrow() == name)
            .map(|(_, value)| value)
    }

    /// The value of `name`, to change it.
    #[must_use]
    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut V> {
        if !self.many.is_empty() {
            return self.many.get_mut(name);
        }
        let mut few = self.few.iter_mut();
        few.find(|(known, _)| (*known).borrow() == name)
            .map(|(_, value)| value)
    }

    /// Sets the value of `name`; the value that it had before.
    pub(crate) fn insert(&mut self, name: K, value: V) -> Option<V> {
        if let Some(known) = self.get_mut(name.borrow()) {
            return Some(std::mem::replace(known, value));
        }
        if self.many.is_empty() {
            match self.few.try_push((name, value)) {
                Ok(()) => {}
                Err(full) => {
                    self.many.extend(self.few.drain(..));
                    self.many.extend([full.element()]);
                }
            }
        } else {
            self.many.insert(name, value);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_keeps_its_last_value_whatever_their_number() {
        for count in [0, 1, COMPARED_MAX, COMPARED_MAX + 1, 100] {
            let mut map: NameMap<String, usize> = NameMap::default();
            for at in 0..count {
                assert_eq!(map.insert(format!("n{at}"), at), None);
            }
            for at in 0..count {
                let name = format!("n{at}");
                assert_eq!(map.get(&name), Some(&at));
                assert_eq!(map.insert(name.clone(), at + 1), Some(at));
                if let Some(value) = map.get_mut(&name) {
                    *value += 1;
                }
                assert_eq!(map.get(&name), Some(&(at + 2)));
            }
            assert_eq!(map.get("other"), None);
        }
    }
}
