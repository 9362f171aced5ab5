//! How the value of a key is written, read, bounded and shown: one constructor for each type of value.
//!
//! It must not know any key.

use crate::config::context::Context;
use crate::config::limits::Bounds;
use crate::config::names::KnownNames;
use crate::config::problem::Complaint;
use crate::config::reader::Item;
use crate::config::references::Pem;
use crate::config::secret::Secret;
use crate::config::suggest::suggest;
use crate::config::values;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

type Read<T> = Box<dyn Fn(&Item<'_>, &Context<'_>) -> Result<T, Complaint>>;
type Describe = Box<dyn Fn(&KnownNames<'_>) -> String>;

/// How values of one key are written.
pub(crate) struct Notation<T> {
    pub read: Read<T>,
    /// The allowed values, in Markdown.
    pub bounds: Describe,
    /// A value as TOML.
    pub show: Box<dyn Fn(&T) -> String>,
}

/// Text in the file, in quotes, with allowed values `bounds`.
pub(crate) fn written<T>(
    bounds: &'static str,
    read: impl Fn(&Item<'_>, &Context<'_>) -> Result<T, Complaint> + 'static,
) -> Notation<T> {
    Notation {
        read: Box::new(read),
        bounds: Box::new(|_| bounds.to_owned()),
        show: Box::new(|_| String::new()),
    }
}

impl<T> Notation<T> {
    /// This notation, with `show` for values.
    pub(crate) fn shown(self, show: impl Fn(&T) -> String + 'static) -> Self {
        Self {
            show: Box::new(show),
            ..self
        }
    }

    /// This notation, with allowed values that depend on names of other folders.
    pub(crate) fn bounded(self, bounds: impl Fn(&KnownNames<'_>) -> String + 'static) -> Self {
        Self {
            bounds: Box::new(bounds),
            ..self
        }
    }
}

/// True or false.
pub(crate) fn flag() -> Notation<bool> {
    written("`true`, `false`", |item, _| item.boolean()).shown(bool::to_string)
}

/// A whole number.
pub(crate) fn number<T>(bounds: Bounds<T>) -> Notation<T>
where
    T: TryFrom<i128> + PartialOrd + Display + Copy + 'static,
{
    written("", move |item, _| item.number(&bounds))
        .bounded(move |_| format!("{} to {}", bounds.min, bounds.max))
        .shown(T::to_string)
}

/// A number of bytes.
pub(crate) fn size(bounds: Bounds<usize>) -> Notation<usize> {
    let shown = move || {
        let [min, max] = [bounds.min, bounds.max].map(values::show_size);
        format!("{min} to {max}")
    };
    written("", move |item, _| item.size(&bounds))
        .bounded(move |_| shown())
        .shown(|bytes| format!("\"{}\"", values::show_size(*bytes)))
}

/// A duration.
pub(crate) fn duration(bounds: Bounds<Duration>) -> Notation<Duration> {
    let shown = move || {
        let [min, max] = [bounds.min, bounds.max].map(values::show_duration);
        format!("{min} to {max}")
    };
    written("", move |item, _| item.duration(&bounds))
        .bounded(move |_| shown())
        .shown(|duration| format!("\"{}\"", values::show_duration(*duration)))
}

/// A fraction; `what` and `remedy` are parts of the message about one that is out of bounds.
#[derive(Clone, Copy)]
pub(crate) struct Fraction {
    pub what: &'static str,
    pub min: f64,
    pub max: f64,
    pub remedy: &'static str,
}

/// A fraction from `min` to `max`, both included.
pub(crate) fn fraction(fraction: Fraction) -> Notation<f64> {
    let Fraction {
        what,
        min,
        max,
        remedy,
    } = fraction;
    written("", move |item, _| {
        let value = item.fraction()?;
        if (min..=max).contains(&value) {
            return Ok(value);
        }
        let message = format!("`{value}` is not {what} from {min} to {max}");
        Err(Complaint::new(message, remedy))
    })
    .bounded(move |_| format!("{min} to {max}"))
    .shown(f64::to_string)
}

/// A fraction above 0 and up to 1.
pub(crate) fn positive_share(what: &'static str, remedy: &'static str) -> Notation<f64> {
    written("above 0 and up to 1", move |item, _| {
        let value = item.fraction()?;
        // Not zero as a 32-bit number either.
        if value as f32 > 0.0 && value <= 1.0 {
            return Ok(value);
        }
        let message = format!("`{value}` is not {what} above 0 and up to 1");
        Err(Complaint::new(message, remedy))
    })
    .shown(f64::to_string)
}

/// One of the named values of `choices`.
pub(crate) fn choice<T: Copy + PartialEq>(choices: Choices<T>) -> Notation<T> {
    let names = || choices.iter().map(|(name, _)| *name);
    written("", move |item, _| {
        let text = item.text()?;
        let found = choices.iter().find(|(name, _)| *name == text);
        let unknown = || Complaint::new(format!("unknown value `{text}`"), suggest(text, names));
        found.map(|(_, value)| *value).ok_or_else(unknown)
    })
    .bounded(move |_| {
        let names: Vec<String> = names().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    })
    .shown(move |value| {
        let found = choices.iter().find(|(_, choice)| choice == value);
        found.map_or(String::new(), |(name, _)| format!("\"{name}\""))
    })
}

/// The values of a type, each with its name in the file.
pub(crate) type Choices<T> = &'static [(&'static str, T)];

