//! What the reader of a key may look at besides the value: names, references, and values that may occur once.
//!
//! It must not know any section.

use crate::config::names::{FileNames, KnownNames, ModelNames};
use crate::config::reader::Item;
use crate::config::references::References;
use std::cell::RefCell;
use std::collections::HashMap;

/// The surroundings of the section that is read.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c> {
    pub known: &'c KnownNames<'c>,
    pub references: &'c References<'c>,
    pub names: &'c FileNames,
    pub seen: &'c Seen,
    /// Index in `names.models` of the model that is read, if one is.
    pub model: usize,
    /// A price file is read, which knows no providers.
    pub is_price_file: bool,
}

/// For sections outside of `[[models]]`.
static NO_MODEL: ModelNames = ModelNames {
    name: String::new(),
    targets: Vec::new(),
    arms: Vec::new(),
};

impl Context<'_> {
    /// This context for the entry `index` of `[[models]]`.
    pub(crate) fn of_model(self, index: usize) -> Self {
        Self {
            model: index,
            ..self
        }
    }

    /// Names in the model that is read.
    pub(crate) fn model(&self) -> &ModelNames {
        self.names.models.get(self.model).unwrap_or(&NO_MODEL)
    }
}

/// Values that may occur once in a list, each with the position of the first.
#[derive(Default)]
pub(crate) struct Seen(RefCell<HashMap<(String, String), String>>);

impl Seen {
    /// Remembers that `item` of `list` holds `value`; returns the position of an earlier item with the same value.
    pub(crate) fn earlier(&self, list: &str, value: &str, item: &Item<'_>) -> Option<String> {
        let mut seen = self.0.borrow_mut();
        let key = (list.to_owned(), value.to_owned());
        if let Some(first) = seen.get(&key) {
            return Some(first.clone());
        }
        seen.insert(key, format!("{} in line {}", item.path, item.line()));
        None
    }
}
