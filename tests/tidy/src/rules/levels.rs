//! Top-level modules of `src` stand on levels, and use only what stands lower.

use crate::modules::edges;
use crate::{Finding, Repository, data};
use std::collections::{BTreeMap, BTreeSet};

const RULE: &str = "levels";
const FILE: &str = "tests/tidy/levels.txt";
/// Files that only declare modules.
const NO_MODULE: [&str; 1] = ["src/lib.rs"];

/// Uses of equal or higher levels, code for tests included, and modules without a level.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut levels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut findings = Vec::new();
    let present: BTreeSet<&str> = repository
        .rust()
        .filter(|source| !NO_MODULE.contains(&source.path.as_str()))
        .filter_map(|source| module_of(&source.path))
        .collect();
    for (level, row) in data::rows(repository, FILE).iter().enumerate() {
        for name in row.column(0).split_whitespace() {
            if levels.insert(name, level).is_some() {
                let message = format!("{name} stands on two levels");
                findings.push(Finding::new(RULE, FILE, row.line, message));
            }
            if !present.contains(name) {
                let message = format!("there is no module {name} in src");
                findings.push(Finding::new(RULE, FILE, row.line, message));
            }
        }
    }
    for name in &present {
        if !levels.contains_key(name) {
            let message = format!("the module {name} has no level");
            findings.push(Finding::new(RULE, FILE, 0, message));
        }
    }
    let mut reported = BTreeSet::new();
    for edge in edges(repository) {
        let Some(to) = edge.to.as_deref() else {
            continue;
        };
        let (Some(from), Some(to)) = (module_of(&edge.from), module_of(to)) else {
            continue;
        };
        let (Some(own), Some(other)) = (levels.get(from), levels.get(to)) else {
            continue;
        };
        if from != to && other >= own && reported.insert((edge.from.clone(), to.to_owned())) {
            let message = format!("{from} uses {to}, which is not lower ({})", edge.path);
            findings.push(Finding::new(RULE, &edge.from, edge.line, message));
        }
    }
    findings
}

/// The top-level module of a file of `src`.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    Some(first.trim_end_matches(".rs"))
}

#[cfg(test)]
mod tests {
    use super::{FILE, check};
    use crate::rules::found;

    const LIB: (&str, &str) = ("src/lib.rs", "pub mod low; pub mod high;");

    #[test]
    fn a_lower_module_may_be_used_and_a_higher_may_not() {
        let found = found(
            check,
            &[
                LIB,
                (FILE, "# lowest first\nlow\nhigh\n"),
                (
                    "src/low.rs",
                    "pub fn f() {}\n#[cfg(test)] fn g() { super::high::h() }",
                ),
                ("src/high.rs", "use crate::low::f; pub fn h() { f() }"),
            ],
        );
        assert_eq!(
            found,
            ["src/low.rs:2 low uses high, which is not lower (super::high::h)"]
        );
    }

    #[test]
    fn modules_of_one_level_do_not_use_each_other() {
        let found = found(
            check,
            &[
                LIB,
                (FILE, "low high\n"),
                ("src/low.rs", "pub fn f() {}"),
                ("src/high.rs", "use crate::low::f;"),
            ],
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn the_list_names_each_module_once() {
        let found = found(
            check,
            &[
                LIB,
                (FILE, "low gone\nlow\n"),
                ("src/low.rs", ""),
                ("src/high.rs", ""),
            ],
        );
        assert_eq!(found.len(), 3, "{found:#?}");
    }
}
