//! Lists that name every file of a folder: a file that was written and not listed would never run.

use crate::syntax::line_of;
use crate::{Finding, Repository, data};
use std::collections::BTreeSet;
use syn::visit::{self, Visit};

const RULE: &str = "duplicate-lists";
const FILE: &str = "tests/tidy/registries.txt";

/// Files and folders that their list does not name, and entries of `registries.txt` that fit nothing.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in data::rows(repository, FILE) {
        let (folder, registry, list) = (row.column(0), row.column(1), row.column(2));
        let exempt = row.list(3);
        let mut names = StaticNames {
            wanted: list,
            line: 0,
            found: BTreeSet::new(),
        };
        if let Some(file) = repository.source(registry).and_then(|file| file.syntax()) {
            names.visit_file(file);
        }
        if names.line == 0 {
            let message = format!("{registry} has no static {list}");
            findings.push(Finding::new(RULE, FILE, row.line, message));
            continue;
        }
        let children = repository.children(folder);
        for name in &exempt {
            let stems: Vec<&str> = children.iter().map(|child| stem(child)).collect();
            if !stems.contains(name) {
                let message = format!("{folder} has no {name} to exempt");
                findings.push(Finding::new(RULE, FILE, row.line, message));
            }
        }
        let mut reported = BTreeSet::new();
        for child in children {
            let name = stem(child);
            let is_registry = format!("{folder}/{child}") == registry || name == "mod";
            let is_rust = child.ends_with(".rs") || !child.contains('.');
            let is_listed = names.found.contains(name) || exempt.contains(&name);
            if is_rust && !is_registry && !is_listed && reported.insert(name.to_owned()) {
                let message = format!("{list} does not name {folder}/{child}");
                findings.push(Finding::new(RULE, registry, names.line, message));
            }
        }
    }
    findings
}

fn stem(name: &str) -> &str {
    name.strip_suffix(".rs").unwrap_or(name)
}

/// All names in the value of one `static` or `const`.
struct StaticNames<'a> {
    wanted: &'a str,
    line: usize,
    found: BTreeSet<String>,
}

impl StaticNames<'_> {
    fn read(&mut self, name: &proc_macro2::Ident, value: &syn::Expr) {
        if name == self.wanted {
            self.line = line_of(name.span());
            let mut names = Names {
                found: &mut self.found,
            };
            names.visit_expr(value);
        }
    }
}

impl<'ast> Visit<'ast> for StaticNames<'_> {
    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.read(&item.ident, &item.expr);
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.read(&item.ident, &item.expr);
    }
}

struct Names<'a> {
    found: &'a mut BTreeSet<String>,
}

impl Names<'_> {
    fn read_tokens(&mut self, tokens: proc_macro2::TokenStream) {
        for token in tokens {
            match token {
                proc_macro2::TokenTree::Ident(name) => {
                    self.found.insert(name.to_string());
                }
                proc_macro2::TokenTree::Group(group) => self.read_tokens(group.stream()),
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_ident(&mut self, name: &'ast proc_macro2::Ident) {
        self.found.insert(name.to_string());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.read_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE, check};
    use crate::rules::found;

    #[test]
    fn a_file_that_is_in_no_list_is_found() {
        let found = found(
            check,
            &[
                (FILE, "src/p\tsrc/p/mod.rs\tALL\tshared\n"),
                (
                    "src/p/mod.rs",
                    "pub mod a;\npub static ALL: [&T; 2] = [&a::T, &b::T];",
                ),
                ("src/p/a.rs", ""),
                ("src/p/b/mod.rs", ""),
                ("src/p/c.rs", ""),
                ("src/p/shared.rs", ""),
            ],
        );
        assert_eq!(found, ["src/p/mod.rs:2 ALL does not name src/p/c.rs"]);
    }

    #[test]
    fn lists_and_exemptions_that_are_gone_are_found() {
        let found = found(
            check,
            &[
                (
                    FILE,
                    "src/p\tsrc/p/mod.rs\tALL\tgone\nsrc/p\tsrc/p/mod.rs\tOTHER\n",
                ),
                ("src/p/mod.rs", "static ALL: [u8; 0] = [];"),
            ],
        );
        assert_eq!(
            found,
            [
                format!("{FILE}:1 src/p has no gone to exempt"),
                format!("{FILE}:2 src/p/mod.rs has no static OTHER")
            ]
        );
    }
}
