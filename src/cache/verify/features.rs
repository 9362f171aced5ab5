//! The features of a pair of questions: what they share and where they differ, as numbers.
//!
//! Symmetric: the query and the stored question may be exchanged. The trained model (`models/verifier`) was
//! made from exactly these features in exactly this order, by `benches/tools/pair_features.rs`.

use crate::cache::verify::alignment::{Alignment, align, edits, misspelled, spelled_right};
use crate::cache::verify::lists::Traits;
use crate::cache::verify::rules;
use crate::cache::verify::rules::{HardRule, object};
use crate::cache::verify::words::{QuestionKind, Word, Words};
use crate::embedding::table::{StaticTable, StaticVector, static_cosine};

/// Names of the features, in order.
pub const NAMES: [&str; 30] = [
    "cosine",
    "static_cosine",
    "overlap",
    "lost_max",
    "lost_min",
    "rarest_max",
    "rarest_min",
    "rarest_max_nearest",
    "rarest_min_nearest",
    "unmatched_max",
    "unmatched_min",
    "matched",
    "length_ratio",
    "words_min",
    "slots",
    "inversion",
    "voice",
    "roles",
    "past",
    "future",
    "becoming",
    "modal",
    "asks",
    "names_max",
    "names_min",
    "edits",
    "function_unmatched",
    "near_max",
    "constraints",
    "directions",
];

/// The features of one pair, in the order of [`NAMES`].
pub type Features = [f32; NAMES.len()];

/// Words of one question that have no match in the other.
#[derive(Default)]
struct Side {
    /// Summed rarity of all content words, and of unmatched ones.
    total: f32,
    lost: f32,
    unmatched: f32,
    /// Rarity of the rarest unmatched content word, and its cosine to the nearest unmatched word of the other side.
    rarest: f32,
    rarest_nearest: f32,
    names: f32,
    /// Rarity of unmatched words, reduced by their cosine to the nearest unmatched word of the other side.
    near: f32,
    function_unmatched: f32,
    /// Unmatched words of exclusive groups, and unmatched prepositions of direction.
    constraints: f32,
    directions: f32,
}

/// Compares two questions whose embeddings have this cosine. The embedding overrates a spelling mistake:
/// when one question is a misspelling of the other, the correct one is compared with itself.
///
/// # Errors
/// The hard rule that the pair breaks.
pub fn compare(
    a: &Words,
    b: &Words,
    cosine: f32,
    table: &StaticTable,
) -> Result<Features, HardRule> {
    let alignment = align(a, b);
    if let Some(rule) = rules::broken_rule(a, b, &alignment) {
        return Err(rule);
    }
    if let Some(correct) = spelled_right(a, b) {
        let alignment = align(correct, correct);
        return Ok(features(correct, correct, 1.0, &alignment, table));
    }
    Ok(features(a, b, cosine, &alignment, table))
}

/// The features of a pair that breaks no rule.
fn features(
    a: &Words,
    b: &Words,
    cosine: f32,
    alignment: &Alignment,
    table: &StaticTable,
) -> Features {
    let sides = [
        side(&a.words, &alignment.of_a, &b.words, &alignment.of_b, table),
        side(&b.words, &alignment.of_b, &a.words, &alignment.of_a, table),
    ];
    numbers(a, b, cosine, alignment, &sides)
}

fn numbers(
    a: &Words,
    b: &Words,
    cosine: f32,
    alignment: &Alignment,
    sides: &[Side; 2],
) -> Features {
    let both = |of: fn(&Side) -> f32| {
        let (first, second) = (of(&sides[0]), of(&sides[1]));
        (first.max(second), first.min(second))
    };
    let (lost_max, lost_min) = both(Side::lost_share);
    let (unmatched_max, unmatched_min) = both(|side| side.unmatched);
    let (names_max, names_min) = both(|side| side.names);
    let (function_max, _) = both(|side| side.function_unmatched);
    let (constraints_max, _) = both(|side| side.constraints);
    let (directions_max, _) = both(|side| side.directions);
    let (near_max, _) = both(|side| side.near);
    let [first, second] = sides;
    let (rarer, commoner) = if first.rarest >= second.rarest {
        (first, second)
    } else {
        (second, first)
    };
    let total = first.total + second.total;
    let shared = total - first.lost - second.lost;
    let matched = alignment.of_a.iter().flatten().count() as f32;
    let (long, short) = (
        a.words.len().max(b.words.len()) as f32,
        a.words.len().min(b.words.len()) as f32,
    );
    let inversion = inversion(a, alignment);
    let changes_voice = a.is_passive != b.is_passive;
    let differs = |has: fn(&Traits) -> bool| flag(a.any(has) != b.any(has));
    [
        cosine,
        static_cosine(&a.vector, &b.vector),
        if total > 0.0 { shared / total } else { 1.0 },
        lost_max,
        lost_min,
        rarer.rarest,
        commoner.rarest,
        rarer.rarest_nearest,
        commoner.rarest_nearest,
        unmatched_max.min(8.0),
        unmatched_min.min(8.0),
        matched.min(24.0),
        short / long,
        short.min(24.0),
        slots(a, b),
        inversion,
        flag(changes_voice),
        // A passive with reversed order has the same meaning; one without the other exchanges roles.
        flag((inversion > 0.5) != changes_voice),
        differs(|word| word.past),
        differs(|word| word.future),
        differs(|word| word.becoming),
        modal(a, b),
        kind_distance(a.kind, b.kind),
        names_max.min(4.0),
        names_min.min(4.0),
        edits(&a.squeezed, &b.squeezed),
        function_max.min(8.0),
        near_max,
        constraints_max.min(4.0),
        directions_max.min(4.0),
    ]
}

