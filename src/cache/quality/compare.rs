//! Whether two responses give the same answer: by equal text, then by numbers and words, then by the cosine
//! of their embeddings.
//!
//! Must not know questions or entries.

use crate::cache::verify::words::{Word, Words};
use crate::embedding::table::StaticTable;
use std::collections::HashSet;

/// Whether two responses agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Agreement {
    /// They give the same answer.
    Same,
    /// They give different answers.
    Different,
    /// The comparison does not decide it.
    Unknown,
}

impl Agreement {
    /// The label of a hit whose cached response was compared with a fresh one, in logs and metrics.
    #[must_use]
    pub(crate) fn hit_label(self) -> &'static str {
        match self {
            Self::Same => "right",
            Self::Different => "wrong",
            Self::Unknown => "unknown",
        }
    }
}

/// Responses of up to this many words are compared word by word: in a short response, a word that differs
/// is part of the answer.
const SHORT_WORDS: usize = 12;
/// From this cosine on, two responses without a contradiction give the same answer. This and the next
/// value were chosen by hand.
const SAME_FROM: f32 = 0.85;
/// Below this cosine two responses are about different things.
const DIFFERENT_BELOW: f32 = 0.4;

/// Compares by words; `None` when the embeddings must decide.
#[must_use]
pub(crate) fn by_words(cached: &str, fresh: &str, table: &StaticTable) -> Option<Agreement> {
    if is_same(cached, fresh) {
        return Some(Agreement::Same);
    }
    let (Some(cached), Some(fresh)) = (Words::read(cached, table), Words::read(fresh, table))
    else {
        return None;
    };
    let numbers = |words: &Words| stems(words, |word| word.is_number);
    if contradict(&numbers(&cached), &numbers(&fresh)) {
        return Some(Agreement::Different);
    }
    if cached.words.len() > SHORT_WORDS || fresh.words.len() > SHORT_WORDS {
        return None;
    }
    let is_word = |word: &Word| word.is_content() && !word.is_number;
    if cached.negations % 2 != fresh.negations % 2 {
        return Some(Agreement::Different);
    }
    contradict(&stems(&cached, is_word), &stems(&fresh, is_word)).then_some(Agreement::Different)
}

/// Equal except for spaces, punctuation and capitals.
#[must_use]
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    squeezed(a) == squeezed(b)
}

/// Compares by the cosine of the embeddings, when the words did not decide.
#[must_use]
pub(crate) fn by_cosine(cosine: f32) -> Agreement {
    if cosine >= SAME_FROM {
        Agreement::Same
    } else if cosine < DIFFERENT_BELOW {
        Agreement::Different
    } else {
        Agreement::Unknown
    }
}

/// Whether both sets have elements and share none.
fn contradict(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    !a.is_empty() && !b.is_empty() && a.is_disjoint(b)
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
    fn words_decide_before_embeddings() {
        let table = table();
        for (cached, fresh, agreement) in [
            ("Paris.", "paris", Some(Agreement::Same)),
            ("Paris", "Lyon", Some(Agreement::Different)),
            (
                "It is Paris.",
                "The capital is Lyon.",
                Some(Agreement::Different),
            ),
            (
                "It takes 3 days.",
                "It takes 4 days.",
                Some(Agreement::Different),
            ),
            (
                "It is allowed.",
                "It is not allowed.",
                Some(Agreement::Different),
            ),
            ("It is Paris.", "The capital is Paris.", None),
            ("It takes 3 days.", "About three days.", None),
        ] {
            assert_eq!(
                by_words(cached, fresh, &table),
                agreement,
                "{cached} / {fresh}"
            );
        }
        assert_eq!(by_cosine(0.9), Agreement::Same);
        assert_eq!(by_cosine(0.6), Agreement::Unknown);
        assert_eq!(by_cosine(0.1), Agreement::Different);
    }
}
