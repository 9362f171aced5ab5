//! Which file of `src` uses which, and where.

use super::{Modules, ReferenceKind, build};
use crate::Repository;

/// The library's root.
const LIBRARY: &str = "src/lib.rs";
/// The command's root.
const COMMAND: &str = "src/main.rs";
/// The library's name in code of the command.
const LIBRARY_NAME: &str = "ringside";

/// One use of a file by another, or of something outside of the crate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The file that uses.
    pub from: String,
    /// Line of the use, from 1.
    pub line: usize,
    /// The file that is used; `None` for what belongs to another crate.
    pub to: Option<String>,
    /// The path as written; for what belongs to another crate, in full.
    pub path: String,
    /// Whether it stands in code that is compiled for tests only.
    pub is_test: bool,
    /// Whether it is `use …::*`.
    pub is_glob: bool,
    /// Files through which the name was found, besides the two.
    pub through: Vec<String>,
}

/// All uses in `src`, in the order of the code.
pub fn edges(repository: &Repository) -> Vec<Edge> {
    let library = build(repository, LIBRARY);
    let mut found = Vec::new();
    add_edges(&library, &library, &mut found);
    if repository.exists(COMMAND) {
        add_edges(&build(repository, COMMAND), &library, &mut found);
    }
    found
}

fn add_edges(modules: &Modules, library: &Modules, found: &mut Vec<Edge>) {
    for (id, module) in modules.all.iter().enumerate() {
        for reference in &module.references {
            let mut resolved = modules.resolve(id, &reference.path);
            let outside = resolved.external.take();
            if let Some(path) = &outside
                && path[0] == LIBRARY_NAME
                && !library.all.is_empty()
            {
                let inside = library.resolve(0, &with_crate(path));
                resolved.files.extend(inside.files);
                resolved.external = inside.external;
                resolved.module = inside.module;
            } else {
                resolved.external = outside;
            }
            if reference.kind == ReferenceKind::Macro && reference.path.len() == 1 {
                resolved.external = None;
                resolved
                    .files
                    .extend(modules.macros.get(&reference.path[0]).cloned());
            }
            // Both use what lies in the module without naming it.
            if matches!(
                reference.kind,
                ReferenceKind::Glob | ReferenceKind::Attribute
            ) {
                resolved.files.extend(resolved.module);
            }
            resolved.files.remove(&module.file);
            let edge = |to: Option<String>, path: String, through: Vec<String>| Edge {
                from: module.file.clone(),
                line: reference.line,
                to,
                path,
                is_test: reference.is_test,
                is_glob: reference.kind == ReferenceKind::Glob,
                through,
            };
            if let Some(path) = resolved.external {
                let through = resolved.files.iter().cloned().collect();
                found.push(edge(None, path.join("::"), through));
            }
            for file in resolved.files {
                found.push(edge(Some(file), reference.path.join("::"), Vec::new()));
            }
        }
    }
}

