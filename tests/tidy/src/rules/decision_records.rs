//! Architecture decision records: `docs/adr/NNN-title.md`.

use super::quoted_paths::missing;
use crate::{Finding, Repository};

const RULE: &str = "decision-records";
const FOLDER: &str = "docs/adr";
/// The form that others are copied from; it has no date of its own.
const TEMPLATE: &str = "000";
/// A record whose status has one of these may name what is gone.
const CLOSED: [&str; 3] = ["withdrawn", "superseded", "replaced by"];

/// Gaps in the numbers, records without status or date, and paths that do not exist.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut next = 0_usize;
    for name in repository.children(FOLDER) {
        let path = format!("{FOLDER}/{name}");
        let Some(number) = number(name) else {
            if name.ends_with(".md") && name != "README.md" {
                let message = "the name is not NNN-title.md";
                findings.push(Finding::new(RULE, &path, 0, message));
            }
            continue;
        };
        for missing in next..number {
            let message = format!("there is no record {missing:03} before this one");
            findings.push(Finding::new(RULE, &path, 0, message));
        }
        if number < next {
            findings.push(Finding::new(RULE, &path, 0, "the number is used twice"));
        }
        next = next.max(number + 1);
        if let Some(source) = repository.source(&path) {
            check_record(repository, &path, &source.text, &mut findings);
        }
    }
    findings
}

/// The number of `NNN-title.md`.
fn number(name: &str) -> Option<usize> {
    let (digits, _) = name.strip_suffix(".md")?.split_once('-')?;
    let is_number = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok())?
}

fn check_record(repository: &Repository, path: &str, text: &str, findings: &mut Vec<Finding>) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let status = field("Status:").map(str::trim);
    if status.is_none_or(str::is_empty) {
        findings.push(Finding::new(RULE, path, 0, "there is no line `Status: …`"));
    }
    let is_template = path.starts_with(&format!("{FOLDER}/{TEMPLATE}-"));
    let date = field("Date:").map(str::trim);
    if !date.is_some_and(|date| is_template || is_date(date)) {
        let message = "there is no line `Date: YYYY-MM-DD`";
        findings.push(Finding::new(RULE, path, 0, message));
    }
    let status = status.unwrap_or("").to_lowercase();
    if is_template || CLOSED.iter().any(|word| status.starts_with(word)) {
        return;
    }
    for (line, named) in missing(repository, text) {
        findings.push(Finding::new(
            RULE,
            path,
            line,
            format!("there is no {named}"),
        ));
    }
}

fn is_date(text: &str) -> bool {
    let digits = |text: &str, count: usize| {
        text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let parts: Vec<&str> = text.split('-').collect();
    matches!(parts.as_slice(), [year, month, day]
        if digits(year, 4) && digits(month, 2) && digits(day, 2))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    const GOOD: &str =
        "# 000\n\nStatus: accepted\nDate: 2025-01-31\n\nSee `src/a.rs:3`, `src/*.rs`.\n";

    #[test]
    fn a_good_record_has_no_findings() {
        let template = "Status: accepted | replaced by NNN\nDate: YYYY-MM-DD\n";
        let files = [
            ("src/a.rs", ""),
            ("docs/adr/000-template.md", template),
            ("docs/adr/001-a.md", GOOD),
            ("docs/adr/README.md", ""),
        ];
        assert!(found(check, &files).is_empty());
    }

    #[test]
    fn gaps_and_missing_lines_are_found() {
        let found = found(
            check,
            &[
                ("src/a.rs", ""),
                ("docs/adr/000-a.md", GOOD),
                ("docs/adr/002-b.md", "# 002\n"),
                ("docs/adr/002-c.md", GOOD),
                ("docs/adr/x.md", ""),
            ],
        );
        assert_eq!(
            found,
            [
                "docs/adr/002-b.md:0 there is no line `Date: YYYY-MM-DD`",
                "docs/adr/002-b.md:0 there is no line `Status: …`",
                "docs/adr/002-b.md:0 there is no record 001 before this one",
                "docs/adr/002-c.md:0 the number is used twice",
                "docs/adr/x.md:0 the name is not NNN-title.md"
            ]
        );
    }

    #[test]
    fn paths_must_exist_unless_the_record_is_closed() {
        let text =
            |status: &str| format!("Status: {status}\nDate: 2025-01-31\n`src/gone.rs` `a/b`\n");
        let template = (
            "docs/adr/000-template.md",
            "Status: any\nDate: YYYY-MM-DD\n",
        );
        let record = |status: &str| found(check, &[template, ("docs/adr/001-a.md", &text(status))]);
        assert!(record("superseded by 001").is_empty());
        assert!(record("withdrawn").is_empty());
        assert!(record("replaced by 001").is_empty());
        assert_eq!(
            record("accepted; its numbers replaced by 001"),
            ["docs/adr/001-a.md:3 there is no src/gone.rs"]
        );
    }
}
