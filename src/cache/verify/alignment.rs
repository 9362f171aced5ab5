//! Which word of one text stands for which of the other.
//!
//! Knows spelling; must not know what a match is worth.

use super::words::{Word, Words};

/// How words of two texts were matched.
pub struct Alignment {
    /// For each word of a: its match in b.
    pub of_a: Vec<Option<usize>>,
    /// For each word of b: its match in a.
    pub of_b: Vec<Option<usize>>,
}

/// Matches equal stems, nearest position first, then spelling mistakes.
pub fn align(a: &Words, b: &Words) -> Alignment {
    let mut of_a = vec![None; a.words.len()];
    let mut of_b = vec![None; b.words.len()];
    let fits: [fn(&Word, &Word) -> bool; 3] = [
        |one, other| one.text == other.text,
        |one, other| !one.is_number && !other.is_number && one.stem == other.stem,
        misspelled,
    ];
    for fit in fits {
        for (at, word) in a.words.iter().enumerate() {
            if of_a[at].is_some() {
                continue;
            }
            let free = b.words.iter().enumerate().filter(|(other, candidate)| {
                of_b.get(*other).is_some_and(Option::is_none) && fit(word, candidate)
            });
            let nearest = free
                .map(|(other, _)| other)
                .min_by_key(|other| other.abs_diff(at));
            if let Some(other) = nearest {
                of_a[at] = Some(other);
                of_b[other] = Some(at);
            }
        }
    }
    Alignment { of_a, of_b }
}

/// One of the two is no word of the vocabulary, and they differ by one slip (two in long words).
pub fn misspelled(a: &Word, b: &Word) -> bool {
    const LETTERS_MIN: usize = 4;
    const LONG: usize = 8;
    if a.is_number || b.is_number || a.is_code || b.is_code || (a.is_known && b.is_known) {
        return false;
    }
    let shorter = a.text.len().min(b.text.len());
    // A name one letter off is another name, unless it is long.
    let allowed = match shorter {
        0..LETTERS_MIN => return false,
        LETTERS_MIN..LONG => 1,
        _ => 2,
    };
    if a.is_name && b.is_name && shorter < LONG {
        return false;
    }
    a.text.as_bytes().first() == b.text.as_bytes().first()
        && distance(a.text.as_bytes(), b.text.as_bytes(), allowed) <= allowed
}

/// Letters inserted, removed, replaced or swapped with their neighbour (Damerau's distance, restricted);
/// more than `max` is `max + 1`.
fn distance(a: &[u8], b: &[u8], max: usize) -> usize {
    if a.len().abs_diff(b.len()) > max {
        return max + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        if row.iter().min().is_some_and(|least| *least > max) {
            return max + 1;
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()].min(max + 1)
}

/// Edits between the texts without spaces and punctuation, at most 4; 4 also when they are long.
#[allow(clippy::cast_precision_loss)]
pub fn edits(a: &str, b: &str) -> f32 {
    const EDITS_MAX: usize = 3;
    const LETTERS_MAX: usize = 160;
    if a.len().max(b.len()) > LETTERS_MAX {
        return if a == b { 0.0 } else { 4.0 };
    }
    distance(a.as_bytes(), b.as_bytes(), EDITS_MAX) as f32
}

pub fn unmatched<'w>(
    words: &'w [Word],
    matches: &'w [Option<usize>],
) -> impl Iterator<Item = &'w Word> {
    words
        .iter()
        .zip(matches)
        .filter(|(_, matched)| matched.is_none())
        .map(|(word, _)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_count_as_one() {
        assert_eq!(distance(b"application", b"applicatoin", 2), 1);
        assert_eq!(distance(b"boston", b"austin", 2), 3);
        assert_eq!(distance(b"", b"ab", 2), 2);
        assert_eq!(edits("humanimpactonthe", "humanimpactonthe"), 0.0);
    }
}
