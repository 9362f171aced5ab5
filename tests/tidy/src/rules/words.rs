//! Cuts text into lower-case words, so that `SetAside`, `set_aside` and "set aside" are the same two.

use std::collections::BTreeMap;

/// One word.
#[derive(Debug)]
struct Word {
    /// In lower case.
    text: String,
    /// Line from 1.
    line: usize,
    /// Whether only blanks, one line end, comment marks, `_` or `-` stand between it and the word before.
    follows: bool,
}

/// The words of a text, and where each stands.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: Vec<Word>,
    /// Places in `words` of each text.
    places: BTreeMap<String, Vec<usize>>,
    /// Lines of each identifier, as written.
    identifiers: BTreeMap<String, Vec<usize>>,
}

impl Words {
    /// Adds the words of `text`, which begins on `first_line`. In code, only parts of one identifier
    /// follow each other.
    pub(super) fn add(&mut self, text: &str, first_line: usize, is_code: bool) {
        let mut line = first_line;
        let mut gap = ".".to_owned();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            if length == 0 {
                line += usize::from(c == '\n');
                gap.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let joins = |c: char| c.is_whitespace() || "-/!*>#\\".contains(c);
            let follows = !is_code && gap.chars().all(joins) && !gap.contains("\n\n");
            self.add_identifier(&rest[..length], line, follows);
            gap.clear();
            rest = &rest[length..];
        }
    }

    fn add_identifier(&mut self, identifier: &str, line: usize, mut follows: bool) {
        let lines = self.identifiers.entry(identifier.to_owned()).or_default();
        lines.push(line);
        for text in parts(identifier) {
            let places = self.places.entry(text.clone()).or_default();
            places.push(self.words.len());
            self.words.push(Word {
                text,
                line,
                follows,
            });
            follows = true;
        }
    }

    /// Lines on which `wanted` stands as consecutive words, the last one also in the plural.
    pub(super) fn lines_with(&self, wanted: &[String]) -> Vec<usize> {
        let mut lines = Vec::new();
        let Some((last, before)) = wanted.split_last() else {
            return lines;
        };
        for ending in ["", "s", "es"] {
            let places = self.places.get(&format!("{last}{ending}"));
            for end in places.into_iter().flatten() {
                let Some(start) = end.checked_sub(before.len()) else {
                    continue;
                };
                let is_joined = self.words[start..=*end].iter().skip(1).all(|w| w.follows);
                let words = self.words[start..*end].iter();
                if is_joined && words.zip(before).all(|(word, wanted)| word.text == *wanted) {
                    lines.push(self.words[start].line);
                }
            }
        }
        lines
    }

    /// Lines on which exactly this identifier stands.
    pub(super) fn lines_with_identifier(&self, wanted: &str) -> Vec<usize> {
        self.identifiers.get(wanted).cloned().unwrap_or_default()
    }
}

/// Parts of an identifier or of prose, in lower case.
pub(super) fn parts(identifier: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for word in identifier.split(|c: char| !c.is_alphanumeric()) {
        let chars: Vec<char> = word.chars().collect();
        let mut part = String::new();
        for (at, c) in chars.iter().enumerate() {
            let before = at.checked_sub(1).map(|at| chars[at]);
            let is_after_lower = before.is_some_and(|c| c.is_lowercase() || c.is_numeric());
            let is_end_of_capitals = before.is_some_and(char::is_uppercase)
                && chars.get(at + 1).is_some_and(|c| c.is_lowercase());
            if c.is_uppercase() && (is_after_lower || is_end_of_capitals) {
                parts.push(std::mem::take(&mut part));
            }
            part.extend(c.to_lowercase());
        }
        parts.push(part);
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_parts() {
        assert_eq!(parts("EmbeddingPool"), ["embedding", "pool"]);
        assert_eq!(parts("HTTPServer2Name"), ["http", "server2", "name"]);
        assert_eq!(parts("_SET_aside"), ["set", "aside"]);
        assert_eq!(parts("set-aside now"), ["set", "aside", "now"]);
    }

    #[test]
    fn prose_is_joined_across_lines_and_code_is_not() {
        let wanted = ["set".to_owned(), "aside".to_owned()];
        let lines = |text: &str, is_code| {
            let mut words = Words::default();
            words.add(text, 1, is_code);
            words.lines_with(&wanted)
        };
        assert_eq!(lines("/// it is set\n/// aside", false), [1]);
        assert_eq!(lines("a set. Aside", false), [0_usize; 0]);
        assert_eq!(lines("the set\n\naside", false), [0_usize; 0]);
        assert_eq!(lines("set(aside)", true), [0_usize; 0]);
        assert_eq!(lines("set aside", true), [0_usize; 0]);
        assert_eq!(lines("\nTargetSetAsides", true), [2]);
    }
}
