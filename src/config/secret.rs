//! Secret values. They must not show themselves.

use std::path::PathBuf;

/// A secret value, never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A secret that may change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewable {
    /// From the environment, which does not change.
    Fixed(Secret),
    /// From a file, which is read again at each use.
    File(PathBuf),
}
