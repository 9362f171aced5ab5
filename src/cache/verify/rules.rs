//! Differences that make another question of it, whatever the embeddings say.
//!
//! Each rule looks at both texts alike. Must not know scores or thresholds.

use crate::cache::verify::alignment::{Alignment, unmatched};
use crate::cache::verify::lists;
use crate::cache::verify::words::{QuestionKind, Word, Words};

/// Whether one side has a number that the other has not.
fn numbers_differ(a: &Words, b: &Words) -> bool {
    let of = |words: &Words| -> Vec<String> {
        let numbers = words.words.iter().filter(|word| word.is_number);
        let mut numbers: Vec<String> = numbers.map(|word| word.text.clone()).collect();
        numbers.sort_unstable();
        numbers
    };
    of(a) != of(b)
}

/// Whether unmatched words exclude each other.
fn has_opposites(a: &Words, b: &Words, alignment: &Alignment) -> bool {
    unmatched(&a.words, &alignment.of_a).any(|word| {
        let mut others = unmatched(&b.words, &alignment.of_b);
        others.any(|other| lists::exclude(&word.text, &other.text))
    })
}

/// Whether one side has a code that the other lacks.
fn codes_differ(a: &Words, b: &Words, alignment: &Alignment) -> bool {
    let lacks = |words: &Words, matches: &[Option<usize>]| {
        unmatched(&words.words, matches).any(|word| word.is_code)
    };
    lacks(a, &alignment.of_a) || lacks(b, &alignment.of_b)
}

/// Whether a thing that `a` comes *from* is one that `b` goes *to*.
fn is_turned(a: &Words, b: &Words) -> bool {
    let objects = |words: &Words, preposition: &str| -> Vec<String> {
        let all = words.words.iter().enumerate();
        all.filter(|(_, word)| word.text == preposition)
            .filter_map(|(at, _)| object(words, at).map(|object| object.stem.clone()))
            .collect()
    };
    let (left, reached) = (objects(a, "from"), objects(b, "to"));
    left.iter().any(|from| reached.contains(from))
}

/// Whether the question asks for a number.
fn counts(words: &Words) -> bool {
    words.asks == QuestionKind::HowMany || words.any(|word| word.quantity)
}

/// Whether it has a narrowing word that the other lacks.
fn qualifies(words: &Words, matches: &[Option<usize>]) -> bool {
    unmatched(&words.words, matches).any(|word| word.traits.qualifier)
}

/// Whether two words of the same role changed places: names anywhere, other words when all words are
/// the same. Words that kept their prepositions kept their roles, and so did both sides of an "and".
fn swaps_roles(a: &Words, b: &Words, alignment: &Alignment) -> bool {
    if a.is_passive != b.is_passive {
        return false;
    }
    let all_matched = unmatched(&a.words, &alignment.of_a)
        .chain(unmatched(&b.words, &alignment.of_b))
        .all(|word| !word.is_content());
    let placed: Vec<(usize, usize)> = a
        .words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.is_content() && (all_matched || word.is_name || word.is_code))
        .filter_map(|(at, _)| Some((at, (*alignment.of_a.get(at)?)?)))
        .collect();
    placed.iter().enumerate().any(|(index, one)| {
        placed.iter().skip(index + 1).any(|other| {
            let turned = one.1 > other.1;
            let keeps = |pair: &(usize, usize)| preposition(a, pair.0) == preposition(b, pair.1);
            let has = |pair: &(usize, usize)| !preposition(a, pair.0).is_empty();
            let kept = keeps(one) && keeps(other) && (has(one) || has(other));
            let joined = is_joined(a, one.0, other.0) && is_joined(b, other.1, one.1);
            turned && !kept && !joined
        })
    })
}

/// The preposition that the word at `at` hangs on; empty when there is none.
fn preposition(words: &Words, at: usize) -> &str {
    const PREPOSITIONS: [&str; 16] = [
        "from", "to", "into", "by", "than", "against", "in", "at", "on", "for", "with", "of",
        "about", "between", "via", "through",
    ];
    let before = words
        .words
        .get(at.saturating_sub(4)..at)
        .unwrap_or_default();
    let nearest = before
        .iter()
        .rev()
        .take_while(|word| word.traits.function || word.is_name || word.is_code)
        .find(|word| PREPOSITIONS.contains(&word.text.as_str()));
    nearest.map_or("", |word| &word.text)
}

/// Whether nothing but names, articles and "and", "or", "vs" stands between two places.
fn is_joined(words: &Words, from: usize, to: usize) -> bool {
    let between = words.words.get(from + 1..to).unwrap_or_default();
    between
        .iter()
        .any(|word| matches!(word.text.as_str(), "and" | "or" | "vs" | "versus"))
        && between.iter().all(|word| {
            word.is_name
                || matches!(
                    word.text.as_str(),
                    "and" | "or" | "vs" | "versus" | "the" | "a" | "an"
                )
        })
}

/// The content word after the preposition at `at`.
pub(crate) fn object(words: &Words, at: usize) -> Option<&Word> {
    words
        .words
        .get(at + 1..)?
        .iter()
        .take(3)
        .find(|word| word.is_content())
}

/// The first rule that the pair breaks, by the name in `x-ringside-cache-reason`.
#[must_use]
pub(crate) fn veto(a: &Words, b: &Words, alignment: &Alignment) -> Option<&'static str> {
    let habit = a.speaks_of_habit_past() != b.speaks_of_habit_past();
    let rules: [(&'static str, bool); 9] = [
        ("number", numbers_differ(a, b)),
        ("negation", a.negations % 2 != b.negations % 2),
        ("opposite", has_opposites(a, b, alignment)),
        ("code", codes_differ(a, b, alignment)),
        ("direction", is_turned(a, b) || is_turned(b, a)),
        ("order", swaps_roles(a, b, alignment)),
        ("quantity", counts(a) != counts(b)),
        (
            "condition",
            qualifies(a, &alignment.of_a) || qualifies(b, &alignment.of_b),
        ),
        ("temporal", habit),
    ];
    let broken = rules.iter().find(|(_, breaks)| *breaks);
    broken.map(|(rule, _)| *rule)
}
