//! Files and folders of `src` that use each other in a circle. Code for tests is not looked at.

use crate::graph::Graph;
use crate::modules::{Edge, edges};
use crate::{Finding, Repository};
use std::collections::{BTreeMap, BTreeSet};

const RULE: &str = "cycles";

/// Cycles of files, and of the files and folders of each folder.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let uses = uses(repository);
    let mut findings = Vec::new();
    report("files", &uses, str::to_owned, &mut findings);
    for folder in folders(repository) {
        let inside = format!("{folder}/");
        let uses: Vec<_> = uses
            .iter()
            .filter(|edge| edge.from.starts_with(&inside) && edge.to.starts_with(&inside))
            .cloned()
            .collect();
        let name = |file: &str| contracted(repository, &inside, file);
        let title = format!("parts of {folder}");
        report(&title, &uses, name, &mut findings);
    }
    findings
}

/// Every use inside of a cycle of files, one line each: what to look at when a cycle is untied.
pub fn edges_in_cycles(repository: &Repository) -> Vec<String> {
    let uses = uses(repository);
    let mut lines = Vec::new();
    for cycle in graph(&uses, str::to_owned).cycles() {
        let members: BTreeSet<&String> = cycle.iter().collect();
        for edge in &uses {
            if members.contains(&edge.from) && members.contains(&edge.to) {
                lines.push(edge.line());
            }
        }
    }
    lines
}

/// A use of one file of `src` by another, outside of tests.
#[derive(Clone)]
struct Use {
    from: String,
    line: usize,
    to: String,
    path: String,
}

impl Use {
    fn line(&self) -> String {
        let Self {
            from,
            line,
            to,
            path,
        } = self;
        format!("{from}:{line} uses {to} ({path})")
    }
}

fn uses(repository: &Repository) -> Vec<Use> {
    let outside_tests = edges(repository).into_iter().filter(|edge| !edge.is_test);
    let inside = |edge: Edge| {
        Some(Use {
            from: edge.from,
            line: edge.line,
            to: edge.to?,
            path: edge.path,
        })
    };
    outside_tests.filter_map(inside).collect()
}

fn folders(repository: &Repository) -> BTreeSet<String> {
    let mut folders = BTreeSet::new();
    for source in repository.rust() {
        if source.path.starts_with("src/") {
            for (at, _) in source.path.match_indices('/') {
                folders.insert(source.path[..at].to_owned());
            }
        }
    }
    folders
}

/// The part of the folder `inside` (with `/` at its end) to which a file belongs; a folder ends with `/`.
fn contracted(repository: &Repository, inside: &str, file: &str) -> String {
    let rest = file.strip_prefix(inside).unwrap_or(file);
    if let Some((first, _)) = rest.split_once('/') {
        return format!("{inside}{first}/");
    }
    // `a.rs` beside the folder `a` is that folder's own module.
    let folder = format!("{inside}{}", rest.trim_end_matches(".rs"));
    if repository.exists(&folder) {
        return format!("{folder}/");
    }
    file.to_owned()
}

fn graph(uses: &[Use], name: impl Fn(&str) -> String) -> Graph {
    let mut graph = Graph::default();
    for edge in uses {
        graph.add(&name(&edge.from), &name(&edge.to));
    }
    graph
}

fn report(title: &str, uses: &[Use], name: impl Fn(&str) -> String, findings: &mut Vec<Finding>) {
    let graph = graph(uses, &name);
    for cycle in graph.cycles() {
        let only_files = cycle.iter().all(|member| !member.ends_with('/'));
        // A cycle among the files of one folder is reported as a cycle of files.
        if only_files && title != "files" {
            continue;
        }
        let members: BTreeSet<&String> = cycle.iter().collect();
        let mut examples: BTreeMap<String, &Use> = BTreeMap::new();
        for edge in uses {
            let (from, to) = (name(&edge.from), name(&edge.to));
            if from != to && members.contains(&from) && members.contains(&to) {
                examples.entry(from).or_insert(edge);
            }
        }
        let mut message = format!("{} {title} use each other in a circle", cycle.len());
        let mut shortest = graph.shortest_cycle(&cycle[0]);
        shortest.push(cycle[0].clone());
        message.push_str(&format!(": {}", shortest.join(" → ")));
        for edge in examples.values() {
            message.push_str(&format!("\n    {}", edge.line()));
        }
        if let Some(edge) = examples.get(&cycle[0]) {
            findings.push(Finding::new(RULE, &edge.from, edge.line, message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    #[test]
    fn two_files_in_a_circle_are_found() {
        let found = found(
            check,
            &[
                ("src/lib.rs", "mod a; mod b; mod c;"),
                ("src/a.rs", "\nuse crate::b::B; pub struct A;"),
                ("src/b.rs", "pub struct B(crate::a::A);"),
                ("src/c.rs", "use crate::a::A;"),
            ],
        );
        assert_eq!(
            found,
            ["src/a.rs:2 2 files use each other in a circle: \
              src/a.rs → src/b.rs → src/a.rs\
              \n    src/a.rs:2 uses src/b.rs (crate::b::B)\
              \n    src/b.rs:1 uses src/a.rs (crate::a::A)"]
        );
    }

    #[test]
    fn folders_in_a_circle_are_found_though_their_files_are_not() {
        let found = found(
            check,
            &[
                ("src/lib.rs", "mod m;"),
                ("src/m/mod.rs", "mod a; mod b;"),
                ("src/m/a/mod.rs", "pub mod low; mod high;"),
                ("src/m/a/low.rs", "pub fn f() {}"),
                ("src/m/a/high.rs", "use super::super::b::g;"),
                ("src/m/b.rs", "use super::a::low::f; pub fn g() { f() }"),
            ],
        );
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("2 parts of src/m use each other"));
        assert!(found[0].contains("src/m/a/ → src/m/b.rs → src/m/a/"));
    }

    #[test]
    fn tests_and_declarations_make_no_circle() {
        let found = found(
            check,
            &[
                ("src/lib.rs", "mod a; mod b;"),
                ("src/a/mod.rs", "mod c; pub fn f() { b::g() } use crate::b;"),
                ("src/a/c.rs", "use super::f;"),
                (
                    "src/b.rs",
                    "pub fn g() {} #[cfg(test)] mod tests { use crate::a::f; }",
                ),
            ],
        );
        assert!(found.is_empty(), "{found:#?}");
    }
}
