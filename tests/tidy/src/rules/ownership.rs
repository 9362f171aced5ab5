//! Crates and functions that only certain folders of `src` may use, by the paths that code resolves to.

use crate::modules::{Edge, edges};
use crate::syntax::{line_of, visit_without_tests};
use crate::{Finding, Repository, data};
use syn::visit::{self, Visit};

const RULE: &str = "ownership";
const FILE: &str = "tests/tidy/owners.txt";

/// One line of the list.
struct Owner<'a> {
    path: &'a str,
    folders: Vec<&'a str>,
    why: &'a str,
}

/// Uses outside of the folders, code for tests excepted.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let rows = data::rows(repository, FILE);
    let owners: Vec<Owner<'_>> = rows
        .iter()
        .map(|row| Owner {
            path: row.column(0),
            folders: row.list(1),
            why: row.column(2),
        })
        .collect();
    let mut findings = Vec::new();
    let outside = edges(repository);
    for edge in outside
        .iter()
        .filter(|edge| edge.to.is_none() && !edge.is_test)
    {
        for owner in owners.iter().filter(|owner| owner.is_breached(edge)) {
            findings.push(owner.finding(&edge.from, edge.line, &edge.path));
        }
    }
    for source in repository
        .rust()
        .filter(|source| source.path.starts_with("src/"))
    {
        let mut calls = MethodCalls::default();
        if let Some(file) = source.syntax() {
            visit_without_tests(file, &mut calls);
        }
        for (name, line) in calls.found {
            let of_name = owners
                .iter()
                .filter(|owner| owner.path.strip_prefix('.') == Some(name.as_str()));
            for owner in of_name.filter(|owner| !owner.may(&source.path)) {
                findings.push(owner.finding(&source.path, line, &name));
            }
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

impl Owner<'_> {
    fn may(&self, file: &str) -> bool {
        self.folders.iter().any(|folder| {
            let rest = file
                .strip_prefix("src/")
                .and_then(|f| f.strip_prefix(folder));
            rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
        })
    }

    fn is_breached(&self, edge: &Edge) -> bool {
        if self.may(&edge.from) {
            return false;
        }
        let is_method = self
            .path
            .strip_prefix('.')
            .is_some_and(|name| edge.path.rsplit("::").next() == Some(name) && edge.path != name);
        if is_method {
            return true;
        }
        // `use std::sync::*` brings `std::sync::Mutex` in.
        let covers = edge.is_glob && is_at_or_below(self.path, &edge.path);
        if !covers && !is_at_or_below(&edge.path, self.path) {
            return false;
        }
        // A type of an owned crate may be handed on by its owner; a single function may not.
        let is_crate = !self.path.contains("::");
        !(is_crate && edge.through.iter().any(|file| self.may(file)))
    }

    fn finding(&self, file: &str, line: usize, used: &str) -> Finding {
        let folders = match self.folders.as_slice() {
            [] => "nothing may".to_owned(),
            folders => format!("only {} may", folders.join(", ")),
        };
        let message = format!("uses {used}; {folders}: {}", self.why);
        Finding::new(RULE, file, line, message)
    }
}

/// Whether `path` is `top`, or something inside of it.
fn is_at_or_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[derive(Default)]
struct MethodCalls {
    found: Vec<(String, usize)>,
}

impl<'ast> Visit<'ast> for MethodCalls {
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.found
            .push((call.method.to_string(), line_of(call.method.span())));
        visit::visit_expr_method_call(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE, check};
    use crate::rules::found;

    const OWNERS: (&str, &str) = (
        FILE,
        "tokio\tcontrol\tit is slow\nstd::time::Instant::now\truntime\ttime is passed in\n\
         std::sync::Mutex\t\tit poisons\n.to_socket_addrs\t\tit blocks\n",
    );
    const LIB: (&str, &str) = ("src/lib.rs", "mod a; mod control; mod runtime;");

    fn count(text: &str) -> usize {
        let control = (
            "src/control/mod.rs",
            "pub use tokio::net::Socket; use tokio::spawn;",
        );
        let runtime = ("src/runtime.rs", "pub use std::time::Instant;");
        found(check, &[OWNERS, LIB, control, runtime, ("src/a.rs", text)]).len()
    }

    #[test]
    fn uses_outside_of_the_owner_are_found() {
        for bad in [
            "use tokio::spawn;",
            "use tokio as t;",
            "fn f() { ::tokio::spawn() }",
            "use std::time::Instant as I; fn f() { I::now() }",
            "use std::time; fn f() { x.map(time::Instant::now) }",
            "fn f() { crate::runtime::Instant::now() }",
            "use std::{sync::{Arc, Mutex}};",
            "use std::sync::*;",
            "fn f(x: &std::sync::Mutex<u8>) {}",
            "fn f() { \"host:1\".to_socket_addrs() }",
            "fn f() { std::net::ToSocketAddrs::to_socket_addrs(&x) }",
            "#[cfg(test)] mod tests {} use tokio::spawn;",
            "fn f() { println!(\"{:?}\", std::time::Instant::now()) }",
        ] {
            assert_eq!(count(bad), 1, "{bad}");
        }
    }

    #[test]
    fn other_uses_are_free() {
        for good in [
            "use std::time::Instant; fn f(now: Instant) {}",
            "use std::sync::{Arc, MutexGuard};",
            "use crate::control::Socket;",
            "mod tokio { pub fn f() {} } fn g() { tokio::f() }",
            "#[cfg(test)] mod tests { use tokio::spawn; }",
            "// use tokio::spawn;",
        ] {
            assert_eq!(count(good), 0, "{good}");
        }
    }
}
