//! Paths that Markdown files quote: `src/…`, `tests/…`, or a Rust file below `src`.

use crate::{Finding, Repository};

const RULE: &str = "quoted-paths";
/// Top-level folders whose files are named in documentation.
const FOLDERS: [&str; 8] = [
    "src", "tests", "docs", "benches", "loadtest", "models", "examples", "tools",
];
/// Paths that the project's own commands create: they may be named and need not exist.
const CREATED: [&str; 2] = ["tests/fuzz/target", "models/runtime"];
/// Decision records have a rule of their own: closed ones may name what is gone.
const RECORDS: &str = "docs/adr/";

/// Quoted paths that do not exist.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.sources() {
        if !source.path.ends_with(".md") || source.path.starts_with(RECORDS) {
            continue;
        }
        for (line, named) in missing(repository, &source.text) {
            let message = format!("there is no {named}");
            findings.push(Finding::new(RULE, &source.path, line, message));
        }
    }
    findings
}

/// Line and path of each quoted path that does not exist.
pub(super) fn missing<'t>(repository: &Repository, text: &'t str) -> Vec<(usize, &'t str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            if let Some(named) = repository_path(quoted)
                && !repository.exists(named)
            {
                found.push((index + 1, named));
            } else if let Some(named) = source_path(quoted)
                && !repository.exists(&format!("src/{named}"))
            {
                found.push((index + 1, named));
            }
        }
    }
    found
}

/// A Rust file that is named from `src`, such as `server/acceptor.rs`.
fn source_path(quoted: &str) -> Option<&str> {
    let (first, _) = quoted.split_once('/')?;
    let is_word = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
    let is_path = quoted.ends_with(".rs") && quoted.chars().all(is_word);
    (is_path && !FOLDERS.contains(&first)).then_some(quoted)
}

/// The path of this repository that quoted text begins with: `src/a.rs:3` and `loadtest/rig 2` name
/// one, patterns with `*` or `<` up to their last folder.
fn repository_path(quoted: &str) -> Option<&str> {
    let word = quoted.split_whitespace().next()?;
    let (first, _) = word.split_once('/')?;
    let is_created = CREATED.iter().any(|path| word.starts_with(path));
    if !FOLDERS.contains(&first) || is_created {
        return None;
    }
    let word = word.split(':').next()?.trim_end_matches('/');
    match word.find(['*', '<', '{', '…']) {
        Some(at) => word[..at].rsplit_once('/').map(|(folder, _)| folder),
        None => Some(word),
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    #[test]
    fn quoted_paths_must_exist() {
        let text = "`src/a.rs` `a.rs` `b/c.rs` `src/gone.rs` `b/gone.rs` `/v1/x` `src/*.rs` `models/runtime/x`\n";
        let files = [("src/a.rs", ""), ("src/b/c.rs", ""), ("README.md", text)];
        assert_eq!(
            found(check, &files),
            [
                "README.md:1 there is no b/gone.rs",
                "README.md:1 there is no src/gone.rs"
            ]
        );
    }
}
