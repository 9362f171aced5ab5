//! `ringside import`: another gateway's configuration becomes a `ringside.toml`, and a list of settings without an
//! equivalent. It must not guess: a setting that is not known to mean the same is listed.

/// The result of an import.
#[derive(Debug)]
pub struct Imported {
    /// A `ringside.toml`.
    pub toml: String,
    /// Settings without an equivalent, or that need a decision, in the order of the file.
    pub notes: Vec<Note>,
}

/// A setting that the user must look at.
#[derive(Debug)]
pub struct Note {
    /// Line in the file that was read, from 1.
    pub line: usize,
    /// Path of the key.
    pub path: String,
    /// What the import did with it, and why.
    pub why: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.path, self.why)
    }
}
