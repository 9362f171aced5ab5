//! Collects the problems of one file, with their positions. It must not know any key.

use crate::config::problem::{Complaint, Problem, Problems};
use std::cell::RefCell;
use toml::de::DeTable;

/// The problems found so far in one file.
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

    /// The root table of the file, or an empty one with the syntax errors reported.
    pub(crate) fn parse(&self) -> toml::Spanned<DeTable<'a>> {
        let (root, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let offset = error.span().map_or(0, |span| span.start);
            self.add(offset, "", syntax(error.message()));
        }
        root
    }

    /// Whether no problem was added.
    pub(crate) fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Adds a problem with the key at byte `offset`.
    pub(crate) fn add(&self, offset: usize, key: &str, complaint: Complaint) {
        let (line, column) = self.position(offset);
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: complaint.message,
            remedy: complaint.remedy,
        });
    }

    /// Line and column, both from 1, of byte `offset`.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(self.text);
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

/// The parser's message, which never quotes the file, and the most common cause as the remedy.
fn syntax(message: &str) -> Complaint {
    let remedy = if message.starts_with("duplicate key") {
        "keep one of the two; sections that repeat have double brackets, as in `[[providers]]`"
    } else if message.starts_with("string values must be quoted") {
        "write a value after `=`; text, sizes, durations and addresses stand in double quotes, as in \
         `ttl = \"1h\"`"
    } else {
        "correct the TOML syntax at this place; docs/ringside.example.toml shows every key"
    };
    Complaint::new(format!("not valid TOML: {message}"), remedy)
}
