//! Splits a text into words, with the properties of each that the verifier needs.
//!
//! Knows English spelling and word lists; must not know what two texts are compared for.

use crate::cache::verify::lists;
use crate::cache::verify::lists::{Alternative, Traits};
use crate::embedding::table::{STATIC_DIMENSIONS, StaticTable, StaticVector};

/// Most words of a text that is verified.
pub(crate) const WORDS_MAX: usize = 160;

/// One word.
#[derive(Debug, Clone)]
pub struct Word {
    /// Lower case, without accents.
    pub text: String,
    /// The stem, for matching.
    pub stem: String,
    /// Its properties in the word lists.
    pub traits: Traits,
    /// The exclusive groups that it belongs to.
    pub alternatives: &'static [Alternative],
    /// Whether it is a number; `text` holds its digits.
    pub is_number: bool,
    /// Whether it mixes letters and digits, or is an abbreviation in capitals.
    pub is_code: bool,
    /// Whether it begins with a capital and does not begin the sentence.
    pub is_name: bool,
    /// Whether the vocabulary has it as one piece.
    pub is_known: bool,
    /// 0 for the most frequent word, 1 for a word that the vocabulary does not have as one piece.
    pub rarity: f32,
    /// Its pieces in the vocabulary.
    pub pieces: Vec<u32>,
}

impl Word {
    /// Whether it is neither a function word nor a negation.
    #[must_use]
    pub(crate) fn is_content(&self) -> bool {
        !self.traits.function && !self.traits.negation
    }
}

/// What kind of answer a question calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionKind {
    /// Unclear.
    Unclear,
    /// Yes or no.
    YesNo,
    /// A thing.
    What,
    /// A person.
    Who,
    /// A time.
    When,
    /// A place.
    Where,
    /// A reason.
    Why,
    /// A way.
    How,
    /// A number.
    HowMany,
    /// A duration, an age, a distance or a rate.
    HowLong,
}

/// A text, split into words.
#[derive(Debug, Clone)]
pub struct Words {
    /// In the order of the text.
    pub words: Vec<Word>,
    /// What kind of answer the text calls for.
    pub kind: QuestionKind,
    /// Number of negating words.
    pub negations: usize,
    /// Whether it has a form of *be* with a participle and *by*.
    pub is_passive: bool,
    /// Letters and digits only, in lower case.
    pub squeezed: String,
    /// Weighted sum of its pieces' vectors.
    pub vector: StaticVector,
}

impl Words {
    /// Splits a text. `None` when it has no word, or more than `WORDS_MAX`.
    #[must_use]
    pub fn read(text: &str, table: &StaticTable) -> Option<Self> {
        let mut words = Vec::with_capacity(24);
        let mut vector = [0.0; STATIC_DIMENSIONS];
        let mut squeezed = String::with_capacity(text.len());
        let mut starts_sentence = true;
        let all_capitals = !text.chars().any(char::is_lowercase);
        for raw in raw_words(text) {
            match raw {
                Raw::Stop => starts_sentence = true,
                Raw::Word(raw) => {
                    let capital = raw.chars().next().is_some_and(char::is_uppercase);
                    let shape = Shape {
                        is_name: capital && !starts_sentence && !all_capitals,
                        is_shouted: all_capitals,
                    };
                    push_word(raw, shape, table, &mut words, &mut vector, &mut squeezed);
                    starts_sentence = false;
                }
            }
            if words.len() > WORDS_MAX {
                return None;
            }
        }
        if words.is_empty() {
            return None;
        }
        Some(Self {
            kind: question_kind(&words),
            negations: words.iter().filter(|word| word.traits.negation).count(),
            is_passive: is_passive(&words),
            words,
            squeezed,
            vector,
        })
    }

    /// Whether any word has the trait.
    #[must_use]
    pub(crate) fn any(&self, has: impl Fn(&Traits) -> bool) -> bool {
        self.words.iter().any(|word| has(&word.traits))
    }

    /// Whether it describes a past habit: "used to", "use to".
    #[must_use]
    pub(crate) fn has_past_habit(&self) -> bool {
        // "is used to" describes a purpose.
        let follows_be = |index: usize| {
            let before = index
                .checked_sub(1)
                .and_then(|before| self.words.get(before));
            before.is_some_and(|word| is_be(&word.text) && word.text != "get")
        };
        self.words.windows(2).enumerate().any(|(index, pair)| {
            matches!(pair[0].text.as_str(), "use" | "used")
                && pair[1].text == "to"
                && !follows_be(index)
        })
    }
}

enum Raw<'t> {
    Word(&'t str),
    Stop,
}

