//! `ringside import`: another gateway's configuration becomes a `ringside.toml`, and a list of what has no
//! equal. It must not guess: what is not known to mean the same is listed.

/// What an import gives.
#[derive(Debug)]
pub struct Imported {
    /// A `ringside.toml`.
    pub toml: String,
    /// What has no equal or needs a hand, in the order of the file.
    pub notes: Vec<Note>,
}

/// One thing to look at.
#[derive(Debug)]
pub struct Note {
    /// Line in the file that was read, from 1.
    pub line: usize,
    /// Path of the key.
    pub path: String,
    /// What became of it, and why.
    pub why: String,
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}: {}", self.line, self.path, self.why)
    }
}
