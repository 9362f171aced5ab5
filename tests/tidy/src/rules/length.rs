//! How long files and functions are, and how files begin.

use crate::syntax::line_of;
use crate::{Finding, Repository};
use proc_macro2::Span;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

/// Longest function, from its signature to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file.
const FILE_LINES_MAX: usize = 500;

/// Functions that are too long, tests included.
pub(super) fn functions(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.rust() {
        if let Some(file) = source.syntax() {
            let mut functions = Functions::default();
            functions.visit_file(file);
            for (name, line, lines) in functions.found {
                if lines > FUNCTION_LINES_MAX {
                    let message = format!("`{name}` has {lines} lines");
                    findings.push(Finding::new("long-functions", &source.path, line, message));
                }
            }
        }
    }
    findings
}

/// Files of `src` and `tests` that are too long.
pub(super) fn files(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.rust() {
        let lines = source.text.lines().count();
        let is_limited = source.path.starts_with("src/") || source.path.starts_with("tests/");
        if is_limited && lines > FILE_LINES_MAX {
            let message = format!("the file has {lines} lines");
            findings.push(Finding::new("long-files", &source.path, 0, message));
        }
    }
    findings
}

/// Files that do not begin by saying what they hold.
pub(super) fn headers(repository: &Repository) -> Vec<Finding> {
    let without = repository
        .rust()
        .filter(|source| !source.text.starts_with("//!"));
    without
        .map(|source| {
            Finding::new(
                "file-header",
                &source.path,
                1,
                "the file does not begin with //!",
            )
        })
        .collect()
}

/// Name, first line and number of lines of each function with a body.
#[derive(Default)]
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &Signature, block: &Block) {
        let start = start_of(signature);
        let first = line_of(start);
        let last = block.brace_token.span.close().end().line;
        self.found
            .push((signature.ident.to_string(), first, last + 1 - first));
    }
}

/// Where `const`, `async` or `fn` stands.
fn start_of(signature: &Signature) -> Span {
    syn::spanned::Spanned::span(signature)
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::{files, functions, headers};
    use crate::rules::found;

    /// A body that makes a function of `lines` lines.
    fn body(lines: usize) -> String {
        format!("{{{}}}", "\n".repeat(lines - 1))
    }

    #[test]
    fn functions_of_all_kinds_are_measured() {
        for (before, after) in [
            ("fn f() ", ""),
            ("impl S { pub async fn f() ", "}"),
            ("trait T { fn f() ", "}"),
            ("#[cfg(test)] mod tests { fn f() ", "}"),
            ("fn g() { fn f() {} } fn f() { let x = || ", ";}"),
        ] {
            let short = format!("{before}{}{after}", body(70));
            assert!(found(functions, &[("src/a.rs", &short)]).is_empty());
            let long = format!("{before}{}{after}", body(71));
            let found = found(functions, &[("src/a.rs", &long)]);
            assert_eq!(found, ["src/a.rs:1 `f` has 71 lines"]);
        }
    }

    #[test]
    fn attributes_and_documentation_do_not_count() {
        let text = format!("/// Says.\n#[inline]\nfn f() {}", body(70));
        assert!(found(functions, &[("src/a.rs", &text)]).is_empty());
    }

    #[test]
    fn files_of_tests_are_measured_too() {
        let long = "//\n".repeat(501);
        assert_eq!(found(files, &[("tests/a.rs", &long)]).len(), 1);
        assert_eq!(found(files, &[("src/a.rs", &long)]).len(), 1);
        assert!(found(files, &[("src/a.rs", &long[3..])]).is_empty());
    }

    #[test]
    fn a_file_begins_with_its_description() {
        assert!(found(headers, &[("src/a.rs", "//! Holds.\n")]).is_empty());
        assert_eq!(found(headers, &[("src/a.rs", "// Holds.\n")]).len(), 1);
    }
}
