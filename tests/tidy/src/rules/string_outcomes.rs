//! Outcomes that are told apart by their text instead of their type, in code of `src` outside of tests.

use crate::syntax::{line_of, visit_without_tests};
use crate::{Finding, Repository};
use std::collections::BTreeSet;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, Lit, Pat};

const RULE: &str = "string-outcomes";
/// Fields, methods and variables that hold outcomes; names that end in `_` and one of these count too.
const NAMES: [&str; 10] = [
    "outcome",
    "code",
    "cache",
    "operation",
    "fault",
    "kind",
    "verdict",
    "result",
    "reason",
    "status",
];

/// Comparisons of outcomes with strings (literals, and constants that are strings), and `Err("")`.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let of_src = || {
        let inside = repository
            .rust()
            .filter(|source| source.path.starts_with("src/"));
        inside.filter_map(|source| Some((source, source.syntax()?)))
    };
    let mut constants = StringConstants::default();
    for (_, file) in of_src() {
        constants.visit_file(file);
    }
    let mut findings = Vec::new();
    for (source, file) in of_src() {
        let mut comparisons = Comparisons {
            constants: &constants.names,
            found: BTreeSet::new(),
        };
        visit_without_tests(file, &mut comparisons);
        for (line, message) in comparisons.found {
            findings.push(Finding::new(RULE, &source.path, line, message));
        }
    }
    findings
}

/// Names of constants whose type is `&str`.
#[derive(Default)]
struct StringConstants {
    names: BTreeSet<String>,
}

impl<'ast> Visit<'ast> for StringConstants {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        if let syn::Type::Reference(reference) = &*item.ty
            && let syn::Type::Path(path) = &*reference.elem
            && path.path.is_ident("str")
        {
            self.names.insert(item.ident.to_string());
        }
    }
}

struct Comparisons<'a> {
    constants: &'a BTreeSet<String>,
    found: BTreeSet<(usize, String)>,
}

/// What `matches!` takes.
struct MatchesInput {
    value: Expr,
    pattern: Pat,
}

impl Parse for MatchesInput {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let value = input.parse()?;
        input.parse::<syn::Token![,]>()?;
        let pattern = Pat::parse_multi_with_leading_vert(input)?;
        if input.peek(syn::Token![if]) {
            input.parse::<syn::Token![if]>()?;
            input.parse::<Expr>()?;
        }
        input.parse::<Option<syn::Token![,]>>()?;
        Ok(Self { value, pattern })
    }
}

impl Comparisons<'_> {
    fn compare(&mut self, one: &Expr, other: &Expr) {
        for (value, text) in [(one, other), (other, one)] {
            if self.is_string(text) {
                self.report(value);
            }
        }
    }

    fn report(&mut self, value: &Expr) {
        if let Some(name) = outcome_name(value) {
            let message = format!("`{name}` is compared with a string");
            self.found.insert((line_of(value.span()), message));
        }
    }

    fn is_string(&self, value: &Expr) -> bool {
        match value {
            Expr::Lit(literal) => matches!(literal.lit, Lit::Str(_)),
            Expr::Path(path) => self.is_string_constant(&path.path),
            Expr::Reference(inner) => self.is_string(&inner.expr),
            Expr::Paren(inner) => self.is_string(&inner.expr),
            Expr::Call(call) => call.args.iter().any(|value| self.is_string(value)),
            Expr::Array(array) => array.elems.iter().any(|value| self.is_string(value)),
            _ => false,
        }
    }

    fn is_string_constant(&self, path: &syn::Path) -> bool {
        let last = path.segments.last();
        last.is_some_and(|part| self.constants.contains(&part.ident.to_string()))
    }

    fn has_string(&self, pattern: &Pat) -> bool {
        match pattern {
            Pat::Lit(literal) => matches!(literal.lit, Lit::Str(_)),
            Pat::Path(path) => self.is_string_constant(&path.path),
            Pat::Ident(name) => self.constants.contains(&name.ident.to_string()),
            Pat::Or(or) => or.cases.iter().any(|case| self.has_string(case)),
            Pat::Paren(inner) => self.has_string(&inner.pat),
            Pat::Reference(inner) => self.has_string(&inner.pat),
            Pat::TupleStruct(inner) => inner.elems.iter().any(|part| self.has_string(part)),
            _ => false,
        }
    }

    fn match_one(&mut self, value: &Expr, pattern: &Pat) {
        if let (Expr::Tuple(values), Pat::Tuple(patterns)) = (value, pattern) {
            for (value, pattern) in values.elems.iter().zip(&patterns.elems) {
                self.match_one(value, pattern);
            }
        } else if let (Expr::Tuple(_), Pat::Or(or)) = (value, pattern) {
            or.cases.iter().for_each(|case| self.match_one(value, case));
        } else if self.has_string(pattern) {
            self.report(value);
        }
    }

    fn empty_error(&mut self, path: Option<&syn::Path>, literal: Option<&Lit>) {
        let is_error = path.is_some_and(|path| path.is_ident("Err"));
        if let Some(Lit::Str(text)) = literal
            && is_error
            && text.value().is_empty()
        {
            let message = "`Err(\"\")` says nothing".to_owned();
            self.found.insert((line_of(text.span()), message));
        }
    }
}

