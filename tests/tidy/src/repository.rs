//! The files that rules look at: read once, parsed when a rule asks for it.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

/// Folders that hold build output or tools, never sources.
const SKIPPED_FOLDERS: [&str; 3] = ["target", "node_modules", "__pycache__"];
/// Files whose text rules read, by the end of their names.
const TEXT_ENDINGS: [&str; 5] = [".rs", ".py", ".md", ".toml", ".txt"];
/// Larger files are data, not sources.
const TEXT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One text file.
pub struct Source {
    /// Path relative to the root, with `/`.
    pub path: String,
    /// The whole text.
    pub text: String,
    syntax: OnceCell<Result<syn::File, String>>,
}

impl Source {
    /// The parsed file; `None` for what is not Rust or does not parse (rule `syntax` reports that).
    pub fn syntax(&self) -> Option<&syn::File> {
        self.parsed()?.as_ref().ok()
    }

    /// Why a Rust file does not parse.
    pub fn syntax_error(&self) -> Option<&str> {
        self.parsed()?.as_ref().err().map(String::as_str)
    }

    fn parsed(&self) -> Option<&Result<syn::File, String>> {
        self.path.ends_with(".rs").then(|| {
            self.syntax
                .get_or_init(|| syn::parse_file(&self.text).map_err(|error| error.to_string()))
        })
    }
}

/// All files of a repository.
pub struct Repository {
    sources: BTreeMap<String, Source>,
    paths: BTreeSet<String>,
}

impl Repository {
    /// A repository of these files only; tests of rules use it.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let mut repository = Self {
            sources: BTreeMap::new(),
            paths: BTreeSet::new(),
        };
        for (path, text) in files {
            repository.add_path(path);
            repository.add_source(path, (*text).to_owned());
        }
        repository
    }

    /// Reads every file below `root` that is not build output.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut repository = Self::of(&[]);
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    let is_hidden = name.starts_with('.') && name != ".ci";
                    if !is_hidden && !SKIPPED_FOLDERS.contains(&name.as_str()) {
                        folders.push(path);
                    }
                    continue;
                }
                let relative = path.strip_prefix(root).map_err(io::Error::other)?;
                let relative = relative.to_string_lossy().replace('\\', "/");
                repository.add_path(&relative);
                let is_text = TEXT_ENDINGS.iter().any(|ending| name.ends_with(ending));
                if is_text && entry.metadata()?.len() <= TEXT_BYTES_MAX {
                    let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                    repository.add_source(&relative, text);
                }
            }
        }
        Ok(repository)
    }

    fn add_path(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            self.paths.insert(path[..at].to_owned());
        }
        self.paths.insert(path.to_owned());
    }

    fn add_source(&mut self, path: &str, text: String) {
        let source = Source {
            path: path.to_owned(),
            text,
            syntax: OnceCell::new(),
        };
        self.sources.insert(path.to_owned(), source);
    }

    /// Whether a file or folder of this path exists.
    pub fn exists(&self, path: &str) -> bool {
        self.paths.contains(path.trim_end_matches('/'))
    }

    /// Paths of all files and folders, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The text file of this path.
    pub fn source(&self, path: &str) -> Option<&Source> {
        self.sources.get(path)
    }

    /// All text files, sorted by path.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.values()
    }

    /// Rust files, sorted by path.
    pub fn rust(&self) -> impl Iterator<Item = &Source> {
        self.sources().filter(|source| source.path.ends_with(".rs"))
    }

    /// Names of the files and folders that lie directly in `folder`.
    pub fn children(&self, folder: &str) -> Vec<&str> {
        let inside = format!("{}/", folder.trim_end_matches('/'));
        self.paths()
            .filter_map(|path| path.strip_prefix(&inside))
            .filter(|rest| !rest.contains('/'))
            .collect()
    }
}
