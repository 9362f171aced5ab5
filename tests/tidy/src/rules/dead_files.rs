//! Rust files that no crate reaches, declared modules without a file, and files that do not parse.

use crate::cargo::crate_roots;
use crate::modules::build;
use crate::{Finding, Repository};
use std::collections::BTreeSet;

const RULE: &str = "dead-files";

/// Files without a crate and modules without a file.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut findings = BTreeSet::new();
    for root in crate_roots(repository) {
        let modules = build(repository, &root);
        reached.extend(modules.files);
        for (file, line, path) in modules.missing {
            let message = format!("the module's file {path} does not exist");
            findings.insert(Finding::new(RULE, &file, line, message));
        }
    }
    for source in repository.rust() {
        if !reached.contains(&source.path) {
            let message = "no mod declaration reaches the file";
            findings.insert(Finding::new(RULE, &source.path, 0, message));
        }
    }
    findings.into_iter().collect()
}

/// Files that do not parse: the other rules do not see them.
pub(super) fn syntax(repository: &Repository) -> Vec<Finding> {
    let broken = repository
        .rust()
        .filter_map(|source| Some((source, source.syntax_error()?)));
    broken
        .map(|(source, error)| Finding::new("syntax", &source.path, 0, error))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{check, syntax};
    use crate::rules::found;

    #[test]
    fn a_file_that_no_module_declares_is_found() {
        let found = found(
            check,
            &[
                ("Cargo.toml", ""),
                (
                    "src/lib.rs",
                    "mod a; #[cfg(test)] #[path = \"a_tests.rs\"] mod tests;",
                ),
                ("src/a.rs", "mod b; mod inline { mod c; }"),
                ("src/a/b.rs", ""),
                ("src/a/inline/c.rs", ""),
                ("src/a/dead.rs", ""),
                ("src/a_tests.rs", ""),
                ("tests/integration/main.rs", "mod harness;"),
                ("tests/integration/harness.rs", ""),
                ("tests/integration/dead.rs", ""),
            ],
        );
        assert_eq!(
            found,
            [
                "src/a/dead.rs:0 no mod declaration reaches the file",
                "tests/integration/dead.rs:0 no mod declaration reaches the file"
            ]
        );
    }

    #[test]
    fn a_module_without_a_file_is_found() {
        let found = found(
            check,
            &[
                ("Cargo.toml", ""),
                ("src/lib.rs", "mod a;\n#[path = \"../x/y.rs\"]\nmod b;"),
            ],
        );
        assert_eq!(
            found,
            [
                "src/lib.rs:1 the module's file src/a.rs does not exist",
                "src/lib.rs:3 the module's file x/y.rs does not exist"
            ]
        );
    }

    #[test]
    fn a_file_that_does_not_parse_is_found() {
        assert_eq!(found(syntax, &[("src/a.rs", "fn (")]).len(), 1);
        assert!(found(syntax, &[("src/a.rs", "fn f() {}")]).is_empty());
    }
}
