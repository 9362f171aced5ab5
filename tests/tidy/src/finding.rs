//! What a rule reports.

use std::fmt;

/// One place where the repository breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path relative to the repository's root, with `/`.
    pub file: String,
    /// Line from 1; 0 when the finding is about the whole file.
    pub line: usize,
    /// Name of the rule, as `RULES` lists it.
    pub rule: &'static str,
    /// What is wrong, in one sentence; further lines are indented details.
    pub message: String,
}

impl Finding {
    /// A finding of `rule` in `file`.
    pub fn new(rule: &'static str, file: &str, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line,
            rule,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            rule,
            message,
        } = self;
        match line {
            0 => write!(out, "{file}: {message} [{rule}]"),
            _ => write!(out, "{file}:{line}: {message} [{rule}]"),
        }
    }
}
