//! Walks the parsed TOML with positions and collects every problem instead of stopping at the first.
//!
//! It must not know any key or section of Ringside: the known keys of a section are those that were
//! read, so the list in an error message cannot be out of date.

use crate::config::limits::Bounds;
use crate::config::problem::Complaint;
use crate::config::report::Report;
use crate::config::suggest::nearest;
use crate::config::values;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

/// One value of the file.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    /// Path of its key, e.g. `models[1].name`.
    pub path: String,
    offset: usize,
    value: &'a DeValue<'a>,
    report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    /// Reports `complaint` at this value.
    pub(crate) fn complain(&self, complaint: Complaint) {
        self.report.add(self.offset, &self.path, complaint);
    }

    /// Line of this value, from 1.
    pub(crate) fn line(&self) -> usize {
        self.report.position(self.offset).0
    }

    /// The value as text.
    pub(crate) fn text(&self) -> Result<&'a str, Complaint> {
        match self.value {
            DeValue::String(text) => Ok(text),
            _ => Err(self.not("a string", "put the value in double quotes")),
        }
    }

    /// The value as true or false.
    pub(crate) fn boolean(&self) -> Result<bool, Complaint> {
        match self.value {
            DeValue::Boolean(value) => Ok(*value),
            _ => Err(self.not("true or false", "write `true` or `false`, without quotes")),
        }
    }

    /// The value as a whole number within `bounds`.
    pub(crate) fn number<T>(&self, bounds: &Bounds<T>) -> Result<T, Complaint>
    where
        T: TryFrom<i128> + PartialOrd + ToString,
    {
        let DeValue::Integer(number) = self.value else {
            return Err(self.not("a whole number", "write a whole number, without quotes"));
        };
        // More than 128 bits, or more than `T` holds, is out of every bounds.
        i128::from_str_radix(number.as_str(), number.radix())
            .ok()
            .and_then(|wide| T::try_from(wide).ok())
            .filter(|value| within(value, bounds))
            .ok_or_else(|| out_of_bounds(number.as_str(), bounds, T::to_string))
    }

    /// The value as a fraction; whole numbers count as such.
    pub(crate) fn fraction(&self) -> Result<f64, Complaint> {
        let digits = match self.value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return Err(self.not("a number", "write a number, without quotes")),
        };
        digits
            .parse()
            .map_err(|_| self.not("a number", "write a number such as 0.95"))
    }

    /// The value as US dollars, in nano-dollars; read digit by digit, so that nothing is rounded.
    pub(crate) fn dollars(&self) -> Result<u64, Complaint> {
        let digits = match self.value {
            DeValue::Float(number) => number.as_str(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            _ => return Err(self.not("a price", "write US dollars, e.g. 2.5, without quotes")),
        };
        values::nanodollars(digits).ok_or_else(|| {
            Complaint::new(
                format!("`{digits}` is not a price below 1000000 with up to 9 decimals"),
                "write US dollars per million tokens as a plain number, e.g. 2.5 or 0.075",
            )
        })
    }

    /// The value as a number of bytes within `bounds`; a plain number counts as bytes.
    pub(crate) fn size(&self, bounds: &Bounds<usize>) -> Result<usize, Complaint> {
        let (text, bytes) = match self.value {
            DeValue::Integer(number) => {
                let bytes = u64::from_str_radix(number.as_str(), number.radix());
                (number.as_str(), bytes.ok())
            }
            _ => (self.text()?, Some(values::size(self.text()?)?)),
        };
        bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| within(bytes, bounds))
            .ok_or_else(|| out_of_bounds(text, bounds, |bytes| values::show_size(*bytes)))
    }

    /// The value as a duration within `bounds`.
    pub(crate) fn duration(&self, bounds: &Bounds<Duration>) -> Result<Duration, Complaint> {
        if let DeValue::Integer(number) = self.value {
            return Err(Complaint::new(
                "a duration without a unit",
                format!(
                    "write the unit, e.g. \"{0}s\" or \"{0}ms\"",
                    number.as_str()
                ),
            ));
        }
        let text = self.text()?;
        let duration = values::duration(text)?;
        if within(&duration, bounds) {
            Ok(duration)
        } else {
            Err(out_of_bounds(text, bounds, |duration| {
                values::show_duration(*duration)
            }))
        }
    }

    /// The values of a list of `count` entries.
    pub(crate) fn counted_list(&self, count: &Bounds<usize>) -> Result<Vec<Self>, Complaint> {
        counted(self.list()?, count)
    }

    /// The values of a list.
    pub(crate) fn list(&self) -> Result<Vec<Self>, Complaint> {
        let DeValue::Array(array) = self.value else {
            return Err(self.not("a list", "put the value in brackets: `[ … ]`"));
        };
        let item = |(index, value): (usize, &'a toml::Spanned<DeValue<'a>>)| Item {
            path: format!("{}[{index}]", self.path),
            offset: value.span().start,
            value: value.get_ref(),
            report: self.report,
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    /// The value of `key`, if this is a section that has it; nothing is reported.
    pub(crate) fn field(&self, key: &str) -> Option<Self> {
        let DeValue::Table(table) = self.value else {
            return None;
        };
        let value = table.get(key)?;
        Some(Item {
            path: format!("{}.{key}", self.path),
            offset: value.span().start,
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// True when the value is a list.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    /// The value as a section of its own.
    fn section(&self, remedy: String) -> Result<Section<'a>, Complaint> {
        let DeValue::Table(table) = self.value else {
            return Err(self.not("a section", remedy));
        };
        Ok(Section {
            path: self.path.clone(),
            offset: self.offset,
            table: Some(table),
            known: Vec::new(),
            report: self.report,
        })
    }

    /// A value of the wrong type; no message quotes the value, it may be a secret.
    fn not(&self, expected: &str, remedy: impl Into<String>) -> Complaint {
        let found = match self.value {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a section",
        };
        Complaint::new(format!("expected {expected}, found {found}"), remedy)
    }
}

/// One table of the file; an absent one reads as an empty one.
pub(crate) struct Section<'a> {
    path: String,
    offset: usize,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(table: &'a DeTable<'a>, report: &'a Report<'a>) -> Self {
        Self {
            path: String::new(),
            offset: 0,
            table: Some(table),
            known: Vec::new(),
            report,
        }
    }

    /// Path of `key` in this section.
    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// The value of `key`, and the key is known from now on; `None` when the user did not write it.
    pub(crate) fn item(&mut self, key: &'static str) -> Option<Item<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        self.peek(key)
    }

    /// The value of `key`, which does not become a known key by this; `None` when the user did not write it.
    pub(crate) fn peek(&self, key: &str) -> Option<Item<'a>> {
        let value = self.table?.get(key)?;
        Some(Item {
            path: self.path_of(key),
            offset: value.span().start,
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// Reports `complaint` at the value of `key`, or at the section's header when it has no such key.
    pub(crate) fn complain(&self, key: &str, complaint: Complaint) {
        let value = self.table.and_then(|table| table.get(key));
        let offset = value.map_or(self.offset, |value| value.span().start);
        self.report.add(offset, &self.path_of(key), complaint);
    }

    /// Reports `complaint` at `key` of the section `table` in this one, or at the header of the innermost section that
    /// the user wrote.
    pub(crate) fn complain_in(&self, table: &str, key: &str, complaint: Complaint) {
        let item = self.peek(table);
        let value = item.as_ref().and_then(|item| item.field(key));
        let offset = value.or(item).map_or(self.offset, |item| item.offset);
        let path = format!("{}.{key}", self.path_of(table));
        self.report.add(offset, &path, complaint);
    }

    /// The value of `key` through `convert`; `None` when it is absent, or wrong and now reported.
    pub(crate) fn read<T>(
        &mut self,
        key: &'static str,
        convert: impl FnOnce(&Item<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        let item = self.item(key)?;
        convert(&item)
            .map_err(|complaint| item.complain(complaint))
            .ok()
    }

    /// Like [`Section::read`], and an absent key is a problem too, with this remedy.
    pub(crate) fn require<T>(
        &mut self,
        key: &'static str,
        remedy: &str,
        convert: impl FnOnce(&Item<'a>) -> Result<T, Complaint>,
    ) -> Option<T> {
        if self.item(key).is_none() {
            self.complain(key, Complaint::new("missing", remedy));
        }
        self.read(key, convert)
    }

    /// The section `[key]`.
    pub(crate) fn section(&mut self, key: &'static str) -> Self {
        let path = self.path_of(key);
        let remedy = format!("write a section header: `[{path}]`");
        self.read(key, |item| item.section(remedy))
            .unwrap_or(Section {
                path,
                offset: self.offset,
                table: None,
                known: Vec::new(),
                report: self.report,
            })
    }

    /// The entries of the repeated section `[[key]]`, or of a list of inline tables. `None` in the list is an entry
    /// that is no table, and `None` instead of a list means that it is wrong; both are reported.
    pub(crate) fn sections(
        &mut self,
        key: &'static str,
        count: &Bounds<usize>,
    ) -> Option<Vec<Option<Self>>> {
        let Some(item) = self.item(key) else {
            return Some(Vec::new());
        };
        let header = format!("write each with a double-bracket header: `[[{key}]]`");
        let items = item.list().map_err(|complaint| Complaint {
            remedy: header,
            ..complaint
        });
        let items = items.and_then(|items| counted(items, count));
        let section = |item: Item<'a>| {
            item.section("write a table in braces: `{ … }`".to_owned())
                .map_err(|complaint| item.complain(complaint))
                .ok()
        };
        let items = items.map_err(|complaint| item.complain(complaint)).ok()?;
        Some(items.into_iter().map(section).collect())
    }

    /// True when the user wrote this section.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Reports each key that was never read. Must be the last call on every section.
    pub(crate) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let nearest = nearest(name, self.known.iter().copied())
                .map(|nearest| format!("did you mean `{nearest}`? "))
                .unwrap_or_default();
            let known = self.known.join(", ");
            self.report.add(
                key.span().start,
                &self.path_of(name),
                Complaint::new("unknown key", format!("{nearest}Known keys here: {known}")),
            );
        }
    }
}

/// `items`, if `count` allows that many.
fn counted<'a>(items: Vec<Item<'a>>, count: &Bounds<usize>) -> Result<Vec<Item<'a>>, Complaint> {
    if within(&items.len(), count) {
        return Ok(items);
    }
    Err(Complaint::new(
        format!(
            "{} entries, but {} to {} are allowed (limit {})",
            items.len(),
            count.min,
            count.max,
            count.name
        ),
        if items.len() < count.min {
            "add an entry"
        } else {
            "remove entries"
        },
    ))
}

fn within<T: PartialOrd>(value: &T, bounds: &Bounds<T>) -> bool {
    bounds.min <= *value && *value <= bounds.max
}

fn out_of_bounds<T>(written: &str, bounds: &Bounds<T>, show: impl Fn(&T) -> String) -> Complaint {
    let (min, max) = (show(&bounds.min), show(&bounds.max));
    Complaint::new(
        format!(
            "`{written}` is outside {min} to {max} (limit {})",
            bounds.name
        ),
        format!("use a value from {min} to {max}"),
    )
}
