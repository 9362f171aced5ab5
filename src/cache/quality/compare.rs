//! Do two answers say the same? Exact first, then numbers and names, then embeddings.
//!
//! Where it cannot tell, it says so. Must not know questions or entries.

use crate::cache::verify::words::{Word, Words};
use crate::embedding::table::StaticTable;
use std::collections::HashSet;

/// What a comparison of a cached and a fresh answer says of the cached one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// It says the same.
    Right,
    /// It says something else.
    Wrong,
    /// Not to be told.
    Unknown,
}

impl Label {
    /// Label value.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// Answers of up to so many words are compared word by word: what differs is what was asked for.
const SHORT_WORDS: usize = 12;
/// From this cosine on, two answers without a contradiction say the same; judgements, as the next.
const SAME_FROM: f32 = 0.85;
/// Below this cosine they speak of different things.
const OTHER_BELOW: f32 = 0.4;

/// Compares by words alone; `None` when the embeddings are needed.
#[must_use]
pub(crate) fn by_words(cached: &str, fresh: &str, table: &StaticTable) -> Option<Label> {
    if is_same(cached, fresh) {
        return Some(Label::Right);
    }
    let (Some(one), Some(other)) = (Words::read(cached, table), Words::read(fresh, table)) else {
        return None;
    };
    let numbers = |words: &Words| stems(words, |word| word.is_number);
    if part(&numbers(&one), &numbers(&other)) {
        return Some(Label::Wrong);
    }
    if one.words.len() > SHORT_WORDS || other.words.len() > SHORT_WORDS {
        return None;
    }
    let is_word = |word: &Word| word.is_content() && !word.is_number;
    if one.negations % 2 != other.negations % 2 {
        return Some(Label::Wrong);
    }
    part(&stems(&one, is_word), &stems(&other, is_word)).then_some(Label::Wrong)
}

/// Alike but for spaces, punctuation and capitals.
#[must_use]
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    squeezed(one) == squeezed(other)
}

/// Compares by the cosine of their embeddings, when words did not tell.
#[must_use]
pub(crate) fn by_cosine(cosine: f32) -> Label {
    if cosine >= SAME_FROM {
        Label::Right
    } else if cosine < OTHER_BELOW {
        Label::Wrong
    } else {
        Label::Unknown
    }
}

/// Both have some, and none in common.
fn part(one: &HashSet<String>, other: &HashSet<String>) -> bool {
    !one.is_empty() && !other.is_empty() && one.is_disjoint(other)
}

fn stems(words: &Words, wanted: impl Fn(&Word) -> bool) -> HashSet<String> {
    let words = words.words.iter().filter(|word| wanted(word));
    words.map(|word| word.stem.clone()).collect()
}

/// Letters and digits only, in lower case.
fn squeezed(text: &str) -> String {
    let letters = text.chars().filter(|letter| letter.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> StaticTable {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/models/all-minilm-l6-v2");
        let read = |name: &str| std::fs::read(format!("{folder}/{name}")).unwrap();
        StaticTable::read(&read("static.bin"), &read("tokenizer.json")).unwrap()
    }

    #[test]
    fn by_words_first() {
        let table = table();
        for (cached, fresh, label) in [
            ("Paris.", "paris", Some(Label::Right)),
            ("Paris", "Lyon", Some(Label::Wrong)),
            ("It is Paris.", "The capital is Lyon.", Some(Label::Wrong)),
            ("It takes 3 days.", "It takes 4 days.", Some(Label::Wrong)),
            ("It is allowed.", "It is not allowed.", Some(Label::Wrong)),
            ("It is Paris.", "The capital is Paris.", None),
            ("It takes 3 days.", "About three days.", None),
        ] {
            assert_eq!(by_words(cached, fresh, &table), label, "{cached} / {fresh}");
        }
        assert_eq!(by_cosine(0.9), Label::Right);
        assert_eq!(by_cosine(0.6), Label::Unknown);
        assert_eq!(by_cosine(0.1), Label::Wrong);
    }
}
