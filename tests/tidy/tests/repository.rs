//! Runs each rule over this repository.

use ringside_tidy::{Repository, check, rule};
use std::path::Path;

fn holds(name: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let repository = Repository::read(&root).expect("the repository is readable");
    assert!(repository.rust().count() > 60);
    let findings = check(rule(name).expect("a rule"), &repository);
    for finding in &findings {
        println!("{finding}");
    }
    assert!(findings.is_empty(), "{} findings", findings.len());
}

#[test]
fn syntax() {
    holds("syntax");
}

#[test]
#[ignore = "the tree is being moved"]
fn cycles() {
    holds("cycles");
}

#[test]
fn levels() {
    holds("levels");
}

#[test]
#[ignore = "the tree is being moved"]
fn tuple_parameters() {
    holds("tuple-parameters");
}

#[test]
#[ignore = "the tree is being moved"]
fn many_parameters() {
    holds("many-parameters");
}

#[test]
#[ignore = "the tree is being moved"]
fn long_functions() {
    holds("long-functions");
}

#[test]
#[ignore = "the tree is being moved"]
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
#[ignore = "the tree is being moved"]
fn decision_records() {
    holds("decision-records");
}

#[test]
fn links() {
    holds("links");
}

#[test]
#[ignore = "the tree is being moved"]
fn rustfmt_skip() {
    holds("rustfmt-skip");
}

#[test]
#[ignore = "the tree is being moved"]
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
#[ignore = "the tree is being moved"]
fn string_outcomes() {
    holds("string-outcomes");
}

#[test]
fn duplicate_lists() {
    holds("duplicate-lists");
}

#[test]
#[ignore = "the tree is being moved"]
fn struct_size() {
    holds("struct-size");
}
