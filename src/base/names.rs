//! Interned names (models, keys, targets), so that the hot path counts by a number.
//!
//! Names come from the configuration only, so the table is bounded by what was ever configured.

use parking_lot::RwLock;
use std::sync::Arc;

static NAMES: RwLock<Vec<Arc<str>>> = RwLock::new(Vec::new());

/// A name from the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(u32);

impl Name {
    /// Interns `text`. Takes a lock: only while a configuration is loaded.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut names = NAMES.write();
        let at = names.iter().position(|name| &**name == text);
        let at = at.unwrap_or_else(|| {
            names.push(text.into());
            names.len() - 1
        });
        Self(u32::try_from(at).unwrap_or(u32::MAX))
    }

    /// A number of its own within the process; the text's lock is not taken.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The text.
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
