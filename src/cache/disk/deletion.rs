//! Deletions that must survive a restart.

use crate::base::names::Name;
use crate::cache::entry::Entry;

/// Which entries were deleted, by an operator or because they answered wrongly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Deletion {
    /// One entry.
    Entry(u128),
    /// All entries of this model and this key; a missing condition matches all.
    Matching {
        /// The requested model.
        model: Option<String>,
        /// The virtual key.
        key: Option<String>,
    },
    /// All entries of a scope with this answer.
    Content {
        /// Hash of the scope.
        scope: u128,
        /// The answer's text.
        content: Box<str>,
    },
}

impl Deletion {
    /// Whether it deletes this entry.
    #[must_use]
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        match self {
            Self::Entry(id) => entry.id == *id,
            Self::Content { scope, content } => {
                entry.scope == *scope && entry.response.content() == &**content
            }
            Self::Matching { model, key } => {
                let has_model = |model: &String| *entry.model.text() == **model;
                let has_key = |key: &String| {
                    let owner = entry.key.map(Name::text);
                    owner.as_deref() == Some(key)
                };
                model.as_ref().is_none_or(has_model) && key.as_ref().is_none_or(has_key)
            }
        }
    }
}
