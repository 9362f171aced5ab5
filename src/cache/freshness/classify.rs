//! How long an answer may be taken for true: by the words of the question, and of the answer.
//!
//! Pure rules in English; other languages read as static. Must not know stores.

use crate::cache::freshness::cues;
use crate::cache::freshness::cues::Cue;
use crate::cache::freshness::moving;
use crate::cache::freshness::moving::Cues;
use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::LazyLock;

/// How long an answer lasts, from longest to shortest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Definitions, explanations, what is past.
    Static,
    /// Changes in months: offices, records, prices, numbers of things.
    Slow,
    /// Changes in minutes: weather, today, scores.
    Live,
    /// About the asker's own things, or asks that something be done: another time, another answer.
    Personal,
}

/// Reads the lists of words now, so that no request waits for it.
pub fn prepare() {
    cues::prepare();
    LazyLock::force(&IN_ANSWER);
}

/// Points from which on an answer changes with time.
const MOVES_FROM: i32 = 2;

impl Freshness {
    /// In a word, for headers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Slow => "slow",
            Self::Live => "live",
            Self::Personal => "personal",
        }
    }

    /// Whether an old answer is better than none.
    #[must_use]
    pub fn is_lasting(self) -> bool {
        self <= Self::Slow
    }

    /// The class of a question. A text over 512 bytes or 64 words is static: it brings what it is asked about.
    #[must_use]
    pub fn of_question(question: &str) -> Self {
        let Some((cues, points)) = moving::read(question) else {
            return Self::Static;
        };
        if is_personal(cues) {
            return Self::Personal;
        }
        if points < MOVES_FROM {
            return Self::Static;
        }
        if cues.has(Cue::Live) {
            Self::Live
        } else {
            Self::Slow
        }
    }

    /// The class that an answer's own words tell: one that speaks of its date does not last.
    #[must_use]
    pub fn of_answer(response: &str) -> Self {
        let start = response.as_bytes();
        let start = start.get(..ANSWER_BYTES).unwrap_or(start);
        let phrases = IN_ANSWER.as_ref().into_iter();
        let told = phrases.flat_map(|phrases| phrases.find_iter(start));
        let classes = told.map(|phrase| {
            if phrase.pattern().as_usize() < LIVE_IN_ANSWER.len() {
                Self::Live
            } else {
                Self::Slow
            }
        });
        classes.max().unwrap_or(Self::Static)
    }
}

/// Of an answer this much is read: where it speaks of its date, it does so early.
const ANSWER_BYTES: usize = 2048;

/// Without first letters, so that capitals do not matter.
const LIVE_IN_ANSWER: [&str; 7] = [
    "s of today",
    "s of now",
    "s of this moment",
    "ight now,",
    "eal-time data",
    "eal-time information",
    "eal time information",
];
const SLOW_IN_ANSWER: [&str; 12] = [
    "s of my last",
    "s of my knowledge",
    "s of my most recent",
    "nowledge cutoff",
    "raining data",
    "s of 20",
    "s of early 20",
    "s of late 20",
    "s of mid-20",
    "ost recent information",
    "ay have changed",
    "up-to-date information",
];

/// Both lists, found in one pass. Always there: the lists are small and not empty.
static IN_ANSWER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    builder.match_kind(MatchKind::LeftmostFirst);
    let phrases = LIVE_IN_ANSWER.iter().chain(&SLOW_IN_ANSWER);
    builder.build(phrases).ok()
});

/// Asks about the asker's own things, or for something to be done. How to do it is no such question.
fn is_personal(cues: Cues) -> bool {
    if cues.has(Cue::HowTo) {
        return false;
    }
    cues.has(Cue::Personal) || cues.has(Cue::Mine) && cues.has(Cue::Holding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions() {
        use Freshness::{Live, Personal, Slow, Static};
        for (question, class) in [
            ("What is the capital of France?", Static),
            ("Who wrote Hamlet?", Static),
            ("What is a monad", Static),
            ("when did world war ii end", Static),
            ("who won the world cup in 1966", Static),
            ("What is the last name of Picasso?", Static),
            ("How do I reset my password?", Static),
            ("how can I cancel my order", Static),
            ("", Static),
            ("Was ist heute los?", Static),
            ("Who is the president of France?", Slow),
            ("What is the population of Kenya?", Slow),
            ("when was the last time the jets won", Slow),
            ("who has the most home runs", Slow),
            ("What’s the latest version of Rust?", Slow),
            ("What is the weather in Rome?", Live),
            ("what happened today in parliament", Live),
            ("what is the stock price of acme", Live),
            ("What is my balance?", Personal),
            ("where's my order", Personal),
            ("Cancel my subscription", Personal),
            ("turn off the lights", Personal),
            ("Do I have any meetings?", Personal),
        ] {
            assert_eq!(Freshness::of_question(question), class, "{question}");
        }
        let long = format!("What is the weather today? {}", "word ".repeat(80));
        assert_eq!(Freshness::of_question(&long), Static);
    }

    #[test]
    fn responses() {
        let of = Freshness::of_answer;
        assert_eq!(of("Paris."), Freshness::Static);
        assert_eq!(of("As of my last update, it is 3."), Freshness::Slow);
        assert_eq!(of("It was 68 million as of 2023."), Freshness::Slow);
        assert_eq!(of("I cannot see real-time data."), Freshness::Live);
        // Far behind, it is no longer read.
        let far = format!("{} as of 2023", "é".repeat(ANSWER_BYTES));
        assert_eq!(of(&far), Freshness::Static);
    }

    #[test]
    fn classes_are_ordered_by_how_soon_they_end() {
        assert!(Freshness::Static < Freshness::Slow && Freshness::Live < Freshness::Personal);
    }
}
