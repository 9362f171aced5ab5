//! Runs each rule over this repository.

use ringside_tidy::{Repository, check, rule};
use std::path::Path;

/// No finding.
fn holds(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = Repository::read(&root).expect("the repository is readable");
    assert!(repository.rust().count() > 60);
    let findings = check(rule(name).expect("a rule"), &repository);
    for finding in &findings {
        println!("{finding}");
    }
    assert_eq!(findings.len(), 0, "findings of `{name}`");
}

#[test]
fn syntax() {
    holds("syntax");
}

#[test]
fn cycles() {
    holds("cycles");
}

#[test]
fn levels() {
    holds("levels");
}

#[test]
fn tuple_parameters() {
    holds("tuple-parameters");
}

#[test]
fn many_parameters() {
    holds("many-parameters");
}

#[test]
fn long_functions() {
    holds("long-functions");
}

#[test]
fn long_files() {
    holds("long-files");
}

#[test]
fn file_header() {
    holds("file-header");
}

#[test]
fn retired_words() {
    holds("retired-words");
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
    holds("allow-reason");
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
    holds("string-outcomes");
}

#[test]
fn duplicate_lists() {
    holds("duplicate-lists");
}

#[test]
fn struct_size() {
    holds("struct-size");
}

#[test]
fn additions() {
    holds("additions");
}

#[test]
fn quoted_paths() {
    holds("quoted-paths");
}
