//! How strongly the words of a question indicate that its answer depends on time.
//!
//! Adds the points of single cues and of combinations of cues. Knows English questions; must not know what
//! the points are used for.

use crate::cache::freshness::cues::{Cue, cues_of, points};
use arrayvec::{ArrayString, ArrayVec};

/// Longest question that is read, in bytes and words. A longer text contains the material that it is about.
const BYTES_MAX: usize = 512;
const WORDS_MAX: usize = 64;

/// The cues in a question, one bit each.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CueSet(u64);

impl CueSet {
    pub(crate) fn has(self, cue: Cue) -> bool {
        self.0 & 1 << cue as u32 != 0
    }
}

/// The cues of a question and its points; 2 or more mean that the answer depends on time. `None` when the question
/// is too long.
pub(crate) fn read(question: &str) -> Option<(CueSet, i32)> {
    if question.len() > BYTES_MAX {
        return None;
    }
    let plain = lower(question);
    let mut words: ArrayVec<&str, WORDS_MAX> = ArrayVec::new();
    for word in split(&plain) {
        words.try_push(word).ok()?;
    }
    let cues = cues(&words);
    if cues.0 == 0 {
        return Some((cues, 0));
    }
    Some((cues, points(cues.0) + combination_points(cues, &words)))
}

/// The text in lower case with plain apostrophes; other characters beyond ASCII become spaces.
fn lower(text: &str) -> ArrayString<BYTES_MAX> {
    let mut plain = ArrayString::new();
    if text.is_ascii() {
        let pushed = plain.try_push_str(text);
        debug_assert!(pushed.is_ok(), "longer texts are not read");
        plain.make_ascii_lowercase();
        return plain;
    }
    for letter in text.chars() {
        let letter = match letter {
            '’' => '\'',
            _ if letter.is_ascii() => letter.to_ascii_lowercase(),
            _ => ' ',
        };
        let pushed = plain.try_push(letter);
        debug_assert!(pushed.is_ok(), "the result is not longer than the text");
    }
    plain
}

/// Whether a byte is part of a word.
const IN_WORDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        table[index] = byte.is_ascii_alphanumeric() || byte == b'$' || byte == b'\'';
        index += 1;
    }
    table
};

/// Runs of letters, digits, `$` and apostrophes; `'s` at the end of a run is a separate word. The text is ASCII.
fn split(plain: &str) -> impl Iterator<Item = &str> {
    let runs = plain
        .as_bytes()
        .chunk_by(|byte, next| IN_WORDS[usize::from(*byte)] == IN_WORDS[usize::from(*next)]);
    let mut from = 0;
    let runs = runs.filter_map(move |run| {
        let start = from;
        from += run.len();
        let is_word = run.first().is_some_and(|byte| IN_WORDS[usize::from(*byte)]);
        plain.get(start..from).filter(|_| is_word)
    });
    runs.flat_map(|run| {
        let parts = match run.strip_suffix("'s") {
            Some("") | None => [run, ""],
            Some(before) => [before, "'s"],
        };
        parts.into_iter().filter(|part| !part.is_empty())
    })
}

fn cues(words: &[&str]) -> CueSet {
    let mut cues = 0;
    for (index, word) in words.iter().enumerate() {
        let Some(word_cues) = cues_of(word) else {
            continue;
        };
        cues |= word_cues.alone;
        for phrase in &word_cues.phrases {
            let after = words.get(index + 1..index + 1 + phrase.rest.len());
            let may_start_here = index == 0 || !phrase.is_opening;
            if may_start_here && after == Some(phrase.rest.as_slice()) {
                cues |= phrase.bit;
            }
        }
    }
    CueSet(cues)
}

