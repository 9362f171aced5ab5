//! `settings!` declares the keys of a section once; the structure, its reader, its documentation and the list of
//! changes that need a restart follow from the declaration.
//!
//! It must not know any section.

use crate::config::context::Context;
use crate::config::documentation::KeyDoc;
use crate::config::key::Field;
use crate::config::limits::Bounds;
use crate::config::names::KnownNames;
use crate::config::problem::Complaint;
use crate::config::reader::Section;
use std::marker::PhantomData;

/// A structure that is read from the keys of one section.
pub(crate) trait Settings: Sized {
    /// The values in `section`; `None` when one is wrong that has no default. Problems are reported.
    fn read(section: &mut Section<'_>, context: &Context<'_>) -> Option<Self>;

    /// Adds every key to `keys`, with paths that begin with `prefix`.
    fn document(prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>);

    /// Adds the paths of keys that differ from those of `new` and need a restart.
    fn restarts(&self, new: &Self, prefix: &str, paths: &mut Vec<String>);
}

/// Declares a structure of settings. Each field has a doc line, which is the meaning in the documentation, a type, and
/// a [`Field`]: a key, or a section. The order is that of the documentation and of `Known keys here`.
///
/// `checked by` names a function that sees all values of the section: it reports combinations that are wrong, and
/// fills in defaults that depend on other keys.
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident $(checked by $check:path)? {
            $(
                $(#[doc = $meaning:literal])*
                $field_visibility:vis $field:ident: $type:ty = $declaration:expr;
            )*
        }
    ) => {
        $(#[$attribute])*
        $visibility struct $name {
            $(
                $(#[doc = $meaning])*
                $field_visibility $field: $type,
            )*
        }

        impl $crate::config::settings::Settings for $name {
            fn read(
                section: &mut $crate::config::reader::Section<'_>,
                context: &$crate::config::context::Context<'_>,
            ) -> Option<Self> {
                // One pattern for all fields: a declaration must not see the field before it instead of a function.
                let ($($field,)*) = (
                    $($crate::config::key::Field::<$type>::read(&$declaration, section, context),)*
                );
                #[allow(unused_mut, reason = "not every section has a check")]
                let mut settings = Self { $($field: $field?),* };
                $($check(&mut settings, section, context);)?
                Some(settings)
            }

            fn document(
                prefix: &str,
                known: &$crate::config::names::KnownNames<'_>,
                keys: &mut Vec<$crate::config::documentation::KeyDoc>,
            ) {
                $(
                    let meaning = concat!("", $($meaning),*);
                    $crate::config::key::Field::<$type>::document(
                        &$declaration, meaning, prefix, known, keys,
                    );
                )*
            }

            fn restarts(&self, new: &Self, prefix: &str, paths: &mut Vec<String>) {
                $(
                    $crate::config::key::Field::<$type>::restarts(
                        &$declaration, &self.$field, &new.$field, prefix, paths,
                    );
                )*
            }
        }
    };
}
pub(crate) use settings;

/// The section `[name]`, whose keys have defaults.
pub(crate) struct Table(&'static str);

pub(crate) fn section(name: &'static str) -> Table {
    Table(name)
}

impl<S: Settings> Field<S> for Table {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<S> {
        let mut table = section.section(self.0);
        let settings = S::read(&mut table, context);
        table.finish();
        settings
    }

    fn document(&self, _: &str, prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        S::document(&format!("{prefix}{}.", self.0), known, keys);
    }

    fn restarts(&self, old: &S, new: &S, prefix: &str, paths: &mut Vec<String>) {
        old.restarts(new, &format!("{prefix}{}.", self.0), paths);
    }
}

/// The section `[name]`, which may be absent. A reload applies all of its keys.
pub(crate) struct OptionalTable(&'static str);

pub(crate) fn optional_section(name: &'static str) -> OptionalTable {
    OptionalTable(name)
}

impl<S: Settings> Field<Option<S>> for OptionalTable {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<Option<S>> {
        let is_present = section.peek(self.0).is_some();
        let mut table = section.section(self.0);
        if !table.is_present() {
            // One that is no table is reported.
            return (!is_present).then_some(None);
        }
        let settings = S::read(&mut table, context);
        table.finish();
        settings.map(Some)
    }

    fn document(&self, _: &str, prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        let first = keys.len();
        let prefix = format!("{prefix}{}.", self.0);
        S::document(&prefix, known, keys);
        for key in keys.iter_mut().skip(first) {
            let is_direct = !key.path.trim_start_matches(&prefix).contains('.');
            if key.default == "required" && is_direct {
                key.default = format!("required with `{}`", self.0);
            }
        }
    }

    fn restarts(&self, _: &Option<S>, _: &Option<S>, _: &str, _: &mut Vec<String>) {}
}

/// The repeated section `[[name]]`, or a list of tables. A reload applies all of its keys.
pub(crate) struct Tables {
    name: &'static str,
    count: Bounds<usize>,
    missing: Option<&'static str>,
    enter: for<'c> fn(Context<'c>, usize) -> Context<'c>,
}

pub(crate) fn sections(name: &'static str, count: Bounds<usize>) -> Tables {
    Tables {
        name,
        count,
        missing: None,
        enter: |context, _| context,
    }
}

impl Tables {
    /// Without the list the file is wrong; `remedy` says what to write.
    pub(crate) fn required(self, remedy: &'static str) -> Self {
        Self {
            missing: Some(remedy),
            ..self
        }
    }

    /// `enter` makes the context of the entry with an index.
    pub(crate) fn each(self, enter: for<'c> fn(Context<'c>, usize) -> Context<'c>) -> Self {
        Self { enter, ..self }
    }
}

impl<S: Settings> Field<Vec<S>> for Tables {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<Vec<S>> {
        let tables = section.sections(self.name, &self.count)?;
        if let (Some(remedy), None) = (self.missing, section.peek(self.name)) {
            section.complain(self.name, Complaint::new("missing", remedy));
            return None;
        }
        let read = |(index, table): (usize, Option<Section<'_>>)| {
            let mut table = table?;
            let settings = S::read(&mut table, &(self.enter)(*context, index));
            table.finish();
            settings
        };
        // Every entry is read before the first wrong one ends this, so that all problems are reported.
        let entries: Vec<Option<S>> = tables.into_iter().enumerate().map(read).collect();
        entries.into_iter().collect()
    }

    fn document(
        &self,
        meaning: &str,
        prefix: &str,
        known: &KnownNames<'_>,
        keys: &mut Vec<KeyDoc>,
    ) {
        let default = if self.missing.is_some() {
            "required"
        } else {
            "none"
        };
        keys.push(KeyDoc {
            path: format!("{prefix}{}", self.name),
            kind: None,
            default: default.to_owned(),
            bounds: format!("{} to {} tables", self.count.min, self.count.max),
            needs_restart: false,
            meaning: meaning.trim().to_owned(),
        });
        S::document(&format!("{prefix}{}[].", self.name), known, keys);
    }

    fn restarts(&self, _: &Vec<S>, _: &Vec<S>, _: &str, _: &mut Vec<String>) {}
}

/// Keys of the same section that form a structure of their own, `S`. A reload applies all of them.
pub(crate) struct Flattened<S>(PhantomData<S>);

pub(crate) fn flattened<S: Settings>() -> Flattened<S> {
    Flattened(PhantomData)
}

impl<T: From<S>, S: Settings> Field<T> for Flattened<S> {
    fn read(&self, section: &mut Section<'_>, context: &Context<'_>) -> Option<T> {
        S::read(section, context).map(T::from)
    }

    fn document(&self, _: &str, prefix: &str, known: &KnownNames<'_>, keys: &mut Vec<KeyDoc>) {
        S::document(prefix, known, keys);
    }

    fn restarts(&self, _: &T, _: &T, _: &str, _: &mut Vec<String>) {}
}
