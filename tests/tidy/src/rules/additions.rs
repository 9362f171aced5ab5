//! The table "to add X, touch these files": an existing example of each X is declared once, in a file that the row
//! names, and the generated documentation that the row names has it.

use crate::{Finding, Repository, data};

const RULE: &str = "additions";
const TABLE: &str = "docs/contributing.md";
const EXAMPLES: &str = "tests/tidy/additions.txt";

/// A row of the table.
struct TableRow<'a> {
    line: usize,
    /// The words in bold.
    name: &'a str,
    /// Files and folders of the column "declaration".
    declared_in: Vec<&'a str>,
    /// Files of the column "generated documentation".
    documented_in: Vec<&'a str>,
}

/// Rows without an example, and examples that disagree with their row.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let table = repository
        .source(TABLE)
        .map_or("", |source| source.text.as_str());
    let rows: Vec<TableRow<'_>> = (1..)
        .zip(table.lines())
        .filter_map(|(number, line)| table_row(number, line))
        .collect();
    let examples = data::rows(repository, EXAMPLES);
    let mut findings = Vec::new();
    for row in &rows {
        if !examples.iter().any(|example| example.column(0) == row.name) {
            let message = format!("{EXAMPLES} has no example of `{}`", row.name);
            findings.push(Finding::new(RULE, TABLE, row.line, message));
        }
    }
    for example in &examples {
        match rows.iter().find(|row| row.name == example.column(0)) {
            Some(row) => check_example(repository, row, example, &mut findings),
            None => {
                let message = format!("{TABLE} has no row `{}`", example.column(0));
                findings.push(Finding::new(RULE, EXAMPLES, example.line, message));
            }
        }
    }
    findings
}

fn table_row(number: usize, line: &str) -> Option<TableRow<'_>> {
    let columns: Vec<&str> = line.split('|').collect();
    let [_, name, declaration, _, _, documentation, _] = columns.as_slice() else {
        return None;
    };
    Some(TableRow {
        line: number,
        name: name.split("**").nth(1)?,
        declared_in: paths(declaration),
        documented_in: paths(documentation),
    })
}

/// Paths between backticks.
fn paths(cell: &str) -> Vec<&str> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|text| text.contains('/') && !text.contains(' '))
        .collect()
}

fn check_example(
    repository: &Repository,
    row: &TableRow<'_>,
    example: &data::Row<'_>,
    findings: &mut Vec<Finding>,
) {
    let (declaration, documented_name) = (example.column(1), example.column(2));
    let mut report = |message: String| {
        findings.push(Finding::new(RULE, EXAMPLES, example.line, message));
    };
    let files = declaring_files(repository, declaration);
    match files.as_slice() {
        [file] if row.declared_in.iter().any(|path| is_in(file, path)) => {}
        [file] => report(format!(
            "`{declaration}` is declared in {file}, which the row does not name"
        )),
        [] => report(format!("`{declaration}` is declared nowhere")),
        files => report(format!(
            "`{declaration}` is declared {} times: {}",
            files.len(),
            files.join(", ")
        )),
    }
    for path in &row.documented_in {
        let text = repository
            .source(path)
            .map_or("", |source| source.text.as_str());
        if !text.contains(documented_name) || documented_name.is_empty() {
            report(format!("{path} does not have `{documented_name}`"));
        }
    }
}

/// The files outside of tests that hold `declaration`, once for each time.
fn declaring_files<'a>(repository: &'a Repository, declaration: &str) -> Vec<&'a str> {
    let sources = repository.sources().filter(|source| {
        let is_source = is_in(&source.path, "src") && source.path.ends_with(".rs");
        let is_table = is_in(&source.path, "models") && source.path.ends_with(".toml");
        (is_source || is_table) && !source.path.ends_with("_tests.rs")
    });
    sources
        .flat_map(|source| {
            let code = source
                .text
                .split("#[cfg(test)]\nmod tests")
                .next()
                .unwrap_or("");
            code.matches(declaration).map(|_| source.path.as_str())
        })
        .collect()
}

fn is_in(file: &str, path: &str) -> bool {
    file.strip_prefix(path.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::rules::found;

    const TABLE: &str = "| to add | declaration | code | tests | generated documentation |\n\
        |---|---|---|---|---|\n\
        | an **error code** | one line in `src/error/code.rs` | the place | `tests/a.rs` | `docs/errors.md` |\n";
    const EXAMPLES: &str = "error code\t\"gone\"\tgone\n";

    fn findings(table: &str, examples: &str, files: &[(&str, &str)]) -> Vec<String> {
        let mut all = vec![
            ("docs/contributing.md", table),
            ("tests/tidy/additions.txt", examples),
            ("docs/errors.md", "`gone`"),
        ];
        all.extend_from_slice(files);
        found(check, &all)
    }

    #[test]
    fn an_example_that_is_declared_once_where_the_row_says_is_no_finding() {
        let code = "\"gone\"\n#[cfg(test)]\nmod tests { \"gone\" }";
        let files = [
            ("src/error/code.rs", code),
            ("tests/a.rs", "\"gone\""),
            ("src/a_tests.rs", "\"gone\""),
        ];
        assert!(findings(TABLE, EXAMPLES, &files).is_empty());
    }

    #[test]
    fn a_second_or_missing_or_misplaced_declaration_is_found() {
        let code = ("src/error/code.rs", "\"gone\"");
        let cases: [(&[(&str, &str)], &str); 3] = [
            (
                &[code, ("src/a.rs", "\"gone\"")],
                "`\"gone\"` is declared 2 times: src/a.rs, src/error/code.rs",
            ),
            (&[], "`\"gone\"` is declared nowhere"),
            (
                &[("src/error/code.rs.rs", "\"gone\"")],
                "`\"gone\"` is declared in src/error/code.rs.rs, which the row does not name",
            ),
        ];
        for (files, expected) in cases {
            let expected = format!("tests/tidy/additions.txt:1 {expected}");
            assert_eq!(findings(TABLE, EXAMPLES, files), [expected]);
        }
    }

    #[test]
    fn missing_rows_examples_and_documentation_are_found() {
        let files = [("src/error/code.rs", "\"gone\" \"new\"")];
        assert_eq!(
            findings(TABLE, "metric\t\"gone\"\tgone\n", &files),
            [
                "docs/contributing.md:3 tests/tidy/additions.txt has no example of `error code`",
                "tests/tidy/additions.txt:1 docs/contributing.md has no row `metric`",
            ]
        );
        assert_eq!(
            findings(TABLE, "error code\t\"new\"\tnew\n", &files),
            ["tests/tidy/additions.txt:1 docs/errors.md does not have `new`"]
        );
    }
}
