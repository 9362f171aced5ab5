//! How strongly a question's words tell that its answer changes with time.
//!
//! Points by cue, and what follows from cues that meet. Knows English questions; must not know what is
//! done with the outcome.

use crate::cache::freshness::cues::{Cue, points, told};
use arrayvec::{ArrayString, ArrayVec};

/// Longest question that is looked at, in bytes and words. A longer text brings what it is asked about.
pub(crate) const BYTES_MAX: usize = 512;
const WORDS_MAX: usize = 64;

/// Cues told by a question.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cues(u64);

impl Cues {
    /// Whether it is told.
    pub(crate) fn has(self, cue: Cue) -> bool {
        self.0 & 1 << cue as u32 != 0
    }
}

/// Reads a question: its cues and its points, 2 or more of which say that the answer changes with time.
/// `None` when it is too long.
pub(crate) fn read(question: &str) -> Option<(Cues, i32)> {
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
    Some((cues, points(cues.0) + meetings(cues, &words)))
}

/// In lower case, with plain apostrophes; everything else beyond ASCII parts words.
fn lower(text: &str) -> ArrayString<BYTES_MAX> {
    let mut plain = ArrayString::new();
    if text.is_ascii() {
        // It has room for it: longer texts are not read.
        let _ = plain.try_push_str(text);
        plain.make_ascii_lowercase();
        return plain;
    }
    for letter in text.chars() {
        let letter = match letter {
            '’' => '\'',
            _ if letter.is_ascii() => letter.to_ascii_lowercase(),
            _ => ' ',
        };
        // It is never longer than the text.
        let _ = plain.try_push(letter);
    }
    plain
}

/// Whether a byte is part of a word, by its number.
const IN_WORDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        table[at] = byte.is_ascii_alphanumeric() || byte == b'$' || byte == b'\'';
        at += 1;
    }
    table
};

/// Runs of letters, digits, `$` and apostrophes; `'s` at an end is a word of its own. The text is ASCII.
fn split(plain: &str) -> impl Iterator<Item = &str> {
    let runs = plain
        .as_bytes()
        .chunk_by(|one, next| IN_WORDS[usize::from(*one)] == IN_WORDS[usize::from(*next)]);
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

fn cues(words: &[&str]) -> Cues {
    let mut cues = 0;
    for (at, word) in words.iter().enumerate() {
        let Some(told) = told(word) else {
            continue;
        };
        cues |= told.alone;
        for (after, bit, opens) in &told.with {
            let follows = words.get(at + 1..at + 1 + after.len());
            if (at == 0 || !opens) && follows == Some(after.as_slice()) {
                cues |= bit;
            }
        }
    }
    Cues(cues)
}

/// Points for cues that meet.
fn meetings(cues: Cues, words: &[&str]) -> i32 {
    let mut sum = 0;
    let mut when = |holds: bool, points: i32| sum += if holds { points } else { 0 };
    let has = |cue| cues.has(cue);
    let sport = has(Cue::Sport);
    // "last name" tells nothing; "did they last win" as much as "the last time".
    when(has(Cue::Last) && has(Cue::LastName), -2);
    let last = has(Cue::Last) && !has(Cue::LastName) && !has(Cue::LastTime);
    when(last && (has(Cue::Did) || words.contains(&"was")), 4);
    when(has(Cue::LastTime) && has(Cue::LastName), -4);
    when(has(Cue::How) && has(Cue::There), 4);
    let now = has(Cue::Asks) && has(Cue::Present) && !has(Cue::Past);
    when(has(Cue::Office) && now, 4);
    when(has(Cue::Has) && has(Cue::Done), 2);
    // "when did they win" moves, "when did they marry" does not.
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
    let plays_for = || words.windows(2).any(|two| two == ["play", "for"]);
    when(has(Cue::Who) && has(Cue::Role) && !plays_for(), -4);
    if has(Cue::HowManySeries) {
        let is_short = words.len() <= 8 || words.contains(&"there");
        when(true, if is_short { 1 } else { -1 });
    }
    let is = || has(Cue::Is) || words.contains(&"are") || words.contains(&"have");
    when(has(Cue::Countries) && is(), 1);
    when(words.iter().any(|word| is_year(word)), -8);
    // What is numbered has been.
    let numbered = has(Cue::Part).then(|| numbered(words));
    let numbered = numbered.unwrap_or_default();
    when(numbered.season && (win || words.contains(&"won")), -2);
    when(numbered.series || numbered.nth, -4);
    when(numbered.part, -6);
    sum
}

/// How parts of a series are numbered.
#[derive(Default)]
struct Numbered {
    /// "season 3"
    season: bool,
    /// "series 3"
    series: bool,
    /// "episode 3", "world war two"
    part: bool,
    /// "third season", "3rd episode"
    nth: bool,
}

fn numbered(words: &[&str]) -> Numbered {
    const NUMBERS: [&str; 13] = [
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "i", "ii",
        "iii",
    ];
    const NTH: [&str; 5] = ["second", "third", "fourth", "fifth", "final"];
    let mut found = Numbered::default();
    for two in words.windows(2) {
        let [one, next] = *two else { continue };
        let is_number = next.bytes().all(|byte| byte.is_ascii_digit()) || NUMBERS.contains(&next);
        let is_nth = NTH.contains(&one)
            || one.starts_with(|letter: char| letter.is_ascii_digit())
                && ["st", "nd", "rd", "th"]
                    .iter()
                    .any(|end| one.ends_with(end));
        found.season |= matches!(one, "season" | "series") && is_number;
        found.series |= one == "series" && is_number;
        found.part |= matches!(
            one,
            "season" | "episode" | "chapter" | "part" | "volume" | "war"
        ) && is_number;
        found.nth |= is_nth && matches!(next, "season" | "episode");
    }
    found
}

/// 1000 to 2099, or a decade of them.
fn is_year(word: &str) -> bool {
    let digits = word.trim_end_matches('s').trim_end_matches('\'');
    digits.len() == 4
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits.starts_with('1') || digits.starts_with("20"))
}