impl Side {
    /// Share of the rarity that unmatched words have.
    fn lost_share(&self) -> f32 {
        if self.total > 0.0 {
            self.lost / self.total
        } else {
            0.0
        }
    }
}

fn flag(is: bool) -> f32 {
    if is { 1.0 } else { 0.0 }
}

fn side(
    words: &[Word],
    matches: &[Option<usize>],
    others: &[Word],
    other_matches: &[Option<usize>],
    table: &StaticTable,
) -> Side {
    let mut side = Side::default();
    let unmatched_others: Vec<StaticVector> = others
        .iter()
        .zip(other_matches)
        .filter(|(word, matched)| matched.is_none() && word.is_content())
        .map(|(word, _)| table.vector(&word.pieces))
        .collect();
    for (word, matched) in words.iter().zip(matches) {
        if matched.is_none() {
            side.constraints += flag(!word.alternatives.is_empty() && word.is_content());
            side.directions += flag(word.traits.direction);
            side.function_unmatched += flag(!word.is_content());
        }
        if !word.is_content() {
            continue;
        }
        side.total += word.rarity;
        if matched.is_some() {
            continue;
        }
        let vector = table.vector(&word.pieces);
        let nearest = unmatched_others
            .iter()
            .map(|other| static_cosine(&vector, other))
            .fold(0.0, f32::max);
        side.lost += word.rarity;
        side.unmatched += 1.0;
        side.near += word.rarity * (1.0 - nearest);
        side.names += flag(word.is_name);
        if word.rarity > side.rarest {
            side.rarest = word.rarity;
            side.rarest_nearest = nearest;
        }
    }
    side
}

/// Number of prepositions of direction ("from …", "to …", "than …") that both texts have, with different objects.
fn slots(a: &Words, b: &Words) -> f32 {
    let mut conflicts = 0.0;
    for (index, word) in a.words.iter().enumerate() {
        if !word.traits.direction {
            continue;
        }
        let (Some(own_object), true) = (
            object(a, index),
            b.words.iter().any(|other| other.text == word.text),
        ) else {
            continue;
        };
        let same = b.words.iter().enumerate().any(|(other, candidate)| {
            let is_same_object =
                |object: &Word| object.stem == own_object.stem || misspelled(object, own_object);
            candidate.text == word.text && object(b, other).is_some_and(is_same_object)
        });
        conflicts += flag(!same);
    }
    conflicts
}

/// Share of pairs of matched content words whose order is reversed.
fn inversion(a: &Words, alignment: &Alignment) -> f32 {
    let positions: Vec<usize> = a
        .words
        .iter()
        .zip(&alignment.of_a)
        .filter(|(word, _)| {
            word.is_content() || word.alternatives.len() == 1 && !word.traits.function
        })
        .filter_map(|(_, position)| *position)
        .collect();
    let (mut reversed, mut pairs) = (0usize, 0usize);
    for (index, position) in positions.iter().enumerate() {
        for later in positions.iter().skip(index + 1) {
            pairs += 1;
            reversed += usize::from(later < position);
        }
    }
    if pairs == 0 {
        0.0
    } else {
        reversed as f32 / pairs as f32
    }
}

/// 0: equal modal verbs, 1: one side has additional ones, 2: different ones.
fn modal(a: &Words, b: &Words) -> f32 {
    let kinds = |words: &Words| {
        let modals = words.words.iter().map(|word| word.traits.modal);
        modals.fold(
            0u8,
            |set, kind| if kind == 0 { set } else { set | 1 << kind },
        )
    };
    let (of_a, of_b) = (kinds(a), kinds(b));
    match (of_a & !of_b != 0, of_b & !of_a != 0) {
        (false, false) => 0.0,
        (true, true) => 2.0,
        _ => 1.0,
    }
}

/// 0: equal kinds, 1: one kind is unclear, or they are similar, 2: different kinds.
fn kind_distance(a: QuestionKind, b: QuestionKind) -> f32 {
    if a == b {
        return 0.0;
    }
    match (a, b) {
        (QuestionKind::Unclear, _)
        | (_, QuestionKind::Unclear)
        | (QuestionKind::What, QuestionKind::How)
        | (QuestionKind::How, QuestionKind::What) => 1.0,
        _ => 2.0,
    }
}