fn with_crate(path: &[String]) -> Vec<String> {
    let mut inside = path.to_vec();
    inside[0] = "crate".to_owned();
    inside
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(files: &[(&str, &str)]) -> Vec<String> {
        let edges = edges(&Repository::of(files));
        let inside = edges.iter().filter(|edge| !edge.is_test);
        inside
            .filter_map(|edge| Some(format!("{}:{} {}", edge.from, edge.line, edge.to.as_ref()?)))
            .collect()
    }

    #[test]
    fn declaring_a_module_is_no_use() {
        assert!(uses(&[("src/lib.rs", "pub mod a;"), ("src/a.rs", "fn f() {}")]).is_empty());
    }

    #[test]
    fn paths_of_all_kinds_are_resolved() {
        let lib = ("src/lib.rs", "mod a; mod b; mod c;");
        let a = ("src/a/mod.rs", "pub mod d; pub fn f() {} pub struct S;");
        let d = ("src/a/d.rs", "pub fn g() {}\nfn h() { super::f() }");
        let found = |text: &str| uses(&[lib, a, d, ("src/b.rs", text), ("src/c.rs", "")]);
        let up = "src/a/d.rs:2 src/a/mod.rs";
        for (text, to) in [
            ("use crate::a::S;", "src/a/mod.rs"),
            ("use super::a::{d::g};", "src/a/d.rs"),
            ("use crate::a::*;", "src/a/mod.rs"),
            ("use crate::a::d as e; fn f() { e::g() }", "src/a/d.rs"),
            ("use crate::a; fn f() { a::d::g() }", "src/a/d.rs"),
            ("fn f(x: &crate::a::S) {}", "src/a/mod.rs"),
            (
                "fn f(x: u8) { println!(\"{}\", crate::a::d::g()) }",
                "src/a/d.rs",
            ),
            ("fn f() { use crate::a::d; d::g() }", "src/a/d.rs"),
            ("#[serde(with = \"crate::a::d\")] struct T;", "src/a/d.rs"),
            (
                "#[serde(default = \"crate::a::d::g\")] struct T;",
                "src/a/d.rs",
            ),
            (
                "mod inner { fn f() { super::super::a::f() } }",
                "src/a/mod.rs",
            ),
        ] {
            let wanted = [up.to_owned(), format!("src/b.rs:1 {to}")];
            let mut found = found(text);
            found.sort();
            found.dedup();
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn a_re_export_is_used_together_with_what_it_names() {
        let found = uses(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a/mod.rs", "mod d;\npub use d::g;"),
            ("src/a/d.rs", "pub fn g() {}"),
            ("src/b.rs", "use crate::a::g;"),
        ]);
        assert_eq!(
            found,
            [
                "src/a/mod.rs:2 src/a/d.rs",
                "src/b.rs:1 src/a/d.rs",
                "src/b.rs:1 src/a/mod.rs"
            ]
        );
    }

    #[test]
    fn a_function_may_have_its_modules_name() {
        let found = uses(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a/mod.rs", "mod d;\npub use d::d;"),
            ("src/a/d.rs", "pub fn d() {}"),
            ("src/b.rs", "use crate::a::d;"),
        ]);
        assert_eq!(
            found,
            [
                "src/a/mod.rs:2 src/a/d.rs",
                "src/b.rs:1 src/a/d.rs",
                "src/b.rs:1 src/a/mod.rs"
            ]
        );
    }

    #[test]
    fn names_of_globs_and_macros_are_resolved() {
        let found = uses(&[
            ("src/lib.rs", "#[macro_use] mod a; mod b; mod c;"),
            ("src/a.rs", "macro_rules! list { () => {} }\npub struct S;"),
            ("src/b.rs", "pub use crate::a::*;"),
            ("src/c.rs", "list!();\nuse crate::b::S;"),
        ]);
        assert_eq!(
            found,
            [
                "src/b.rs:1 src/a.rs",
                "src/c.rs:1 src/a.rs",
                "src/c.rs:2 src/a.rs",
                "src/c.rs:2 src/b.rs"
            ]
        );
    }

    #[test]
    fn code_for_tests_is_marked_and_code_after_it_is_seen() {
        let found = uses(&[
            ("src/lib.rs", "mod a; mod b; #[cfg(test)] mod t;"),
            ("src/a.rs", "pub fn f() {}"),
            (
                "src/b.rs",
                "#[cfg(test)]\nmod tests { use crate::a::f; }\nfn g() { crate::a::f() }",
            ),
            ("src/t.rs", "use crate::a::f;"),
        ]);
        assert_eq!(found, ["src/b.rs:3 src/a.rs"]);
    }

    #[test]
    fn what_other_crates_hold_is_named_in_full() {
        let repository = Repository::of(&[
            ("src/lib.rs", "mod a;"),
            (
                "src/a.rs",
                "use std::time::Instant; fn f() { Instant::now(); }",
            ),
        ]);
        let edges = edges(&repository);
        let paths: Vec<&str> = edges.iter().map(|edge| edge.path.as_str()).collect();
        assert_eq!(paths, ["std::time::Instant", "std::time::Instant::now"]);
    }

    #[test]
    fn the_command_uses_the_library_by_its_name() {
        let found = uses(&[
            ("src/lib.rs", "pub mod a;"),
            ("src/a.rs", "pub fn f() {}"),
            ("src/main.rs", "fn main() { ringside::a::f() }"),
        ]);
        assert_eq!(found, ["src/main.rs:1 src/a.rs"]);
    }
}