/// Words (letters, digits, inner apostrophes, inner points and commas of numbers), signs with a meaning,
/// and ends of sentences.
fn raw_words(text: &str) -> impl Iterator<Item = Raw<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let first = rest.chars().next()?;
            if first.is_alphanumeric() {
                let end = word_end(rest);
                let (word, after) = rest.split_at(end);
                rest = after;
                return Some(Raw::Word(word));
            }
            let (sign, after) = rest.split_at(first.len_utf8());
            rest = after;
            match first {
                '$' | '€' | '£' | '¥' | '%' | '+' | '#' | '&' => return Some(Raw::Word(sign)),
                '.' | '!' | '?' | ':' | '\n' => return Some(Raw::Stop),
                _ => {}
            }
        }
    })
}

fn word_end(text: &str) -> usize {
    let mut last = ' ';
    let mut letters = text.char_indices().peekable();
    while let Some((offset, letter)) = letters.next() {
        let next = letters.peek().map(|(_, next)| *next);
        let joins = match letter {
            '\'' | '’' => next.is_some_and(char::is_alphabetic),
            '.' | ',' => last.is_ascii_digit() && next.is_some_and(|next| next.is_ascii_digit()),
            _ => letter.is_alphanumeric(),
        };
        if !joins {
            return offset;
        }
        last = letter;
    }
    text.len()
}

#[derive(Clone, Copy)]
struct Shape {
    is_name: bool,
    is_shouted: bool,
}

/// Letters after digits that are a unit.
const UNITS: [&str; 22] = [
    "st", "nd", "rd", "th", "am", "pm", "k", "m", "km", "kg", "g", "mg", "gb", "mb", "tb", "mm",
    "cm", "ft", "s", "h", "min", "x",
];

fn push_word(
    raw: &str,
    shape: Shape,
    table: &StaticTable,
    words: &mut Vec<Word>,
    vector: &mut StaticVector,
    squeezed: &mut String,
) {
    let plain: String = raw
        .chars()
        .flat_map(char::to_lowercase)
        .map(plain)
        .collect();
    squeezed.extend(plain.chars().filter(|letter| letter.is_alphanumeric()));
    let digits = plain.bytes().filter(u8::is_ascii_digit).count();
    let letters = plain
        .chars()
        .filter(|letter| letter.is_alphabetic())
        .count();
    let mut push = |text: &str, is_number: bool, is_code: bool| {
        words.push(word(text, is_number, is_code, shape.is_name, table, vector));
    };
    if digits > 0 && letters == 0 {
        return push(&plain.replace(',', ""), true, false);
    }
    if digits > 0 {
        let head = plain.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = plain.split_at(head);
        if head > 0 && UNITS.contains(&unit) {
            push(number, true, false);
            return push(unit, false, false);
        }
        return push(&plain, false, true);
    }
    let is_abbreviation =
        !shape.is_shouted && raw.len() >= 2 && raw.chars().all(|letter| letter.is_uppercase());
    match expand(&plain) {
        (base, Some(added)) => {
            if !base.is_empty() {
                push(base, false, false);
            }
            push(added, false, false);
        }
        (base, None) => match lists::number(base) {
            Some(number) => push(number, true, false),
            None => push(base, false, is_abbreviation),
        },
    }
}

/// The letter without its accent, or a plain apostrophe. Letters outside the Latin script stay.
fn plain(letter: char) -> char {
    match letter {
        '’' => '\'',
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ý' | 'ÿ' => 'y',
        _ => letter,
    }
}

/// The two words of a contraction; a possessive loses its `'s`.
fn expand(word: &str) -> (&str, Option<&'static str>) {
    let Some(apostrophe) = word.find('\'') else {
        return match word {
            "cannot" | "cant" => ("can", Some("not")),
            "dont" => ("do", Some("not")),
            "doesnt" => ("does", Some("not")),
            "didnt" => ("did", Some("not")),
            "isnt" => ("is", Some("not")),
            "wont" => ("will", Some("not")),
            "whats" => ("what", Some("is")),
            "im" => ("i", Some("am")),
            _ => (word, None),
        };
    };
    let (base, ending) = word.split_at(apostrophe);
    match ending {
        "'t" => match base {
            "can" => ("can", Some("not")),
            "won" => ("will", Some("not")),
            "shan" => ("shall", Some("not")),
            _ => (base.strip_suffix('n').unwrap_or(base), Some("not")),
        },
        "'re" => (base, Some("are")),
        "'m" => (base, Some("am")),
        "'ve" => (base, Some("have")),
        "'ll" => (base, Some("will")),
        "'d" => (base, Some("would")),
        "'s" => match base {
            "what" | "who" | "where" | "how" | "why" | "when" | "it" | "that" | "there" | "he"
            | "she" | "here" => (base, Some("is")),
            "let" => (base, Some("us")),
            _ => (base, None),
        },
        _ => (base, None),
    }
}

