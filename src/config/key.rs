//! A key as it is declared: name, notation, default, and whether a change needs a restart.
//!
//! It must not know any key of Ringside.

use crate::config::context::Context;
use crate::config::documentation::KeyDoc;
use crate::config::names::KnownNames;
use crate::config::notation::Notation;
use crate::config::problem::Complaint;
use crate::config::reader::Section;

/// The declaration behind a field of type `T`: one key, or a section of keys.
pub(crate) trait Field<T> {
    /// The value in `section`; `None` when it is wrong, or missing and required. That is reported.
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<T>;

    /// Adds its keys to `keys`, with paths that begin with `prefix`.
    fn document(&self, meaning: &str, prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>);

    /// Adds the paths of keys that differ and need a restart.
    fn restarts(&self, old: &T, new: &T, prefix: &str, paths: &mut Vec<String>);
}

type Read<T> = Box<dyn Fn(&mut Section<'_>, &Context<'_>) -> Option<T>>;

/// One declared key.
pub(crate) struct Key<T> {
    name: &'static str,
    read: Read<T>,
    default: String,
    bounds: Box<dyn Fn(&KnownNames<'_>) -> String>,
    needs_restart: bool,
}

/// A key without a rule for a file that does not have it.
pub(crate) struct Undefined<T> {
    name: &'static str,
    notation: Notation<T>,
}

/// The key `name`, whose value has this notation.
pub(crate) fn key<T>(name: &'static str, notation: Notation<T>) -> Undefined<T> {
    Undefined { name, notation }
}

impl<T: 'static> Undefined<T> {
    /// Without the key the value is `value`.
    pub(crate) fn default(self, value: T) -> Key<T>
    where
        T: Clone,
    {
        let shown = format!("`{}`", (self.notation.show)(&value));
        self.default_shown(value, &shown)
    }

    /// Without the key the value is `value`, which the documentation describes as `shown`.
    pub(crate) fn default_shown(self, value: T, shown: &str) -> Key<T>
    where
        T: Clone,
    {
        self.defined(shown, move |value_in_file, _, _| {
            Some(value_in_file.unwrap_or_else(|| value.clone()))
        })
    }

    /// Without the key there is no value, which the documentation describes as `shown`.
    pub(crate) fn optional(self, shown: &str) -> Key<Option<T>> {
        self.defined(shown, |value_in_file, _, _| Some(value_in_file))
    }

    /// Without the key the file is wrong; `remedy` says what to write.
    pub(crate) fn required(self, remedy: &'static str) -> Key<T> {
        let name = self.name;
        self.defined("required", move |value_in_file, section, _| {
            if section.peek(name).is_none() {
                section.complain(name, Complaint::new("missing", remedy));
            }
            value_in_file
        })
    }

    /// Without the key the value is that of `usual`, which reports a problem if it returns none.
    pub(crate) fn otherwise(
        self,
        shown: &str,
        usual: fn(&Section<'_>, &Context<'_>) -> Option<T>,
    ) -> Key<T> {
        let name = self.name;
        self.defined(shown, move |value_in_file, section, context| {
            if section.peek(name).is_none() {
                return usual(section, context);
            }
            value_in_file
        })
    }

    fn defined<V>(
        self,
        shown: &str,
        complete: impl Fn(Option<T>, &Section<'_>, &Context<'_>) -> Option<V> + 'static,
    ) -> Key<V> {
        let Self { name, notation } = self;
        let read = notation.read;
        Key {
            name,
            read: Box::new(move |section, context| {
                let value = section.read(name, |item| read(item, context));
                complete(value, section, context)
            }),
            default: shown.to_owned(),
            bounds: notation.bounds,
            needs_restart: false,
        }
    }
}

impl<T> Key<T> {
    /// A reload does not apply a change of this key.
    pub(crate) fn restart(self) -> Self {
        Self {
            needs_restart: true,
            ..self
        }
    }
}

impl<T: PartialEq> Field<T> for Key<T> {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<T> {
        (self.read)(section, context)
    }

    fn document(
        &self,
        meaning: &str,
        prefix: &str,
        known: &KnownNames<'_>,
        keys: &mut Vec<KeyDoc>,
    ) {
        keys.push(KeyDoc {
            path: format!("{prefix}{}", self.name),
            kind: None,
            default: self.default.clone(),
            bounds: (self.bounds)(known),
            needs_restart: self.needs_restart,
            meaning: meaning.trim().to_owned(),
        });
    }

    fn restarts(&self, old: &T, new: &T, prefix: &str, paths: &mut Vec<String>) {
        if self.needs_restart && old != new {
            paths.push(format!("{prefix}{}", self.name));
        }
    }
}
