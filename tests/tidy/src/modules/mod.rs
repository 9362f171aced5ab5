//! The modules of a crate: which file holds which, what each defines and imports, and what its code names.

mod build;
mod edges;
mod references;
mod resolve;

pub use build::build;
pub use edges::{Edge, edges};
pub use resolve::Resolved;

use std::collections::{BTreeMap, BTreeSet};

/// Index of a module in `Modules`.
pub type ModuleId = usize;

/// What a name of a module stands for.
#[derive(Clone, Debug)]
pub enum Definition {
    /// A type, function, constant, macro: something with no modules inside.
    Item,
    /// A module.
    Module(ModuleId),
    /// What `use` brought in: a path that begins in the importing module.
    Import(Vec<String>),
}

/// One path in code, `use` or a macro's tokens.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Segments without their generic arguments.
    pub path: Vec<String>,
    /// Line from 1.
    pub line: usize,
    /// Whether it stands in code that is compiled for tests only.
    pub is_test: bool,
    /// What kind of path it is.
    pub kind: ReferenceKind,
}

/// Where a path stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceKind {
    /// An expression, type or pattern, or one name of a `use`.
    Name,
    /// `use a::*`.
    Glob,
    /// A path that an attribute spells as a string.
    Attribute,
    /// `name!(…)`.
    Macro,
}

/// One module.
#[derive(Debug)]
pub struct Module {
    /// File that holds its text.
    pub file: String,
    /// The module around it; `None` for the crate's root.
    pub parent: Option<ModuleId>,
    /// Names it defines or imports, items inside of its functions included.
    pub names: BTreeMap<String, Vec<Definition>>,
    /// Targets of its `use …::*`.
    pub globs: Vec<Vec<String>>,
    /// Paths in its code.
    pub references: Vec<Reference>,
}

/// Modules of one crate; the root is the first.
#[derive(Debug, Default)]
pub struct Modules {
    /// All modules, parents before their children.
    pub all: Vec<Module>,
    /// Where each `macro_rules!` name is defined.
    pub macros: BTreeMap<String, String>,
    /// Every file that a `mod` declaration reaches, the root included.
    pub files: BTreeSet<String>,
    /// Declarations whose file does not exist: file, line, path that was looked for.
    pub missing: Vec<(String, usize, String)>,
}