/// The name of the field, method or variable that a value comes from, when it is in the list.
fn outcome_name(value: &Expr) -> Option<String> {
    let name = match value {
        Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => name.to_string(),
            syn::Member::Unnamed(_) => return None,
        },
        Expr::MethodCall(call) => {
            let name = call.method.to_string();
            if !is_outcome(&name) {
                return outcome_name(&call.receiver);
            }
            name
        }
        Expr::Path(path) => path.path.get_ident()?.to_string(),
        Expr::Call(call) => match &*call.func {
            Expr::Path(path) if call.args.len() == 1 && path.path.is_ident("Some") => {
                return outcome_name(&call.args[0]);
            }
            Expr::Path(path) => path.path.segments.last()?.ident.to_string(),
            _ => return None,
        },
        Expr::Reference(inner) => return outcome_name(&inner.expr),
        Expr::Unary(inner) => return outcome_name(&inner.expr),
        Expr::Paren(inner) => return outcome_name(&inner.expr),
        Expr::Try(inner) => return outcome_name(&inner.expr),
        Expr::Await(inner) => return outcome_name(&inner.base),
        Expr::Index(inner) => return outcome_name(&inner.expr),
        _ => return None,
    };
    is_outcome(&name).then_some(name)
}

fn is_outcome(name: &str) -> bool {
    let last = name.rsplit('_').next().unwrap_or(name);
    NAMES.contains(&last)
}

impl<'ast> Visit<'ast> for Comparisons<'_> {
    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        if matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_)) {
            self.compare(&binary.left, &binary.right);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_match(&mut self, branch: &'ast syn::ExprMatch) {
        for arm in &branch.arms {
            self.match_one(&branch.expr, &arm.pat);
        }
        visit::visit_expr_match(self, branch);
    }

    fn visit_expr_let(&mut self, condition: &'ast syn::ExprLet) {
        self.match_one(&condition.expr, &condition.pat);
        visit::visit_expr_let(self, condition);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if let (Some(argument), true) = (call.args.first(), call.args.len() == 1) {
            if call.method == "contains" && matches!(&*call.receiver, Expr::Array(_)) {
                self.compare(argument, &call.receiver);
            } else if call.method == "eq" || call.method == "ne" {
                self.compare(&call.receiver, argument);
            }
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let (Expr::Path(path), Some(Expr::Lit(literal))) = (&*call.func, call.args.first()) {
            self.empty_error(Some(&path.path), Some(&literal.lit));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_pat_tuple_struct(&mut self, pattern: &'ast syn::PatTupleStruct) {
        if let Some(Pat::Lit(literal)) = pattern.elems.first() {
            self.empty_error(Some(&pattern.path), Some(&literal.lit));
        }
        visit::visit_pat_tuple_struct(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("matches")
            && let Ok(input) = call.parse_body::<MatchesInput>()
        {
            self.match_one(&input.value, &input.pattern);
        }
    }
}

#[cfg(test)]
#[path = "string_outcomes_tests.rs"]
mod tests;
