//! Runs each rule over this repository.

use ringside_tidy::{Repository, check, rule};
use std::path::Path;

/// No finding.
fn holds(name: &str) {
    holds_but_for(name, 0);
}

/// No more findings than were left when the rule was introduced. The number only falls: a test with
/// fewer findings than it says fails too, until the number is lowered.
fn holds_but_for(name: &str, left: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = Repository::read(&root).expect("the repository is readable");
    assert!(repository.rust().count() > 60);
    let findings = check(rule(name).expect("a rule"), &repository);
    for finding in &findings {
        println!("{finding}");
    }
    assert_eq!(findings.len(), left, "findings of `{name}`");
}

#[test]
fn syntax() {
    holds("syntax");
}

#[test]
fn cycles() {
    holds_but_for("cycles", 3);
}

#[test]
fn levels() {
    holds("levels");
}

#[test]
fn tuple_parameters() {
    holds_but_for("tuple-parameters", 12);
}

#[test]
fn many_parameters() {
    holds_but_for("many-parameters", 2);
}

#[test]
fn long_functions() {
    holds_but_for("long-functions", 3);
}

#[test]
fn long_files() {
    holds_but_for("long-files", 6);
}

#[test]
fn file_header() {
    holds("file-header");
}

#[test]
fn retired_words() {
    holds_but_for("retired-words", 621);
}

#[test]
fn dead_files() {
    holds("dead-files");
}

#[test]
fn decision_records() {
    holds("decision-records");
}

#[test]
fn links() {
    holds("links");
}

#[test]
fn rustfmt_skip() {
    holds("rustfmt-skip");
}

#[test]
fn allow_reason() {
    holds_but_for("allow-reason", 35);
}

#[test]
fn unsafe_code() {
    holds("unsafe-code");
}

#[test]
fn ownership() {
    holds("ownership");
}

#[test]
fn string_outcomes() {
    holds_but_for("string-outcomes", 5);
}

#[test]
fn duplicate_lists() {
    holds("duplicate-lists");
}

#[test]
fn struct_size() {
    holds_but_for("struct-size", 1);
}

#[test]
fn additions() {
    holds("additions");
}

#[test]
fn quoted_paths() {
    holds("quoted-paths");
}
