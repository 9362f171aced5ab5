//! Interned names of models, keys and targets, so that requests are counted by a number instead of a text.
//!
//! Names come only from configurations, so the table has at most the names of all configurations since the start.

use parking_lot::RwLock;
use std::sync::Arc;

static NAMES: RwLock<Vec<Arc<str>>> = RwLock::new(Vec::new());

/// A name from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

impl Name {
    /// Interns `text`. Takes a lock, so it is called only while a configuration is loaded.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut names = NAMES.write();
        let found = names.iter().position(|name| &**name == text);
        let index = found.unwrap_or_else(|| {
            names.push(text.into());
            names.len() - 1
        });
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The number of the name, unique within the process. Takes no lock.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The text. Takes a lock for reading.
    #[must_use]
    pub fn text(self) -> Arc<str> {
        NAMES
            .read()
            .get(self.0 as usize)
            .cloned()
            .unwrap_or_else(|| "".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_one_name() {
        let a = Name::new("gpt");
        assert_eq!(a, Name::new("gpt"));
        assert_ne!(a, Name::new("gpt-2"));
        assert_eq!(&*a.text(), "gpt");
    }
}