/// Points for combinations of cues.
fn combination_points(cues: CueSet, words: &[&str]) -> i32 {
    let mut sum = 0;
    let mut when = |holds: bool, points: i32| sum += if holds { points } else { 0 };
    let has = |cue| cues.has(cue);
    let sport = has(Cue::Sport);
    // "last name" means nothing; "did they last win" counts as much as "the last time".
    when(has(Cue::Last) && has(Cue::LastName), -2);
    let last = has(Cue::Last) && !has(Cue::LastName) && !has(Cue::LastTime);
    when(last && (has(Cue::Did) || words.contains(&"was")), 4);
    when(has(Cue::LastTime) && has(Cue::LastName), -4);
    when(has(Cue::How) && has(Cue::There), 4);
    let now = has(Cue::Asks) && has(Cue::Present) && !has(Cue::Past);
    when(has(Cue::Office) && now, 4);
    when(has(Cue::Has) && has(Cue::Done), 2);
    // "when did they win" depends on time, "when did they marry" does not.
    let when_did = has(Cue::WhenDid);
    when(when_did && !sport, -2);
    when(when_did && sport && words.first() == Some(&"when"), 2);
    when(has(Cue::How) && has(Cue::Count) && !has(Cue::Did), 2);
    when(has(Cue::Trait) && has(Cue::Is), 2);
    let win = words.contains(&"win");
    when(win && !has(Cue::Wins) && words.contains(&"season"), -2);
    when(has(Cue::Prize) && words.contains(&"for"), -2);
    when(has(Cue::Did) && !sport && !has(Cue::Last), -2);
    when(has(Cue::HowManyPeople) && words.contains(&"died"), -4);
    when(has(Cue::Game) && has(Cue::GameOn), 2);
    let plays_for = || words.windows(2).any(|pair| pair == ["play", "for"]);
    when(has(Cue::Who) && has(Cue::Role) && !plays_for(), -4);
    if has(Cue::HowManySeries) {
        let is_short = words.len() <= 8 || words.contains(&"there");
        when(true, if is_short { 1 } else { -1 });
    }
    let is = || has(Cue::Is) || words.contains(&"are") || words.contains(&"have");
    when(has(Cue::Countries) && is(), 1);
    when(words.iter().any(|word| is_year(word)), -8);
    // A numbered part of a series is in the past.
    let numbered = has(Cue::Part).then(|| numbered_parts(words));
    let numbered = numbered.unwrap_or_default();
    when(numbered.season && (win || words.contains(&"won")), -2);
    when(numbered.series || numbered.nth, -4);
    when(numbered.part, -6);
    sum
}

/// Numbered parts of a series that a question mentions.
#[derive(Default)]
struct NumberedParts {
    /// "season 3"
    season: bool,
    /// "series 3"
    series: bool,
    /// "episode 3", "world war two"
    part: bool,
    /// "third season", "3rd episode"
    nth: bool,
}

fn numbered_parts(words: &[&str]) -> NumberedParts {
    const NUMBERS: [&str; 13] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "i", "ii",
        "iii",
    ];
    const NTH: [&str; 5] = ["second", "third", "fourth", "fifth", "final"];
    let mut found = NumberedParts::default();
    for pair in words.windows(2) {
        let [word, next] = *pair else { continue };
        let is_number = next.bytes().all(|byte| byte.is_ascii_digit()) || NUMBERS.contains(&next);
        let is_nth = NTH.contains(&word)
            || word.starts_with(|letter: char| letter.is_ascii_digit())
                && ["st", "nd", "rd", "th"]
                    .iter()
                    .any(|end| word.ends_with(end));
        found.season |= matches!(word, "season" | "series") && is_number;
        found.series |= word == "series" && is_number;
        found.part |= matches!(
            word,
            "season" | "episode" | "chapter" | "part" | "volume" | "war"
        ) && is_number;
        found.nth |= is_nth && matches!(next, "season" | "episode");
    }
    found
}

/// Whether the word is a year from 1000 to 2099, or a decade.
fn is_year(word: &str) -> bool {
    let digits = word.trim_end_matches('s').trim_end_matches('\'');
    digits.len() == 4
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.starts_with('1') || digits.starts_with("20"))
}
