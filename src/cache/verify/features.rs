//! What two questions have in common and where they part, as numbers.
//!
//! Symmetric: asked and stored may change places. The trained model (`models/verifier`) was made from
//! exactly these numbers in exactly this order, by `examples/pair_features.rs`.

use crate::cache::verify::alignment::{Alignment, align, edits, misspelled, spelled_right};
use crate::cache::verify::lists::Traits;
use crate::cache::verify::rules;
use crate::cache::verify::rules::object;
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

/// What one side has unmatched.
#[derive(Default)]
struct Side {
    /// Rarity of all content words, and of unmatched ones.
    total: f32,
    lost: f32,
    unmatched: f32,
    /// Rarest unmatched content word, and how near the nearest unmatched of the other side is.
    rarest: f32,
    rarest_nearest: f32,
    names: f32,
    /// Loss less what a near word of the other side makes good.
    near: f32,
    function_unmatched: f32,
    /// Unmatched words of exclusive groups, and unmatched prepositions of direction.
    constraints: f32,
    directions: f32,
}

/// Compares two questions whose embeddings have this cosine. Of one slip of the pen the embedding makes
/// too much: where one question is the other misspelled, what is meant is compared with itself.
///
/// # Errors
/// The hard rule that the pair breaks.
pub fn compare(
    a: &Words,
    b: &Words,
    cosine: f32,
    table: &StaticTable,
) -> Result<Features, &'static str> {
    let alignment = align(a, b);
    if let Some(rule) = rules::veto(a, b, &alignment) {
        return Err(rule);
    }
    if let Some(meant) = spelled_right(a, b) {
        return Ok(compared(meant, meant, 1.0, &align(meant, meant), table));
    }
    Ok(compared(a, b, cosine, &alignment, table))
}

/// The features of a pair that breaks no rule.
fn compared(
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

#[allow(clippy::cast_precision_loss)]
fn numbers(
    a: &Words,
    b: &Words,
    cosine: f32,
    alignment: &Alignment,
    sides: &[Side; 2],
) -> Features {
    let both = |of: fn(&Side) -> f32| {
        let (one, other) = (of(&sides[0]), of(&sides[1]));
        (one.max(other), one.min(other))
    };
    let (lost_max, lost_min) = both(Side::lost_share);
    let (unmatched_max, unmatched_min) = both(|side| side.unmatched);
    let (names_max, names_min) = both(|side| side.names);
    let (function_max, _) = both(|side| side.function_unmatched);
    let (constraints_max, _) = both(|side| side.constraints);
    let (directions_max, _) = both(|side| side.directions);
    let (near_max, _) = both(|side| side.near);
    let [first, second] = sides;
    let (rarer, other) = if first.rarest >= second.rarest {
        (first, second)
    } else {
        (second, first)
    };
    let total = first.total + second.total;
    let kept = total - first.lost - second.lost;
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
        if total > 0.0 { kept / total } else { 1.0 },
        lost_max,
        lost_min,
        rarer.rarest,
        other.rarest,
        rarer.rarest_nearest,
        other.rarest_nearest,
        unmatched_max.min(8.0),
        unmatched_min.min(8.0),
        matched.min(24.0),
        short / long,
        short.min(24.0),
        slots(a, b),
        inversion,
        flag(changes_voice),
        // Passive and order reversed say the same; one without the other changes roles.
        flag((inversion > 0.5) != changes_voice),
        differs(|word| word.past),
        differs(|word| word.future),
        differs(|word| word.becoming),
        modal(a, b),
        asks(a.asks, b.asks),
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
    /// Share of the rarity that has no match.
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
    mine: &[Word],
    matches: &[Option<usize>],
    theirs: &[Word],
    taken: &[Option<usize>],
    table: &StaticTable,
) -> Side {
    let mut side = Side::default();
    let free: Vec<StaticVector> = theirs
        .iter()
        .zip(taken)
        .filter(|(word, taken)| taken.is_none() && word.is_content())
        .map(|(word, _)| table.vector(&word.pieces))
        .collect();
    for (word, matched) in mine.iter().zip(matches) {
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
        let nearest = free
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

/// Directions ("from …", "to …", "than …") that both texts have with different objects.
fn slots(a: &Words, b: &Words) -> f32 {
    let mut conflicts = 0.0;
    for (at, word) in a.words.iter().enumerate() {
        if !word.traits.direction {
            continue;
        }
        let (Some(mine), true) = (
            object(a, at),
            b.words.iter().any(|other| other.text == word.text),
        ) else {
            continue;
        };
        let same = b.words.iter().enumerate().any(|(other, candidate)| {
            candidate.text == word.text
                && object(b, other)
                    .is_some_and(|object| object.stem == mine.stem || misspelled(object, mine))
        });
        conflicts += flag(!same);
    }
    conflicts
}

/// Share of pairs of matched content words that stand in the other order.
#[allow(clippy::cast_precision_loss)]
fn inversion(a: &Words, alignment: &Alignment) -> f32 {
    let places: Vec<usize> = a
        .words
        .iter()
        .zip(&alignment.of_a)
        .filter(|(word, _)| {
            word.is_content() || word.alternatives.len() == 1 && !word.traits.function
        })
        .filter_map(|(_, place)| *place)
        .collect();
    let (mut turned, mut pairs) = (0usize, 0usize);
    for (at, place) in places.iter().enumerate() {
        for later in places.iter().skip(at + 1) {
            pairs += 1;
            turned += usize::from(later < place);
        }
    }
    if pairs == 0 {
        0.0
    } else {
        turned as f32 / pairs as f32
    }
}

/// 0: the same modal verbs, 1: one side has one more, 2: different ones.
fn modal(a: &Words, b: &Words) -> f32 {
    let kinds = |words: &Words| {
        let modals = words.words.iter().map(|word| word.traits.modal);
        modals.fold(
            0u8,
            |set, kind| if kind == 0 { set } else { set | 1 << kind },
        )
    };
    let (mine, theirs) = (kinds(a), kinds(b));
    match (mine & !theirs != 0, theirs & !mine != 0) {
        (false, false) => 0.0,
        (true, true) => 2.0,
        _ => 1.0,
    }
}

/// 0: the same, 1: one is not clear, or they are near, 2: different.
fn asks(a: QuestionKind, b: QuestionKind) -> f32 {
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
