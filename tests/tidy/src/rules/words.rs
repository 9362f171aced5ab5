//! Cuts text into lower-case words, so that `SetAside`, `set_aside` and "set aside" are the same two.

/// One word.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    /// In lower case.
    pub text: String,
    /// Line from 1.
    pub line: usize,
    /// Whether only blanks, line ends, comment marks, `_` or `-` stand between it and the word before.
    pub follows: bool,
    /// The whole identifier that it is a part of, as written.
    pub identifier: usize,
}

/// The words of a text, and the identifiers that they are parts of.
#[derive(Debug, Default)]
pub struct Words {
    /// Words in order.
    pub words: Vec<Word>,
    /// Identifiers in order.
    pub identifiers: Vec<(String, usize)>,
}

impl Words {
    /// Adds the words of `text`, which begins on `first_line`. In code, only parts of one identifier
    /// follow each other.
    pub fn add(&mut self, text: &str, first_line: usize, is_code: bool) {
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
            let joins = |c: char| c.is_whitespace() || "-/!*>#".contains(c);
            let follows = !is_code && gap.chars().all(joins);
            self.add_identifier(&rest[..length], line, follows);
            gap.clear();
            rest = &rest[length..];
        }
    }

    fn add_identifier(&mut self, identifier: &str, line: usize, mut follows: bool) {
        self.identifiers.push((identifier.to_owned(), line));
        for part in parts(identifier) {
            self.words.push(Word {
                text: part,
                line,
                follows,
                identifier: self.identifiers.len() - 1,
            });
            follows = true;
        }
    }

    /// Lines on which `wanted` stands as consecutive words, the last one also in the plural.
    pub fn lines_with(&self, wanted: &[String]) -> Vec<usize> {
        let mut lines = Vec::new();
        let Some((last, before)) = wanted.split_last() else {
            return lines;
        };
        for window in self.words.windows(wanted.len()) {
            let is_joined = window.iter().skip(1).all(|word| word.follows);
            let (end, start) = (&window[before.len()].text, &window[..before.len()]);
            let is_start = start
                .iter()
                .zip(before)
                .all(|(word, wanted)| word.text == *wanted);
            let plural = end.strip_prefix(last.as_str());
            if is_joined && is_start && plural.is_some_and(|rest| ["", "s", "es"].contains(&rest)) {
                lines.push(window[0].line);
            }
        }
        lines
    }

    /// Lines on which exactly this identifier stands.
    pub fn lines_with_identifier(&self, wanted: &str) -> Vec<usize> {
        let same = self.identifiers.iter().filter(|(name, _)| name == wanted);
        same.map(|(_, line)| *line).collect()
    }
}

/// Parts of an identifier or of prose, in lower case.
pub fn parts(identifier: &str) -> Vec<String> {
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
        assert_eq!(lines("set(aside)", true), [0_usize; 0]);
        assert_eq!(lines("set aside", true), [0_usize; 0]);
        assert_eq!(lines("\nTargetSetAsides", true), [2]);
    }
}