/// A name.
pub(crate) fn name() -> Notation<String> {
    written("name", |item, _| read_name(item)).shown(|name| format!("\"{name}\""))
}

/// A name that can stand in headers, metrics and logs.
/// The name of a host, without scheme and port.
pub(crate) fn host_name() -> Notation<String> {
    written("host name", |item, _| {
        let text = item.text()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if text.is_empty() || text.len() > 253 || !text.chars().all(is_plain) {
            return Err(Complaint::new(
                format!("`{text}` is not the name of a host"),
                "give a name such as \"ringside.internal\", without scheme and port",
            ));
        }
        Ok(text.to_owned())
    })
    .shown(|name| format!("\"{name}\""))
}

pub(crate) fn read_name(item: &Item<'_>) -> Result<String, Complaint> {
    values::name(item.text()?).map(str::to_owned)
}

/// A name that no earlier entry of the same list has.
pub(crate) fn unique_name() -> Notation<String> {
    written("name, unique", read_unique_name)
}

pub(crate) fn read_unique_name(
    item: &Item<'_>,
    context: &Context<'_>,
) -> Result<String, Complaint> {
    let name = read_name(item)?;
    match context.seen.earlier(list_of(item), &name, item) {
        None => Ok(name),
        Some(position) => Err(Complaint::new(
            format!("the name `{name}` is already taken by {position}"),
            "give each entry a name of its own",
        )),
    }
}

/// A name that no earlier entry of the same list has; an entry is called `what` in the message.
pub(crate) fn unique_name_of(what: &'static str) -> Notation<String> {
    written("name, unique in the list", move |item, context| {
        let name = read_name(item)?;
        match context.seen.earlier(list_of(item), &name, item) {
            None => Ok(name),
            Some(_) => Err(Complaint::new(
                format!("another {what} is called `{name}` too"),
                format!("give each {what} a name of its own"),
            )),
        }
    })
}

/// Path of the list in which `item` stands, e.g. `models[1].rules` of `models[1].rules[0].name`.
fn list_of<'i>(item: &'i Item<'_>) -> &'i str {
    item.path
        .rsplit_once('[')
        .map_or(item.path.as_str(), |(list, _)| list)
}

/// One of the names that `known` selects, called `what` in the message.
pub(crate) fn known_name(
    what: &'static str,
    known: fn(&KnownNames<'_>) -> Vec<String>,
) -> Notation<String> {
    written("", move |item, context| {
        one_of(item, what, &known(context.known))
    })
    .bounded(move |names| {
        let names: Vec<String> = known(names)
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        names.join(", ")
    })
    .shown(|name| format!("\"{name}\""))
}

/// One of `names`, called `what` in the message.
pub(crate) fn one_of(
    item: &Item<'_>,
    what: &str,
    names: &[impl AsRef<str>],
) -> Result<String, Complaint> {
    let text = item.text()?;
    let known = || names.iter().map(AsRef::as_ref);
    if known().any(|name| name == text) {
        return Ok(text.to_owned());
    }
    let remedy = if names.is_empty() {
        "there is none; remove it, or configure one of this name".to_owned()
    } else {
        suggest(text, known)
    };
    Err(Complaint::new(
        format!("there is no {what} `{text}`"),
        remedy,
    ))
}

/// A list of `count` values, which the documentation calls `entries`.
pub(crate) fn list<T: 'static>(
    count: Bounds<usize>,
    entries: &'static str,
    entry: Notation<T>,
) -> Notation<Vec<T>> {
    let read = entry.read;
    written("", move |item, context| {
        let items = item.counted_list(&count)?;
        let convert = |entry: &Item<'_>| {
            read(entry, context)
                .map_err(|complaint| entry.complain(complaint))
                .ok()
        };
        Ok(items.iter().filter_map(convert).collect())
    })
    .bounded(move |_| format!("{} to {} {entries}", count.min, count.max))
}

/// A path that is not empty; `remedy` is for one that is.
pub(crate) fn path(bounds: &'static str, remedy: &'static str) -> Notation<PathBuf> {
    written(bounds, move |item, _| match item.text()? {
        "" => Err(Complaint::new("an empty path", remedy)),
        path => Ok(PathBuf::from(path)),
    })
    .shown(|path| format!("\"{}\"", path.display()))
}

/// A reference to a secret.
pub(crate) fn secret() -> Notation<Secret> {
    written("reference", |item, context| {
        context.references.secret(item.text()?)
    })
}

/// A reference to a PEM file.
pub(crate) fn pem(content: Pem) -> Notation<Vec<u8>> {
    written("PEM file", move |item, context| {
        context.references.pem(item.text()?, content)
    })
}

/// US dollars per million tokens, as nano-dollars.
pub(crate) fn dollars() -> Notation<u64> {
    written("amount", |item, _| item.dollars())
}
