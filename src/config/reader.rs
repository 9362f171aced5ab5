//! Walks the parsed TOML with positions and collects every problem instead of stopping at the first.
//!
//! It must not know any key or section of Ringside: the known keys of a section are those that were
//! asked for, so the list in an error message cannot be out of date.

use crate::config::values;
use std::cell::RefCell;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use crate::config::limits::Bounds;
use crate::config::problem::{Complaint, Problem, Problems};

/// Names listed in one remedy; a longer list would bury the sentence.
const NAMES_TOLD_MAX: usize = 20;

/// Where problems are put while the file is read.
pub(crate) struct Report<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Report<'a> {
    /// No problems yet with `text` of `file`.
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::default(),
        }
    }

    /// Adds a problem with the key at byte `at`.
    pub(crate) fn add(&self, at: usize, key: &str, complaint: Complaint) {
        let (line, column) = self.place(at);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: complaint.message,
            remedy: complaint.remedy,
        });
    }

    /// Line and column, both from 1, of byte `at`.
    fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// Everything added, in the order of the file.
    pub(crate) fn into_problems(self) -> Problems {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Problems(problems)
    }
}

/// One value of the file.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    /// Path of its key, e.g. `models[1].name`.
    pub path: String,
    at: usize,
    value: &'a DeValue<'a>,
    report: &'a Report<'a>,
}

impl<'a> Item<'a> {
    /// Reports `complaint` at this value.
    pub(crate) fn complain(&self, complaint: Complaint) {
        self.report.add(self.at, &self.path, complaint);
    }

    /// Line of this value, from 1.
    pub(crate) fn line(&self) -> usize {
        self.report.place(self.at).0
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

    /// The values of a list.
    pub(crate) fn list(&self) -> Result<Vec<Item<'a>>, Complaint> {
        let DeValue::Array(array) = self.value else {
            return Err(self.not("a list", "put the value in brackets: `[ … ]`"));
        };
        let item = |(index, value): (usize, &'a toml::Spanned<DeValue<'a>>)| Item {
            path: format!("{}[{index}]", self.path),
            at: value.span().start,
            value: value.get_ref(),
            report: self.report,
        };
        Ok(array.iter().enumerate().map(item).collect())
    }

    /// The value of `key`, if this is a section that has it; nothing is reported.
    pub(crate) fn field(&self, key: &str) -> Option<Item<'a>> {
        let DeValue::Table(table) = self.value else {
            return None;
        };
        let value = table.get(key)?;
        Some(Item {
            path: format!("{}.{key}", self.path),
            at: value.span().start,
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
            at: self.at,
            table: Some(table),
            known: Vec::new(),
            report: self.report,
        })
    }

    /// A value of the wrong type; the value itself is not told, it may be a secret.
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
    at: usize,
    table: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    report: &'a Report<'a>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(crate) fn root(table: &'a DeTable<'a>, report: &'a Report<'a>) -> Self {
        Self {
            path: String::new(),
            at: 0,
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

    /// The value of `key`, which from now on is a known key; `None` when the user did not write it.
    pub(crate) fn item(&mut self, key: &'static str) -> Option<Item<'a>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table?.get(key)?;
        Some(Item {
            path: self.path_of(key),
            at: value.span().start,
            value: value.get_ref(),
            report: self.report,
        })
    }

    /// Reports `complaint` at the value of `key`, or at the section's header when it has no such key.
    pub(crate) fn complain(&self, key: &str, complaint: Complaint) {
        let value = self.table.and_then(|table| table.get(key));
        let at = value.map_or(self.at, |value| value.span().start);
        self.report.add(at, &self.path_of(key), complaint);
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

    /// Each value of the list at `key` through `convert`, less those that are wrong and now
    /// reported; `None` when there is no list.
    pub(crate) fn list<T>(
        &mut self,
        key: &'static str,
        count: &Bounds<usize>,
        mut convert: impl FnMut(&Item<'a>) -> Result<T, Complaint>,
    ) -> Option<Vec<T>> {
        let items = self.read(key, |item| counted(item.list()?, count))?;
        let convert = |item: &Item<'a>| {
            convert(item)
                .map_err(|complaint| item.complain(complaint))
                .ok()
        };
        Some(items.iter().filter_map(convert).collect())
    }

    /// The whole number at `key`.
    pub(crate) fn number<T>(&mut self, key: &'static str, default: T, bounds: &Bounds<T>) -> T
    where
        T: TryFrom<i128> + PartialOrd + ToString,
    {
        self.read(key, |item| item.number(bounds))
            .unwrap_or(default)
    }

    /// The number of bytes at `key`.
    pub(crate) fn size(
        &mut self,
        key: &'static str,
        default: usize,
        bounds: &Bounds<usize>,
    ) -> usize {
        self.read(key, |item| item.size(bounds)).unwrap_or(default)
    }

    /// The duration at `key`.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        bounds: &Bounds<Duration>,
    ) -> Duration {
        self.read(key, |item| item.duration(bounds))
            .unwrap_or(default)
    }

    /// True or false at `key`.
    pub(crate) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.read(key, Item::boolean).unwrap_or(default)
    }

    /// One of the named values at `key`.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let convert = |item: &Item<'a>| {
            let text = item.text()?;
            let names = || choices.iter().map(|(name, _)| *name);
            let found = choices.iter().find(|(name, _)| *name == text);
            found.map(|(_, value)| *value).ok_or_else(|| {
                Complaint::new(format!("unknown value `{text}`"), suggest(text, names))
            })
        };
        self.read(key, convert).unwrap_or(default)
    }

    /// The section `[key]`.
    pub(crate) fn section(&mut self, key: &'static str) -> Section<'a> {
        let path = self.path_of(key);
        let remedy = format!("write a section header: `[{path}]`");
        self.read(key, |item| item.section(remedy))
            .unwrap_or(Section {
                path,
                at: self.at,
                table: None,
                known: Vec::new(),
                report: self.report,
            })
    }

    /// The repeated section `[[key]]`, or a list of inline tables.
    pub(crate) fn sections(
        &mut self,
        key: &'static str,
        count: &Bounds<usize>,
    ) -> Vec<Section<'a>> {
        let header = format!("write each with a double-bracket header: `[[{key}]]`");
        let items = self.read(key, |item| {
            let items = item.list().map_err(|complaint| Complaint {
                remedy: header,
                ..complaint
            })?;
            counted(items, count)
        });
        let section = |item: Item<'a>| {
            item.section("write a table in braces: `{ … }`".to_owned())
                .map_err(|complaint| item.complain(complaint))
                .ok()
        };
        items
            .unwrap_or_default()
            .into_iter()
            .filter_map(section)
            .collect()
    }

    /// True when the user wrote this section.
    pub(crate) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Reports each key that was never asked for. Must be the last call on every section.
    pub(crate) fn finish(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.known.contains(&name) {
                continue;
            }
            let nearest = values::nearest(name, self.known.iter().copied())
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

/// The remedy for a name that is not among `names`.
pub(crate) fn suggest<'n, I>(wrong: &str, names: impl Fn() -> I) -> String
where
    I: Iterator<Item = &'n str>,
{
    let mut all = names().take(NAMES_TOLD_MAX).collect::<Vec<_>>().join(", ");
    if names().nth(NAMES_TOLD_MAX).is_some() {
        all.push_str(", …");
    }
    match values::nearest(wrong, names()) {
        Some(nearest) => format!("did you mean `{nearest}`? Known values: {all}"),
        None if names().count() == 1 => format!("use `{all}`, the only one there is"),
        None => format!("use one of: {all}"),
    }
}

/// `items`, if they are as many as `count` allows.
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
