//! Ways round the tools: `rustfmt::skip`, allowed lints without a reason, unsafe code.

use crate::syntax::line_of;
use crate::{Finding, Repository};
use proc_macro2::{TokenStream, TokenTree};

/// Code that rustfmt leaves alone.
pub(super) fn rustfmt_skip(repository: &Repository) -> Vec<Finding> {
    let is_skip = |window: &[TokenTree]| {
        is_name(window, 0, "rustfmt")
            && is_sign(window, 1, ':')
            && is_sign(window, 2, ':')
            && is_name(window, 3, "skip")
    };
    let message = "the code escapes rustfmt";
    search(repository, "rustfmt-skip", message, &is_skip)
}

/// `allow(…)` in an attribute, alone or in `cfg_attr`, without `reason = "…"`.
pub(super) fn allow_without_reason(repository: &Repository) -> Vec<Finding> {
    let is_allow = |window: &[TokenTree]| {
        // In an attribute, a lint is allowed at its beginning or after a comma of `cfg_attr`.
        let Some(TokenTree::Group(group)) = window.get(1) else {
            return false;
        };
        let words = group.stream().to_string();
        is_name(window, 0, "allow") && !words.contains("reason =")
    };
    let message = "a lint is allowed without a reason";
    let rule = "allow-reason";
    let mut findings = Vec::new();
    for source in repository.rust() {
        let Ok(tokens) = source.text.parse::<TokenStream>() else {
            continue;
        };
        let mut lines = Vec::new();
        attributes(tokens, &mut |attribute| {
            scan(attribute, &is_allow, &mut lines);
        });
        for line in lines {
            findings.push(Finding::new(rule, &source.path, line, message));
        }
    }
    findings
}

/// `unsafe` anywhere: blocks, functions, traits and their implementations, `extern` blocks, macros.
/// The name of the lint (`unsafe_code`) is another word.
pub(super) fn unsafe_code(repository: &Repository) -> Vec<Finding> {
    let is_unsafe = |window: &[TokenTree]| is_name(window, 0, "unsafe");
    search(repository, "unsafe-code", "unsafe code", &is_unsafe)
}

fn search(
    repository: &Repository,
    rule: &'static str,
    message: &str,
    is_wanted: &dyn Fn(&[TokenTree]) -> bool,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in repository.rust() {
        let Ok(tokens) = source.text.parse::<TokenStream>() else {
            continue;
        };
        let mut lines = Vec::new();
        scan(tokens, is_wanted, &mut lines);
        for line in lines {
            findings.push(Finding::new(rule, &source.path, line, message));
        }
    }
    findings
}

/// Lines at which `is_wanted` holds of the tokens from there on.
fn scan(tokens: TokenStream, is_wanted: &dyn Fn(&[TokenTree]) -> bool, lines: &mut Vec<usize>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        if is_wanted(&tokens[at..]) {
            lines.push(line_of(token.span()));
        }
        if let TokenTree::Group(group) = token {
            scan(group.stream(), is_wanted, lines);
        }
    }
}

/// Hands on the inside of each `#[…]` and `#![…]`.
fn attributes(tokens: TokenStream, found: &mut dyn FnMut(TokenStream)) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for (at, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let is_outer = at > 0 && is_sign(&tokens, at - 1, '#');
        let is_inner = at > 1 && is_sign(&tokens, at - 1, '!') && is_sign(&tokens, at - 2, '#');
        if is_outer || is_inner {
            found(group.stream());
        } else {
            attributes(group.stream(), found);
        }
    }
}

fn is_name(tokens: &[TokenTree], at: usize, wanted: &str) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Ident(name)) if name == wanted)
}

fn is_sign(tokens: &[TokenTree], at: usize, wanted: char) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(sign)) if sign.as_char() == wanted)
}

#[cfg(test)]
mod tests {
    use super::{allow_without_reason, rustfmt_skip, unsafe_code};
    use crate::rules::found;

    #[test]
    fn skipped_code_is_found() {
        for bad in [
            "#[rustfmt::skip] mod a;",
            "#![rustfmt::skip]",
            "#[cfg_attr(unix, rustfmt::skip)] fn f() {}",
            "fn f() { #[rustfmt::skip] let a = 1; }",
        ] {
            assert_eq!(found(rustfmt_skip, &[("src/a.rs", bad)]).len(), 1, "{bad}");
        }
        let good = "// rustfmt::skip\nconst A: &str = \"rustfmt::skip\";";
        assert!(found(rustfmt_skip, &[("src/a.rs", good)]).is_empty());
    }

    #[test]
    fn allowed_lints_need_a_reason() {
        for bad in [
            "#[allow(dead_code)] fn f() {}",
            "#![allow(dead_code)]",
            "#[cfg_attr(test, allow(dead_code))] fn f() {}",
            "fn f() { #[allow(unused)] let a = 1; }",
        ] {
            let found = found(allow_without_reason, &[("tests/a.rs", bad)]);
            assert_eq!(found.len(), 1, "{bad}");
        }
        let good = "#[allow(dead_code, reason = \"read by macros\")] fn f() { allow(a) }";
        assert!(found(allow_without_reason, &[("src/a.rs", good)]).is_empty());
    }

    #[test]
    fn unsafe_code_is_found() {
        for bad in [
            "fn f() { unsafe { g() } }",
            "unsafe fn f() {}",
            "unsafe impl Send for S {}",
            "macro_rules! m { () => { unsafe { f() } } }",
        ] {
            assert_eq!(found(unsafe_code, &[("src/a.rs", bad)]).len(), 1, "{bad}");
        }
        let good = "#![forbid(unsafe_code)] // unsafe { }";
        assert!(found(unsafe_code, &[("src/a.rs", good)]).is_empty());
    }
}
