//! Matches the words of two texts.
//!
//! Knows spelling; must not know what a match is used for.

use crate::cache::verify::words::{Word, Words};

/// The matches of two texts.
pub(crate) struct Alignment {
    /// For each word of a: the position of its match in b.
    pub of_a: Vec<Option<usize>>,
    /// For each word of b: the position of its match in a.
    pub of_b: Vec<Option<usize>>,
}

/// Matches equal words, then equal stems, then spelling mistakes, each with the nearest position first.
pub(crate) fn align(a: &Words, b: &Words) -> Alignment {
    let mut of_a = vec![None; a.words.len()];
    let mut of_b = vec![None; b.words.len()];
    let fits: [fn(&Word, &Word) -> bool; 3] = [
        |a, b| a.text == b.text,
        |a, b| !a.is_number && !b.is_number && a.stem == b.stem,
        misspelled,
    ];
    for fit in fits {
        for (in_a, word) in a.words.iter().enumerate() {
            if of_a[in_a].is_some() {
                continue;
            }
            let unmatched = b.words.iter().enumerate().filter(|(in_b, candidate)| {
                of_b.get(*in_b).is_some_and(Option::is_none) && fit(word, candidate)
            });
            let nearest = unmatched
                .map(|(in_b, _)| in_b)
                .min_by_key(|in_b| in_b.abs_diff(in_a));
            if let Some(in_b) = nearest {
                of_a[in_a] = Some(in_b);
                of_b[in_b] = Some(in_a);
            }
        }
    }
    Alignment { of_a, of_b }
}

/// Whether one of the two is not in the vocabulary, and they differ by one typing error (two in long words).
pub(crate) fn misspelled(a: &Word, b: &Word) -> bool {
    const LETTERS_MIN: usize = 4;
    const LONG: usize = 8;
    if a.is_number || b.is_number || a.is_code || b.is_code || (a.is_known && b.is_known) {
        return false;
    }
    let shorter = a.text.len().min(b.text.len());
    // A name that differs by one letter is another name, unless it is long.
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

/// Of two texts that differ only by two exchanged neighbouring characters (two letters, or a letter and a
/// space), the correct one: its words are in the vocabulary, and a word of the other is not. `None` when
/// both can be correct: "form" and "from", "now here" and "nowhere".
pub(crate) fn spelled_right<'w>(a: &'w Words, b: &'w Words) -> Option<&'w Words> {
    if !swapped_once(a.squeezed.as_bytes(), b.squeezed.as_bytes()) {
        return None;
    }
    let same = |(a, b): &(&Word, &Word)| a.text == b.text;
    let head = a.words.iter().zip(&b.words).take_while(same).count();
    let (a_rest, b_rest) = (a.words.get(head..)?, b.words.get(head..)?);
    let ends = a_rest.iter().rev().zip(b_rest.iter().rev());
    let tail = ends.take_while(same).count();
    let (a_differs, b_differs) = (
        a_rest.get(..a_rest.len() - tail)?,
        b_rest.get(..b_rest.len() - tail)?,
    );
    if a_differs
        .iter()
        .chain(b_differs)
        .any(|word| word.is_code || word.is_number)
    {
        return None;
    }
    let known = |words: &[Word]| words.iter().all(|word| word.is_known);
    match (known(a_differs), known(b_differs)) {
        (true, false) => Some(a),
        (false, true) => Some(b),
        _ => None,
    }
}

/// Whether two texts without spaces are equal, or become equal when two neighbouring letters are exchanged.
fn swapped_once(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let Some(start) = a.iter().zip(b).position(|(x, y)| x != y) else {
        return true;
    };
    match (a.get(start..), b.get(start..)) {
        (Some([x, y, rest @ ..]), Some([v, w, others @ ..])) => x == w && y == v && rest == others,
        _ => false,
    }
}

/// Number of letters inserted, removed, replaced or exchanged with their neighbour (restricted Damerau
/// distance); `max + 1` when there are more than `max`.
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

/// Edits between the texts without spaces and punctuation, at most 4. For long texts, 0 when they are equal
/// and 4 otherwise.
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
    fn a_typing_error_counts_as_one_edit() {
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
    fn a_spelling_is_corrected_only_when_the_vocabulary_decides() {
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
        for typo in [
            "Why is Pkaistan poor?",
            "Why is Pakista npoor?",
            "whyi s Pakistan poor",
        ] {
            for (a, b) in [
                (typo, "Why is Pakistan poor?"),
                ("Why is Pakistan poor?", typo),
            ] {
                let correct = ["why", "is", "pakistan", "poor"]
                    .map(str::to_owned)
                    .to_vec();
                assert_eq!(right(a, b), Some(correct), "{a} / {b}");
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
