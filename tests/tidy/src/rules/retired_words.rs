//! Words that this project no longer uses, with what to say instead.

use super::words::{Words, parts};
use crate::text::{Kind, python, rust};
use crate::{Finding, Repository, data};
use std::collections::BTreeSet;

const RULE: &str = "retired-words";
const FILE: &str = "tests/tidy/retired_words.txt";
const CONFIGURATION: &str = "docs/ringside.example.toml";
/// Folders whose sources and documents are read.
const FOLDERS: [&str; 6] = [
    "src/",
    "tests/",
    "benches/",
    "examples/",
    "loadtest/",
    "docs/",
];
/// Files outside of them.
const FILES: [&str; 4] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "models/README.md",
];

/// Where words are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Code,
    Docs,
    Config,
}

/// The words of one file, by place.
#[derive(Default)]
struct FileWords {
    code: Words,
    docs: Words,
    config: Words,
}

/// Uses of retired words, one finding for each line and word.
pub(super) fn check(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let rows = data::rows(repository, FILE);
    for row in &rows {
        if places(&row.list(2)).is_none() || row.column(1).is_empty() {
            let message = "an entry is: word, what to use instead, code | docs | config | all";
            findings.push(Finding::new(RULE, FILE, row.line, message));
        }
    }
    if rows.is_empty() {
        return findings;
    }
    for source in repository.sources() {
        let is_read = FOLDERS.iter().any(|folder| source.path.starts_with(folder))
            || FILES.contains(&source.path.as_str());
        if !is_read {
            continue;
        }
        let words = words_of(&source.path, &source.text);
        for row in &rows {
            let is_exempt = row.list(3).iter().any(|path| source.path.starts_with(path));
            if is_exempt {
                continue;
            }
            let word = row.column(0);
            for line in words.lines_with(word, &places(&row.list(2)).unwrap_or_default()) {
                let word = word.trim_start_matches('=');
                let message = format!("\"{word}\" is retired: use {}", row.column(1));
                findings.push(Finding::new(RULE, &source.path, line, message));
            }
        }
    }
    findings
}

fn places(names: &[&str]) -> Option<Vec<Place>> {
    let mut places = Vec::new();
    for name in names {
        match *name {
            "code" => places.push(Place::Code),
            "docs" => places.push(Place::Docs),
            "config" => places.push(Place::Config),
            "all" => places.extend([Place::Code, Place::Docs, Place::Config]),
            _ => return None,
        }
    }
    (!places.is_empty()).then_some(places)
}

fn words_of(path: &str, text: &str) -> FileWords {
    let mut words = FileWords::default();
    let pieces = match path.rsplit_once('.') {
        Some((_, "rs")) => rust(text),
        Some((_, "py")) => python(text),
        Some((_, "md")) => {
            words.docs.add(text, 1, false);
            return words;
        }
        Some((_, "toml")) if path == CONFIGURATION => {
            words.docs.add(text, 1, false);
            words.config.add(text, 1, false);
            return words;
        }
        Some((_, "toml")) if path.starts_with("docs/") => {
            words.docs.add(text, 1, false);
            return words;
        }
        _ => return words,
    };
    // Comments on following lines are one text: a phrase may cross its lines.
    let mut comment = String::new();
    let mut comment_line = 0;
    for piece in pieces {
        match piece.kind {
            Kind::Comment => {
                if comment.is_empty() {
                    comment_line = piece.line;
                }
                comment.push_str(piece.text);
            }
            Kind::Code if piece.text.trim().is_empty() && !comment.is_empty() => {
                comment.push_str(piece.text);
            }
            kind => {
                words.docs.add(&comment, comment_line, false);
                comment.clear();
                if kind == Kind::Code {
                    words.code.add(piece.text, piece.line, true);
                } else {
                    let text = without_escapes(piece.text);
                    words.docs.add(&text, piece.line, false);
                    words.config.add(&text, piece.line, false);
                }
            }
        }
    }
    words.docs.add(&comment, comment_line, false);
    words
}

/// A string's text without the letters of `\n`, `\r` and `\t`, which are no parts of words.
fn without_escapes(text: &str) -> String {
    let mut text = text.to_owned();
    for escape in ["\\n", "\\r", "\\t"] {
        text = text.replace(escape, "\\ ");
    }
    text
}

