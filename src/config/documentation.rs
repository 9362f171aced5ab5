//! The tables of keys in `docs/configuration.md`, from the declarations.
//!
//! It must not know any key.

use std::fmt::Write;

/// One key as the documentation shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyDoc {
    /// Path from the root, e.g. `models[].hedge.enabled`.
    pub path: String,
    /// The `kind` of the section that has this key, when only one kind has it.
    pub kind: Option<&'static str>,
    /// Markdown.
    pub default: String,
    /// Markdown.
    pub bounds: String,
    /// False when a reload applies it.
    pub needs_restart: bool,
    /// Markdown.
    pub meaning: String,
}

/// Where the tables of a text begin and end.
const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";

/// `text` with the table after each line `<!-- keys of SECTION -->` written anew.
pub(crate) fn with_tables(text: &str, keys: &[KeyDoc]) -> String {
    let mut written = String::new();
    let mut is_inside = false;
    for line in text.lines() {
        is_inside &= line != END;
        if !is_inside {
            written.push_str(line);
            written.push('\n');
        }
        let section = line.strip_prefix(BEGIN);
        if let Some(section) = section.and_then(|rest| rest.strip_suffix(" -->")) {
            written.push_str(&table(section, keys));
            is_inside = true;
        }
    }
    written
}

/// Markdown of the keys whose path begins with `section`.
fn table(section: &str, keys: &[KeyDoc]) -> String {
    let mut table =
        String::from("| key | default | bounds | at reload | meaning |\n|---|---|---|---|---|\n");
    for key in keys {
        let Some(path) = key.path.strip_prefix(section) else {
            continue;
        };
        let Some(path) = path.trim_start_matches("[]").strip_prefix('.') else {
            continue;
        };
        let kind = key.kind.map(|kind| format!(" of `{kind}`"));
        let reload = if key.needs_restart {
            "needs a restart"
        } else {
            "applied"
        };
        let _ = writeln!(
            table,
            "| `{path}`{} | {} | {} | {reload} | {} |",
            kind.unwrap_or_default(),
            key.default,
            key.bounds,
            key.meaning.replace('|', "\\|"),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_between_its_markers() {
        let key = KeyDoc {
            path: "server.drain.delay".into(),
            kind: None,
            default: "`\"5s\"`".into(),
            bounds: "0ms to 10m".into(),
            needs_restart: false,
            meaning: "a | b".into(),
        };
        let text = "before\n<!-- keys of server -->\nold\n<!-- end of keys -->\nafter\n";
        let written = with_tables(text, &[key]);
        let expected = "before\n<!-- keys of server -->\n| key | default | bounds | at reload | meaning |\n\
                        |---|---|---|---|---|\n| `drain.delay` | `\"5s\"` | 0ms to 10m | applied | a \\| b |\n\
                        <!-- end of keys -->\nafter\n";
        assert_eq!(written, expected);
        assert_eq!(with_tables(&written, &[]).matches('|').count(), 12);
    }
}