fn word(
    text: &str,
    is_number: bool,
    is_code: bool,
    is_name: bool,
    table: &StaticTable,
    vector: &mut StaticVector,
) -> Word {
    let mut pieces = Vec::with_capacity(4);
    table.split(text, &mut pieces);
    for id in &pieces {
        table.add_weighted(*id, vector);
    }
    let traits = if is_number {
        Traits::default()
    } else {
        lists::traits(text)
    };
    Word {
        stem: stem(text).to_owned(),
        traits,
        alternatives: lists::alternatives(text),
        is_number,
        is_code,
        is_name,
        is_known: pieces.len() == 1,
        rarity: table.rarity(&pieces),
        pieces,
        text: text.to_owned(),
    }
}

/// Cuts the most common endings: enough for *flights* and *flight*, *banned* and *ban* to match.
#[must_use]
pub(crate) fn stem(word: &str) -> &str {
    const LEFT_MIN: usize = 3;
    let cut = |ending: &str| {
        let left = word.strip_suffix(ending)?;
        (left.len() >= LEFT_MIN).then_some(left)
    };
    if word.ends_with("ss") || word.ends_with("us") || word.ends_with("is") {
        return word;
    }
    let left = cut("ies")
        .or_else(|| cut("ing"))
        .or_else(|| cut("ed"))
        .or_else(|| cut("es"))
        .or_else(|| cut("ly"))
        .or_else(|| cut("s"))
        .or_else(|| cut("e"))
        .or_else(|| cut("y"))
        .unwrap_or(word);
    // stopped → stopp → stop
    match left.as_bytes() {
        [.., a, b] if a == b && left.len() > LEFT_MIN && !matches!(b, b's' | b'l') => {
            left.get(..left.len() - 1).unwrap_or(left)
        }
        _ => left,
    }
}

fn question_kind(words: &[Word]) -> QuestionKind {
    let texts = || words.iter().map(|word| word.text.as_str());
    let yes_no = [
        "is", "are", "am", "was", "were", "do", "does", "did", "can", "could", "should", "would",
        "will", "has", "have", "had", "may", "must",
    ];
    if texts().next().is_some_and(|first| yes_no.contains(&first)) {
        return QuestionKind::YesNo;
    }
    for (index, text) in texts().enumerate() {
        let next = words.get(index + 1).map_or("", |word| word.text.as_str());
        return match (text, next) {
            ("how", "many" | "much") => QuestionKind::HowMany,
            ("how", "long" | "old" | "far" | "often" | "tall" | "big" | "fast" | "high") => {
                QuestionKind::HowLong
            }
            ("how", "come") | ("why", _) => QuestionKind::Why,
            ("how", _) => QuestionKind::How,
            ("who" | "whom" | "whose", _) => QuestionKind::Who,
            ("when", _) | ("what" | "which", "time" | "year" | "date" | "day" | "month") => {
                QuestionKind::When
            }
            ("where", _) | ("what" | "which", "city" | "country" | "place" | "state" | "town") => {
                QuestionKind::Where
            }
            ("what" | "which", _) => QuestionKind::What,
            _ => continue,
        };
    }
    QuestionKind::Unclear
}

/// *is … loved by*: a form of *be*, and later a participle directly before *by*.
fn is_passive(words: &[Word]) -> bool {
    let participle = |word: &Word| {
        word.text.ends_with("ed")
            || word.text.ends_with("en")
            || word.text.ends_with('t')
            || word.text.ends_with("wn")
            || word.text.ends_with("ght")
    };
    let by = words
        .windows(2)
        .position(|pair| pair[1].text == "by" && participle(&pair[0]));
    by.is_some_and(|by| words.iter().take(by).any(|word| is_be(&word.text)))
}

fn is_be(word: &str) -> bool {
    matches!(
        word,
        "is" | "are" | "was" | "were" | "be" | "been" | "being" | "get" | "got"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_match() {
        for (a, b) in [
            ("flights", "flight"),
            ("stopped", "stop"),
            ("banning", "ban"),
            ("cities", "city"),
            ("making", "make"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        assert_ne!(stem("class"), stem("clas"));
    }

    #[test]
    fn raw_words_keep_numbers_and_contractions_whole() {
        let words: Vec<String> = raw_words("What's $1,000.50 to me? I don't-know; C3PO.")
            .filter_map(|raw| match raw {
                Raw::Word(word) => Some(word.to_owned()),
                Raw::Stop => None,
            })
            .collect();
        assert_eq!(
            words,
            [
                "What's", "$", "1,000.50", "to", "me", "I", "don't", "know", "C3PO"
            ]
        );
        assert_eq!(expand("what's"), ("what", Some("is")));
        assert_eq!(expand("don't"), ("do", Some("not")));
        assert_eq!(expand("rome's"), ("rome", None));
    }
}