impl FileWords {
    fn lines_with(&self, word: &str, places: &[Place]) -> BTreeSet<usize> {
        let mut lines = BTreeSet::new();
        for place in places {
            let words = match place {
                Place::Code => &self.code,
                Place::Docs => &self.docs,
                Place::Config => &self.config,
            };
            match word.strip_prefix('=') {
                Some(identifier) => lines.extend(words.lines_with_identifier(identifier)),
                None => lines.extend(words.lines_with(&parts(word))),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::{FILE, check};
    use crate::rules::found;

    fn lines(entry: &str, path: &str, text: &str) -> usize {
        found(check, &[(FILE, entry), (path, text)]).len()
    }

    #[test]
    fn parts_of_identifiers_are_compared() {
        let entry = "gizmo\ttool\tcode\n";
        for bad in [
            "struct EmbeddingGizmo;",
            "gizmo_threads",
            "const GIZMOS: u8 = 1;",
        ] {
            assert_eq!(lines(entry, "src/a.rs", bad), 1, "{bad}");
        }
        for good in ["gizmology", "// gizmo", "\"gizmo\"", "let x = 'g';"] {
            assert_eq!(lines(entry, "src/a.rs", good), 0, "{good}");
        }
        assert_eq!(lines(entry, "loadtest/rig/a.py", "gizmo = 1 # gizmo"), 1);
        assert_eq!(lines(entry, "loadtest/rig/a.py", "# gizmo"), 0);
    }

    #[test]
    fn phrases_are_found_in_prose_and_in_identifiers() {
        let entry = "put away\tstore\tall\n";
        for bad in [
            "// it is put\n// away",
            "/// Put away.",
            "fn put_away() {}",
            "struct PutAway;",
            "let a = \"was put away\";",
            "#[doc = \"put-away\"]",
            "let a = \"b\\nput away\";",
            "let a = \"put \\\n   away\";",
        ] {
            assert_eq!(lines(entry, "src/a.rs", bad), 1, "{bad}");
        }
        for good in ["// we put. Away", "put(away)", "// put it away"] {
            assert_eq!(lines(entry, "src/a.rs", good), 0, "{good}");
        }
    }

    #[test]
    fn places_are_kept_apart() {
        let docs = "gizmo\ttool\tdocs\n";
        let config = "gizmo\ttool\tconfig\n";
        assert_eq!(lines(docs, "README.md", "a `gizmo`\n\nGizmos"), 2);
        assert_eq!(lines(config, "README.md", "gizmo"), 0);
        assert_eq!(lines(config, "docs/ringside.example.toml", "gizmo = 1"), 1);
        assert_eq!(lines(config, "src/a.rs", "fn f() { g(\"gizmo\") }"), 1);
        assert_eq!(lines(config, "src/a.rs", "fn gizmo() {}"), 0);
        assert_eq!(lines(docs, "models/other.md", "gizmo"), 0);
    }

    #[test]
    fn an_exact_identifier_and_exempt_paths() {
        let exact = "=Gizmo\tTool\tcode\n";
        assert_eq!(lines(exact, "src/a.rs", "struct Gizmo;"), 1);
        assert_eq!(
            lines(exact, "src/a.rs", "struct GizmoPart; fn gizmo() {}"),
            0
        );
        let exempt = "gizmo\ttool\tall\tdocs/adr/, CHANGELOG.md\n";
        assert_eq!(lines(exempt, "docs/adr/001-a.md", "gizmo"), 0);
        assert_eq!(lines(exempt, "CHANGELOG.md", "gizmo"), 0);
        assert_eq!(lines(exempt, "docs/a.md", "gizmo"), 1);
    }

    #[test]
    fn an_entry_without_replacement_or_place_is_found() {
        assert_eq!(lines("gizmo\ttool\n", "src/a.rs", ""), 1);
        assert_eq!(lines("gizmo\t\tall\n", "src/a.rs", ""), 1);
        assert_eq!(lines("gizmo\ttool\teverywhere\n", "src/a.rs", ""), 1);
    }
}
