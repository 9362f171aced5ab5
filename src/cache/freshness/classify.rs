//! Classifies how long a response stays true, by the words of the question and of the response.
//!
//! Rules for English; text in other languages is classified as static. Must not know the store.

use crate::cache::freshness::cues;
use crate::cache::freshness::cues::Cue;
use crate::cache::freshness::time_dependence;
use crate::cache::freshness::time_dependence::CueSet;
use aho_corasick::{AhoCorasick, MatchKind};
use std::sync::LazyLock;

/// How long a response stays true, from longest to shortest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Does not change: definitions, explanations, past events.
    Static,
    /// Changes within months: offices, records, prices, counts.
    Slow,
    /// Changes within minutes: weather, today, scores.
    Live,
    /// About the caller's own affairs, or a command: the same words need another response each time.
    Personal,
}

/// Builds the word tables now, so that no request waits for it.
pub(crate) fn prepare() {
    cues::prepare();
    LazyLock::force(&RESPONSE_PHRASES);
}

/// Points from which a response depends on time.
const TIME_DEPENDENT_FROM: i32 = 2;

impl Freshness {
    /// Value in headers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Slow => "slow",
            Self::Live => "live",
            Self::Personal => "personal",
        }
    }

    /// Whether an old response is better than none.
    #[must_use]
    pub(crate) fn is_lasting(self) -> bool {
        self <= Self::Slow
    }

    /// The class of a question. A text of more than 512 bytes or 64 words is static: it contains the material that
    /// the question is about.
    #[must_use]
    pub fn of_question(question: &str) -> Self {
        let Some((cues, points)) = time_dependence::read(question) else {
            return Self::Static;
        };
        if is_personal(cues) {
            return Self::Personal;
        }
        if points < TIME_DEPENDENT_FROM {
            return Self::Static;
        }
        if cues.has(Cue::Live) {
            Self::Live
        } else {
            Self::Slow
        }
    }

    /// The class of a response by its own words: a response that mentions its date does not last.
    #[must_use]
    pub(crate) fn of_response(response: &str) -> Self {
        let bytes = response.as_bytes();
        let start = bytes.get(..RESPONSE_BYTES_READ).unwrap_or(bytes);
        let phrases = RESPONSE_PHRASES.as_ref();
        debug_assert!(phrases.is_some(), "the phrases are constants");
        let found = phrases
            .into_iter()
            .flat_map(|phrases| phrases.find_iter(start));
        let classes = found.map(|phrase| {
            if phrase.pattern().as_usize() < LIVE_PHRASES.len() {
                Self::Live
            } else {
                Self::Slow
            }
        });
        classes.max().unwrap_or(Self::Static)
    }
}

/// Bytes of a response that are read: a response that mentions its date does so early.
const RESPONSE_BYTES_READ: usize = 2048;

/// Phrases without their first letter, which may be a capital.
const LIVE_PHRASES: [&str; 7] = [
    "s of today",
    "s of now",
    "s of this moment",
    "ight now,",
    "eal-time data",
    "eal-time information",
    "eal time information",
];
const SLOW_PHRASES: [&str; 12] = [
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

/// Both lists, searched in one pass. Always `Some`: the lists are small and not empty.
static RESPONSE_PHRASES: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    let mut builder = AhoCorasick::builder();
    builder.match_kind(MatchKind::LeftmostFirst);
    let phrases = LIVE_PHRASES.iter().chain(&SLOW_PHRASES);
    builder.build(phrases).ok()
});

/// Whether a question is about the caller's own affairs, or is a command. A question how to do something is not.
fn is_personal(cues: CueSet) -> bool {
    if cues.has(Cue::HowTo) {
        return false;
    }
    cues.has(Cue::Personal) || cues.has(Cue::Mine) && cues.has(Cue::Holding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_classified_by_their_words() {
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
    fn responses_are_classified_by_their_words() {
        let of = Freshness::of_response;
        assert_eq!(of("Paris."), Freshness::Static);
        assert_eq!(of("As of my last update, it is 3."), Freshness::Slow);
        assert_eq!(of("It was 68 million as of 2023."), Freshness::Slow);
        assert_eq!(of("I cannot see real-time data."), Freshness::Live);
        // A phrase after the bytes that are read has no effect.
        let far = format!("{} as of 2023", "é".repeat(RESPONSE_BYTES_READ));
        assert_eq!(of(&far), Freshness::Static);
    }

    #[test]
    fn classes_are_ordered_from_longest_to_shortest() {
        assert!(Freshness::Static < Freshness::Slow && Freshness::Live < Freshness::Personal);
    }
}
