//! Which word of one text stands for which of the other.
//!
//! Knows spelling; must not know what a match is worth.

use crate::cache::verify::words::{Word, Words};

/// How words of two texts were matched.
pub(crate) struct Alignment {
    /// For each word of a: its match in b.
    pub of_a: Vec<Option<usize>>,
    /// For each word of b: its match in a.
    pub of_b: Vec<Option<usize>>,
}

/// Matches equal stems, nearest position first, then spelling mistakes.
pub(crate) fn align(a: &Words, b: &Words) -> Alignment {
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
pub(crate) fn misspelled(a: &Word, b: &Word) -> bool {
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

/// Of two texts that are the same but for two neighbouring signs in exchanged places (two letters, or a
/// letter and a space), the one that is spelled right: its words are in the vocabulary, and of the
/// other's one is not. `None` where both could be meant: "form" and "from", "now here" and "nowhere".
pub(crate) fn spelled_right<'w>(a: &'w Words, b: &'w Words) -> Option<&'w Words> {
    if !swapped_once(a.squeezed.as_bytes(), b.squeezed.as_bytes()) {
        return None;
    }
    let same = |(one, other): &(&Word, &Word)| one.text == other.text;
    let head = a.words.iter().zip(&b.words).take_while(same).count();
    let (a_rest, b_rest) = (a.words.get(head..)?, b.words.get(head..)?);
    let ends = a_rest.iter().rev().zip(b_rest.iter().rev());
    let tail = ends.take_while(same).count();
    let (mine, theirs) = (
        a_rest.get(..a_rest.len() - tail)?,
        b_rest.get(..b_rest.len() - tail)?,
    );
    if mine
        .iter()
        .chain(theirs)
        .any(|word| word.is_code || word.is_number)
    {
        return None;
    }
    let known = |words: &[Word]| words.iter().all(|word| word.is_known);
    match (known(mine), known(theirs)) {
        (true, false) => Some(a),
        (false, true) => Some(b),
        _ => None,
    }
}

/// Whether two texts without spaces are the same, or are so once two neighbours change places.
fn swapped_once(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let Some(at) = a.iter().zip(b).position(|(x, y)| x != y) else {
        return true;
    };
    match (a.get(at..), b.get(at..)) {
        (Some([x, y, rest @ ..]), Some([v, w, others @ ..])) => x == w && y == v && rest == others,
        _ => false,
    }
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
pub(crate) fn edits(a: &str, b: &str) -> f32 {
    const EDITS_MAX: usize = 3;
    const LETTERS_MAX: usize = 160;
    if a.len().max(b.len()) > LETTERS_MAX {
        return if a == b { 0.0 } else { 4.0 };
    }
    distance(a.as_bytes(), b.as_bytes(), EDITS_MAX) as f32
}

pub(crate) fn unmatched<'w>(
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
    use crate::embedding::table::StaticTable;

    #[test]
    fn slips_of_the_pen_count_as_one() {
        assert_eq!(distance(b"application", b"applicatoin", 2), 1);
        assert_eq!(distance(b"boston", b"austin", 2), 3);
        assert_eq!(distance(b"", b"ab", 2), 2);
        assert_eq!(edits("humanimpactonthe", "humanimpactonthe"), 0.0);
        assert!(swapped_once(b"livinginrome", b"livinginrome"));
        assert!(swapped_once(b"whyiscna", b"whyiscan"));
        assert!(!swapped_once(b"whyisacn", b"whyiscan1"));
        assert!(!swapped_once(b"abc", b"cba"));
    }

    #[test]
    fn what_is_meant_is_told_only_where_the_vocabulary_tells() {
        let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/all-minilm-l6-v2/");
        let file = |name: &str| std::fs::read(format!("{model}{name}")).unwrap();
        let table = StaticTable::read(&file("static.bin"), &file("tokenizer.json")).unwrap();
        let right = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| Words::read(text, &table).unwrap());
            let right = spelled_right(&a, &b).map(|right| right.words.clone());
            right.map(|words| {
                words
                    .iter()
                    .map(|word| word.text.clone())
                    .collect::<Vec<_>>()
            })
        };
        for slip in [
            "Why is Pkaistan poor?",
            "Why is Pakista npoor?",
            "whyi s Pakistan poor",
        ] {
            for (a, b) in [
                (slip, "Why is Pakistan poor?"),
                ("Why is Pakistan poor?", slip),
            ] {
                let meant = ["why", "is", "pakistan", "poor"]
                    .map(str::to_owned)
                    .to_vec();
                assert_eq!(right(a, b), Some(meant), "{a} / {b}");
            }
        }
        for (a, b) in [
            ("a letter form Rome", "a letter from Rome"),
            ("where is Brian", "where is Brain"),
            ("he is nowhere", "he is now here"),
            ("what is the IPS", "what is the ISP"),
            ("why is Iran poor", "why is Iraq poor"),
            ("flights at 12:30", "flights at 13:20"),
            ("why is it poor", "why is it poor"),
        ] {
            assert_eq!(right(a, b), None, "{a} / {b}");
        }
    }
}
