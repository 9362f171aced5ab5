//! Parts of docs/operations.md that are generated from the code. These tests compare them with the file;
//! `RINGSIDE_BLESS=1 cargo test --lib generated_docs` writes them.

use crate::admin::metrics_page::page;
use crate::admin::routes::ROUTES;
use crate::base::generated_docs::compare;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::observability::metrics::declaration::Declaration;
use parking_lot::Mutex;
use std::fmt::Write;

static PAGE: Mutex<()> = Mutex::new(());

/// Compares the text between the markers of `part` with `expected`.
fn check(part: &str, expected: &str) {
    let _alone = PAGE.lock();
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let begin = format!("<!-- generated: {part} -->\n");
    let end = format!("<!-- end of {part} -->");
    let (before, rest) = page.split_once(&begin).expect("the first marker");
    let (_, after) = rest.split_once(&end).expect("the last marker");
    let expected = format!("{before}{begin}{expected}{end}{after}");
    compare("docs/operations.md", &expected);
}

fn metrics_table<'d>(title: &str, metrics: impl Iterator<Item = &'d Declaration>) -> String {
    let title = title.trim();
    let mut text = format!("\n### {title}\n\n| name | kind | labels | |\n|---|---|---|---|\n");
    for metric in metrics {
        let labels = metric.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let (name, kind) = (metric.name, metric.kind.as_str());
        let description = metric.description();
        let _ = writeln!(text, "| `{name}` | {kind} | {labels} | {description} |");
    }
    text
}

#[test]
fn the_table_of_metrics() {
    let mut text = String::new();
    for area in page::FIRST {
        let metrics = area.metrics.iter().map(|metric| &metric.declaration);
        text.push_str(&metrics_table(area.title, metrics));
    }
    for (title, metrics) in CoreMetrics::AREAS {
        text.push_str(&metrics_table(title, metrics.iter()));
    }
    for area in page::LAST {
        let metrics = area.metrics.iter().map(|metric| &metric.declaration);
        text.push_str(&metrics_table(area.title, metrics));
    }
    text.push('\n');
    check("metrics", &text);
}

#[test]
fn every_metric_is_declared_once_with_help_and_only_counters_end_in_total() {
    let shared = page::FIRST.iter().chain(page::LAST);
    let shared = shared.flat_map(|area| area.metrics.iter().map(|metric| metric.declaration));
    let core = CoreMetrics::AREAS.iter();
    let core = core.flat_map(|(_, metrics)| metrics.iter().copied());
    let mut names = std::collections::HashSet::new();
    for metric in core.chain(shared) {
        let name = metric.name;
        assert!(names.insert(name), "{name} is declared twice");
        assert!(!metric.help().is_empty(), "{name} has no help");
        let is_counter = metric.kind.as_str() == "counter";
        assert_eq!(is_counter, name.ends_with("_total"), "{name}");
    }
}

#[test]
fn the_table_of_admin_routes() {
    let mut text = String::from("\n| route | permission | |\n|---|---|---|\n");
    for route in ROUTES {
        let query = route
            .query
            .iter()
            .map(|query| format!(", `?{}=`", query.name));
        let query: String = query.collect();
        let (method, path, permission) = (&route.method, route.path, route.permission.as_str());
        let _ = writeln!(
            text,
            "| `{method} {path}`{query} | {permission} | {} |",
            route.doc
        );
    }
    text.push('\n');
    check("admin routes", &text);
}
