//! Hard rules: differences that make two texts different questions, whatever their embeddings.
//!
//! Each rule is symmetric in the two texts. Must not know scores or thresholds.

use crate::cache::verify::alignment::{Alignment, unmatched};
use crate::cache::verify::lists;
use crate::cache::verify::words::{QuestionKind, Word, Words};

/// A rule that a pair of questions can break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardRule {
    /// A number differs.
    Number,
    /// One question is negated.
    Negation,
    /// Words exclude each other.
    Opposite,
    /// One question has a code (a mix of letters and digits, or an abbreviation) that the other lacks.
    Code,
    /// One question's *from* is the other's *to*.
    Direction,
    /// Two words exchanged their roles.
    Order,
    /// Only one question is about a quantity.
    Quantity,
    /// Only one question has a certain narrowing word.
    Condition,
    /// Only one question is about a past habit.
    Temporal,
}

impl HardRule {
    /// Value in `x-ringside-cache-reason` and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Negation => "negation",
            Self::Opposite => "opposite",
            Self::Code => "code",
            Self::Direction => "direction",
            Self::Order => "order",
            Self::Quantity => "quantity",
            Self::Condition => "condition",
            Self::Temporal => "temporal",
        }
    }
}

/// Whether one text has a number that the other lacks.
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

/// Whether one text has a code that the other lacks.
fn codes_differ(a: &Words, b: &Words, alignment: &Alignment) -> bool {
    let lacks = |words: &Words, matches: &[Option<usize>]| {
        unmatched(&words.words, matches).any(|word| word.is_code)
    };
    lacks(a, &alignment.of_a) || lacks(b, &alignment.of_b)
}

/// Whether an object of *from* in `a` is an object of *to* in `b`.
fn is_reversed(a: &Words, b: &Words) -> bool {
    let objects = |words: &Words, preposition: &str| -> Vec<String> {
        let all = words.words.iter().enumerate();
        all.filter(|(_, word)| word.text == preposition)
            .filter_map(|(index, _)| object(words, index).map(|object| object.stem.clone()))
            .collect()
    };
    let (origins, destinations) = (objects(a, "from"), objects(b, "to"));
    origins.iter().any(|origin| destinations.contains(origin))
}

/// Whether the question is about a quantity.
fn has_quantity(words: &Words) -> bool {
    words.kind == QuestionKind::HowMany || words.any(|word| word.quantity)
}

/// Whether the text has a narrowing word that the other lacks.
fn has_own_qualifier(words: &Words, matches: &[Option<usize>]) -> bool {
    unmatched(&words.words, matches).any(|word| word.traits.qualifier)
}

/// Whether two words exchanged their roles: names in any text, other words when all words are
/// equal. Words that have the same prepositions have the same roles, and so have both sides of an "and".
fn swaps_roles(a: &Words, b: &Words, alignment: &Alignment) -> bool {
    if a.is_passive != b.is_passive {
        return false;
    }
    let all_matched = unmatched(&a.words, &alignment.of_a)
        .chain(unmatched(&b.words, &alignment.of_b))
        .all(|word| !word.is_content());
    let matched: Vec<MatchedWord> = a
        .words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.is_content() && (all_matched || word.is_name || word.is_code))
        .filter_map(|(in_a, _)| {
            let in_b = (*alignment.of_a.get(in_a)?)?;
            Some(MatchedWord { in_a, in_b })
        })
        .collect();
    matched.iter().enumerate().any(|(index, first)| {
        matched.iter().skip(index + 1).any(|second| {
            let is_swapped = first.in_b > second.in_b;
            let same_preposition =
                |word: &MatchedWord| preposition(a, word.in_a) == preposition(b, word.in_b);
            let has_preposition = |word: &MatchedWord| !preposition(a, word.in_a).is_empty();
            let same_roles = same_preposition(first)
                && same_preposition(second)
                && (has_preposition(first) || has_preposition(second));
            let is_joined =
                is_joined(a, first.in_a, second.in_a) && is_joined(b, second.in_b, first.in_b);
            is_swapped && !same_roles && !is_joined
        })
    })
}

/// Positions of a word and its match.
struct MatchedWord {
    in_a: usize,
    in_b: usize,
}

/// The preposition that governs the word at `index`; empty when there is none.
fn preposition(words: &Words, index: usize) -> &str {
    const PREPOSITIONS: [&str; 16] = [
        "from", "to", "into", "by", "than", "against", "in", "at", "on", "for", "with", "of",
        "about", "between", "via", "through",
    ];
    let before = words
        .words
        .get(index.saturating_sub(4)..index)
        .unwrap_or_default();
    let nearest = before
        .iter()
        .rev()
        .take_while(|word| word.traits.function || word.is_name || word.is_code)
        .find(|word| PREPOSITIONS.contains(&word.text.as_str()));
    nearest.map_or("", |word| &word.text)
}

/// Whether only names, articles and "and", "or", "vs" stand between two positions, with one of the latter.
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

/// The content word after the preposition at `index`.
pub(crate) fn object(words: &Words, index: usize) -> Option<&Word> {
    words
        .words
        .get(index + 1..)?
        .iter()
        .take(3)
        .find(|word| word.is_content())
}

/// The first rule that the pair breaks.
#[must_use]
pub(crate) fn broken_rule(a: &Words, b: &Words, alignment: &Alignment) -> Option<HardRule> {
    let has_condition =
        has_own_qualifier(a, &alignment.of_a) || has_own_qualifier(b, &alignment.of_b);
    let rules = [
        (HardRule::Number, numbers_differ(a, b)),
        (HardRule::Negation, a.negations % 2 != b.negations % 2),
        (HardRule::Opposite, has_opposites(a, b, alignment)),
        (HardRule::Code, codes_differ(a, b, alignment)),
        (HardRule::Direction, is_reversed(a, b) || is_reversed(b, a)),
        (HardRule::Order, swaps_roles(a, b, alignment)),
        (HardRule::Quantity, has_quantity(a) != has_quantity(b)),
        (HardRule::Condition, has_condition),
        (HardRule::Temporal, a.has_past_habit() != b.has_past_habit()),
    ];
    let broken = rules.iter().find(|(_, is_broken)| *is_broken);
    broken.map(|(rule, _)| *rule)
}
