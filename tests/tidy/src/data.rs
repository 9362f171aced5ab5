//! Data files of rules: one entry per line, columns separated by tabs, `#` begins a comment line.

use crate::Repository;

/// One entry and where it stands.
pub struct Row<'a> {
    /// Line from 1.
    pub line: usize,
    columns: Vec<&'a str>,
}

impl<'a> Row<'a> {
    /// A column without the blanks around it; empty when the row is shorter.
    pub fn column(&self, at: usize) -> &'a str {
        self.columns.get(at).copied().unwrap_or("")
    }

    /// A column's parts between commas, without empty ones.
    pub fn list(&self, at: usize) -> Vec<&'a str> {
        let parts = self.column(at).split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).collect()
    }
}

/// Entries of a data file; none when the file does not exist.
pub fn rows<'a>(repository: &'a Repository, path: &str) -> Vec<Row<'a>> {
    let text = repository.source(path).map_or("", |source| &source.text);
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(at, line)| Row {
            line: at + 1,
            columns: line.split('\t').map(str::trim).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped_and_columns_split() {
        let repository = Repository::of(&[("list.txt", "# head\n\na\tb, c\n")]);
        let rows = rows(&repository, "list.txt");
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].line, 3);
        assert_eq!(rows[0].column(0), "a");
        assert_eq!(rows[0].list(1), ["b", "c"]);
        assert_eq!(rows[0].column(7), "");
    }
}
