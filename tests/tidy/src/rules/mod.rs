//! The rules, one file each.

mod additions;
mod cycles;
mod dead_files;
mod decision_records;
mod duplicate_lists;
mod escapes;
mod length;
mod levels;
mod links;
mod ownership;
mod parameters;
mod quoted_paths;
mod retired_words;
mod string_outcomes;
mod struct_size;
mod words;

pub use cycles::edges_in_cycles;

use crate::{Finding, Repository};

/// One rule.
pub struct Rule {
    /// Name in findings and on the command line.
    pub name: &'static str,
    /// What it asks for.
    pub meaning: &'static str,
    /// Looks for breaches.
    pub check: fn(&Repository) -> Vec<Finding>,
}

/// All rules.
pub static RULES: [Rule; 21] = [
    Rule {
        name: "syntax",
        meaning: "every Rust file parses",
        check: dead_files::syntax,
    },
    Rule {
        name: "cycles",
        meaning: "files and folders of src do not use each other in a circle",
        check: cycles::check,
    },
    Rule {
        name: "levels",
        meaning: "a module uses only modules of lower lines of levels.txt",
        check: levels::check,
    },
    Rule {
        name: "tuple-parameters",
        meaning: "no parameter is a tuple",
        check: parameters::tuples,
    },
    Rule {
        name: "many-parameters",
        meaning: "a function has at most six parameters besides self",
        check: parameters::many,
    },
    Rule {
        name: "long-functions",
        meaning: "a function has at most 70 lines",
        check: length::functions,
    },
    Rule {
        name: "long-files",
        meaning: "a file of src or tests has at most 500 lines",
        check: length::files,
    },
    Rule {
        name: "file-header",
        meaning: "a Rust file begins with //!",
        check: length::headers,
    },
    Rule {
        name: "retired-words",
        meaning: "words of retired_words.txt are not used",
        check: retired_words::check,
    },
    Rule {
        name: "dead-files",
        meaning: "every Rust file belongs to a crate, and every declared module has a file",
        check: dead_files::check,
    },
    Rule {
        name: "decision-records",
        meaning: "docs/adr has no gaps, and each record has a status, a date and paths that exist",
        check: decision_records::check,
    },
    Rule {
        name: "links",
        meaning: "links of Markdown files lead somewhere",
        check: links::check,
    },
    Rule {
        name: "quoted-paths",
        meaning: "paths that Markdown files quote exist",
        check: quoted_paths::check,
    },
    Rule {
        name: "rustfmt-skip",
        meaning: "no code escapes rustfmt",
        check: escapes::rustfmt_skip,
    },
    Rule {
        name: "allow-reason",
        meaning: "an allowed lint has a reason",
        check: escapes::allow_without_reason,
    },
    Rule {
        name: "unsafe-code",
        meaning: "there is no unsafe code",
        check: escapes::unsafe_code,
    },
    Rule {
        name: "ownership",
        meaning: "what owners.txt names is used in its folders only",
        check: ownership::check,
    },
    Rule {
        name: "string-outcomes",
        meaning: "outcomes are not compared as strings",
        check: string_outcomes::check,
    },
    Rule {
        name: "duplicate-lists",
        meaning: "what registries.txt names lists every file of its folder",
        check: duplicate_lists::check,
    },
    Rule {
        name: "struct-size",
        meaning: "a struct of src has at most 12 public fields",
        check: struct_size::check,
    },
    Rule {
        name: "additions",
        meaning: "what docs/contributing.md says to touch for an addition is so for an existing one",
        check: additions::check,
    },
];

/// The rule of this name.
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.name == name)
}

/// Findings as `line: message` texts, for tests of rules.
#[cfg(test)]
fn found(check: fn(&Repository) -> Vec<Finding>, files: &[(&str, &str)]) -> Vec<String> {
    let mut findings = check(&Repository::of(files));
    findings.sort();
    let lines = findings.iter();
    lines
        .map(|finding| format!("{}:{} {}", finding.file, finding.line, finding.message))
        .collect()
}
