//! Problems of a configuration as the user reads them: position, problem, remedy.
//!
//! It must not know any key, and nothing here may hold a secret's value.

use std::fmt;

/// One thing wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The configuration file, as it was named by the caller.
    pub file: String,
    /// Line, from 1; 0 when the problem is the file itself.
    pub line: usize,
    /// Column in characters, from 1; 0 when the problem is the file itself.
    pub column: usize,
    /// Path of the key, e.g. `models[1].targets[0].provider`; empty when there is none.
    pub key: String,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}\n  remedy: {}", self.message, self.remedy)
    }
}

/// Everything wrong with the configuration, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problems(pub Vec<Problem>);

impl Problems {
    /// The one problem of a file that has no text.
    pub(crate) fn of_file(file: &str, complaint: Complaint) -> Self {
        Self(vec![Problem {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            message: complaint.message,
            remedy: complaint.remedy,
        }])
    }

    /// Only the first problem of each line: one slip of syntax makes the parser complain again at
    /// every following word.
    pub(crate) fn first_of_each_line(mut self) -> Self {
        self.0.dedup_by_key(|problem| problem.line);
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

impl std::error::Error for Problems {}

/// A problem of a value and its remedy, without the position of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// See [`Problem::message`].
    pub message: String,
    /// See [`Problem::remedy`].
    pub remedy: String,
}

impl Complaint {
    /// A complaint of these two sentences.
    pub(crate) fn new(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}
