//! Exceptions that were decided, each with its reason, from `exemptions.txt`.

use crate::{Finding, Repository, data};

/// Columns: rule, path, words of the message (may be empty), reason.
pub const FILE: &str = "tests/tidy/exemptions.txt";

/// Removes the exempt findings of `rule`; an exemption without reason, or that fits nothing any more, is
/// a finding itself.
pub fn apply(
    rule: &'static str,
    repository: &Repository,
    mut findings: Vec<Finding>,
) -> Vec<Finding> {
    for row in data::rows(repository, FILE) {
        if row.column(0) != rule {
            continue;
        }
        let (path, words) = (row.column(1), row.column(2));
        if row.column(3).is_empty() {
            findings.push(Finding::new(
                rule,
                FILE,
                row.line,
                "an exemption needs a reason",
            ));
            continue;
        }
        let before = findings.len();
        findings.retain(|finding| finding.file != path || !finding.message.contains(words));
        if findings.len() == before {
            let message = format!("{path}: the exemption fits no finding; delete it");
            findings.push(Finding::new(rule, FILE, row.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(list: &str) -> Vec<String> {
        let repository = Repository::of(&[(FILE, list)]);
        let found = vec![Finding::new(
            "struct-size",
            "src/a.rs",
            3,
            "`Settings` is large",
        )];
        let left = apply("struct-size", &repository, found);
        left.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn an_exemption_removes_what_it_names() {
        let list = "struct-size\tsrc/a.rs\t`Settings`\tit mirrors the file's keys\n";
        assert!(messages(list).is_empty());
    }

    #[test]
    fn an_exemption_needs_a_reason_and_must_fit() {
        assert_eq!(messages("struct-size\tsrc/a.rs\t`Settings`\n").len(), 2);
        assert_eq!(messages("struct-size\tsrc/b.rs\t\twhy\n").len(), 2);
        assert_eq!(messages("other\tsrc/b.rs\t\twhy\n").len(), 1);
    }
}
