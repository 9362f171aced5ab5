//! TOML files read so that a key nobody knows is an error that names the one that was meant.
//!
//! Values are handed on as text: a key of a file means what the flag of that name means.

use crate::units::unknown;
use toml::{Table, Value};

/// A table of a file. Its known keys are those that were asked for.
pub struct Section {
    file: String,
    /// Path of the table, empty for the root.
    path: String,
    table: Table,
    known: Vec<String>,
}

impl Section {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or is no TOML; the text names the file and the place.
    pub fn read(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(file, &text)
    }

    /// As [`Section::read`], of a text.
    ///
    /// # Errors
    /// No TOML.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let table = text
            .parse::<Table>()
            .map_err(|error| format!("{file}: {}", error.to_string().trim_end()))?;
        Ok(Self {
            file: file.to_owned(),
            path: String::new(),
            table,
            known: Vec::new(),
        })
    }

    /// What is wrong with the value of `key`.
    #[must_use]
    pub fn complain(&self, key: &str, why: &str) -> String {
        let dot = if self.path.is_empty() { "" } else { "." };
        format!("{}: {}{dot}{key}: {why}", self.file, self.path)
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.table.remove(key)
    }

    /// The table `key`, if there is one.
    ///
    /// # Errors
    /// Something else is there.
    pub fn section(&mut self, key: &str) -> Result<Option<Self>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(self.inner(key.to_owned(), table))),
            Some(_) => Err(self.complain(key, "must be a table")),
        }
    }

    /// The tables `[[key]]`.
    ///
    /// # Errors
    /// Something else is there.
    pub fn sections(&mut self, key: &str) -> Result<Vec<Self>, String> {
        let list = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(self.complain(key, "must be a list of tables")),
        };
        let tables = list.into_iter().enumerate();
        tables
            .map(|(at, value)| match value {
                Value::Table(table) => Ok(self.inner(format!("{key}[{at}]"), table)),
                _ => Err(self.complain(key, "must be a list of tables")),
            })
            .collect()
    }

    fn inner(&self, key: String, table: Table) -> Self {
        let path = if self.path.is_empty() {
            key
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            file: self.file.clone(),
            path,
            table,
            known: Vec::new(),
        }
    }

    /// The value or the values of `key` as text.
    ///
    /// # Errors
    /// A table is there.
    pub fn texts(&mut self, key: &str) -> Result<Vec<String>, String> {
        let values = match self.take(key) {
            None => Vec::new(),
            Some(Value::Array(list)) => list,
            Some(one) => vec![one],
        };
        let texts = values.iter().map(plain);
        texts
            .collect::<Option<_>>()
            .ok_or_else(|| self.complain(key, "must be a text, a number, or a list of them"))
    }

    /// The value of `key` as text.
    ///
    /// # Errors
    /// A table or a list is there.
    pub fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        let value = self.take(key);
        let text = value.map(|value| plain(&value));
        text.map(|text| text.ok_or_else(|| self.complain(key, "must be a text or a number")))
            .transpose()
    }

    /// Names and values of the table `key`.
    ///
    /// # Errors
    /// Something else is there.
    pub fn pairs(&mut self, key: &str) -> Result<Vec<(String, String)>, String> {
        let Some(section) = self.section(key)? else {
            return Ok(Vec::new());
        };
        let pairs = section.table.iter();
        pairs
            .map(|(name, value)| {
                let value = plain(value).ok_or_else(|| section.complain(name, "must be a text"))?;
                Ok((name.clone(), value))
            })
            .collect()
    }

    /// All names and values that are left.
    ///
    /// # Errors
    /// A list or a table among them.
    pub fn rest(&mut self) -> Result<Vec<(String, String)>, String> {
        let keys: Vec<String> = self.table.keys().cloned().collect();
        keys.into_iter()
            .map(|key| {
                let text = self.text(&key)?.unwrap_or_default();
                Ok((key, text))
            })
            .collect()
    }

    /// Everything was asked for that can be.
    ///
    /// # Errors
    /// A key is left; the text names the nearest that is known.
    pub fn finish(self) -> Result<(), String> {
        let Some(key) = self.table.keys().next() else {
            return Ok(());
        };
        let known: Vec<&str> = self.known.iter().map(String::as_str).collect();
        Err(self.complain(key, &unknown(key, &known)))
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_left_over_name_the_nearest() {
        let mut root =
            Section::parse("f.toml", "rate = 5\n[load]\nwarmup = '1s'\nlist = [1, 'a']").unwrap();
        assert_eq!(root.text("rate").unwrap().as_deref(), Some("5"));
        let mut load = root.section("load").unwrap().unwrap();
        assert_eq!(load.text("warm_up").unwrap(), None);
        assert_eq!(load.texts("list").unwrap(), ["1", "a"]);
        let why = load.finish().unwrap_err();
        assert_eq!(why, "f.toml: load.warmup: unknown; did you mean `warm_up`?");
        assert!(root.finish().is_ok());
        assert!(Section::parse("f.toml", "a = ").is_err());
    }
}
