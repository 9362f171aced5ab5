//! How many parameters a function has, and whether any hides several in a tuple. Closures are free.

use crate::syntax::{line_of, visit_without_tests};
use crate::{Finding, Repository};
use syn::visit::{self, Visit};
use syn::{FnArg, Pat, Signature, Type};

/// Most parameters besides self.
const PARAMETERS_MAX: usize = 6;

/// Parameters whose type or pattern is a tuple, outside of tests.
pub(super) fn tuples(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.rust() {
        let Some(file) = source.syntax() else {
            continue;
        };
        let mut signatures = Signatures::default();
        visit_without_tests(file, &mut signatures);
        for signature in signatures.found {
            for parameter in &signature.inputs {
                let FnArg::Typed(typed) = parameter else {
                    continue;
                };
                if is_tuple_type(&typed.ty) || is_tuple_pattern(&typed.pat) {
                    let line = line_of(syn::spanned::Spanned::span(typed));
                    let message = format!("`{}` takes a tuple", signature.ident);
                    findings.push(Finding::new(
                        "tuple-parameters",
                        &source.path,
                        line,
                        message,
                    ));
                }
            }
        }
    }
    findings
}

/// Functions with more parameters than the limit.
pub(super) fn many(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.rust() {
        let Some(file) = source.syntax() else {
            continue;
        };
        let mut signatures = Signatures::default();
        signatures.visit_file(file);
        for signature in signatures.found {
            let inputs = signature.inputs.iter();
            let count = inputs
                .filter(|input| matches!(input, FnArg::Typed(_)))
                .count();
            if count > PARAMETERS_MAX {
                let message = format!("`{}` has {count} parameters", signature.ident);
                let line = line_of(signature.ident.span());
                findings.push(Finding::new("many-parameters", &source.path, line, message));
            }
        }
    }
    findings
}

#[derive(Default)]
struct Signatures<'ast> {
    found: Vec<&'ast Signature>,
}

impl<'ast> Visit<'ast> for Signatures<'ast> {
    fn visit_signature(&mut self, signature: &'ast Signature) {
        self.found.push(signature);
        visit::visit_signature(self, signature);
    }
}

fn is_tuple_type(kind: &Type) -> bool {
    match kind {
        Type::Tuple(tuple) => !tuple.elems.is_empty(),
        Type::Reference(inner) => is_tuple_type(&inner.elem),
        Type::Ptr(inner) => is_tuple_type(&inner.elem),
        Type::Paren(inner) => is_tuple_type(&inner.elem),
        Type::Group(inner) => is_tuple_type(&inner.elem),
        _ => false,
    }
}

fn is_tuple_pattern(pattern: &Pat) -> bool {
    match pattern {
        Pat::Tuple(_) => true,
        Pat::Reference(inner) => is_tuple_pattern(&inner.pat),
        Pat::Paren(inner) => is_tuple_pattern(&inner.pat),
        Pat::Ident(name) => name
            .subpat
            .as_ref()
            .is_some_and(|(_, inner)| is_tuple_pattern(inner)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{many, tuples};
    use crate::rules::found;

    #[test]
    fn tuples_are_found_in_functions_methods_and_traits() {
        for bad in [
            "fn f(x: (u8, u8)) {}",
            "fn f(x: &(u8, u8)) {}",
            "fn f(x: &mut (u8,)) {}",
            "fn f((x, y): Pair) {}",
            "fn f(&(x, y): &Pair) {}",
            "impl S { fn f(&self, x: (u8, u8)) {} }",
            "trait T { fn f(&self, x: (u8, u8)); }",
            "mod m { fn g() { fn f(x: (u8, u8)) {} } }",
            "#[cfg(test)] mod tests {} fn f(x: (u8, u8)) {}",
        ] {
            let found = found(tuples, &[("src/a.rs", bad)]);
            assert_eq!(found, ["src/a.rs:1 `f` takes a tuple"], "{bad}");
        }
    }

    #[test]
    fn other_parameters_are_no_tuples() {
        for good in [
            "fn f(x: (), y: &[(u8, u8)], z: Option<(u8, u8)>) {}",
            "fn f() { [(1, 2)].iter().map(|(x, y): &(u8, u8)| x + y); }",
            "#[cfg(test)] mod tests { fn f(x: (u8, u8)) {} }",
            "#[test] fn f(x: (u8, u8)) {}",
            "fn f(Pair(x, y): Pair, g: impl Fn((u8, u8))) {}",
        ] {
            assert!(found(tuples, &[("src/a.rs", good)]).is_empty(), "{good}");
        }
    }

    #[test]
    fn the_seventh_parameter_is_found() {
        let six = "impl S { fn f(&self, a: A, b: A, c: A, d: A, e: A, f: A) {} }";
        let seven = "fn f(a: A, b: A, c: A, d: A, e: A, f: A, g: A) {}";
        assert!(found(many, &[("src/a.rs", six)]).is_empty());
        assert_eq!(
            found(many, &[("src/a.rs", seven)]),
            ["src/a.rs:1 `f` has 7 parameters"]
        );
    }
}
