//! Checks of the shape of this repository: each rule is a function from the repository's files to
//! findings. Rules parse Rust with `syn`; they know nothing of what Ringside does.

pub mod cargo;
pub mod data;
pub mod exemptions;
pub mod finding;
pub mod graph;
pub mod markdown;
pub mod modules;
pub mod repository;
pub mod rules;
pub mod syntax;
pub mod text;

pub use finding::Finding;
pub use repository::Repository;
pub use rules::{RULES, Rule, rule};

/// Findings of one rule, without those that `exemptions.txt` names, in the order of files and lines.
pub fn check(rule: &Rule, repository: &Repository) -> Vec<Finding> {
    let mut findings = exemptions::apply(rule.name, repository, (rule.check)(repository));
    findings.sort();
    findings
}
