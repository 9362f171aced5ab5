//! The cues in a question for how long its answer stays true: plain data, in English.
//!
//! A cue is given by a word, a phrase (words in a row) or an opening (the first words). Words are in lower case, and
//! `'s` is a word. Points count towards "the answer depends on time"; `time_dependence.rs` decides what combinations
//! of cues mean. The cues were chosen by hand on half of a set of labelled questions; the results on the other half
//! are in `docs/cache.md`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// A cue. Its number is its bit in a set of cues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cue {
    Now,
    Live,
    Last,
    LastTime,
    LastTitle,
    LastName,
    Next,
    Period,
    There,
    How,
    HowMany,
    Superlative,
    Quantity,
    Sport,
    Office,
    Asks,
    Present,
    Past,
    Done,
    Has,
    Did,
    WhoHas,
    WhoHolds,
    Holder,
    Location,
    Settled,
    WhenDid,
    HowMuchDid,
    HowManySeries,
    HowManyPeople,
    Going,
    World,
    Count,
    Figure,
    Trait,
    Is,
    Wins,
    Prize,
    Fixed,
    FixedPhrase,
    Game,
    GameOn,
    Role,
    Who,
    Then,
    Head,
    Considered,
    Countries,
    First,
    Made,
    Fiction,
    Meaning,
    Part,
    Personal,
    HowTo,
    Mine,
    Holding,
}

/// A cue, its points, and what gives it: words; phrases; openings. `|` separates phrases and openings.
type Line = (Cue, i32, &'static str, &'static str, &'static str);

const LINES: [Line; 57] = [
    (
        Cue::Now,
        6,
        "today tonight tomorrow yesterday now currently current latest recent recently newest weather \
         forecast upcoming nowadays present incumbent reigning still yet lately",
        "",
        "",
    ),
    (
        Cue::Live,
        6,
        "today tonight tomorrow weather forecast",
        "right now|this morning|this afternoon|this evening|at the moment|stock price|share price|\
         exchange rate|latest news|news about|what time is it",
        "",
    ),
    (Cue::Last, 2, "last", "", ""),
    (
        Cue::LastTime,
        4,
        "",
        "last time|the last|last year|last season|last week|last month|last won|last win|last beat|last night",
        "",
    ),
    (
        Cue::LastTitle,
        -6,
        "",
        "last supper|last jedi|last kingdom|last airbender|last mohicans|last song|last man|last stand|last episode",
        "",
    ),
    (Cue::LastName, 0, "", "last name|last names", ""),
    (Cue::Next, 4, "next", "", ""),
    (
        Cue::Period,
        4,
        "",
        "this year|this season|this week|this month|right now|so far|all time|to date|of all|ever won|has ever|have ever",
        "",
    ),
    (
        Cue::There,
        0,
        "",
        "there are|there is|are there|is there",
        "",
    ),
    (Cue::How, 0, "", "", "how"),
    (Cue::HowMany, 2, "", "", "how many"),
    (
        Cue::Superlative,
        4,
        "most least highest lowest largest biggest smallest longest shortest tallest fastest slowest \
         richest oldest youngest wealthiest newest latest cheapest strongest deadliest deepest hottest \
         coldest busiest heaviest hardest brightest densest loudest wettest driest safest",
        "",
        "",
    ),
    (
        Cue::Quantity,
        4,
        "population price prices cost costs worth salary salaries wage rate rates gdp income tax taxes \
         average percentage percent number ranking rank ranked standings score scores value capita debt \
         budget unemployment inflation minimum temperature paid earn earns revenue tuition stock shares rent premium enrollment density growth subscribers followers sales employees mortgage wages fare fares billionaire billionaires millionaires",
        "",
        "how much is|how much does|how much do",
    ),
    (
        Cue::Sport,
        2,
        "won win wins winning championship championships playoffs playoff finals final title titles cup \
         bowl league nba nfl nhl mlb afl nrl ncaa fifa olympics medal medals gold goals runs points \
         touchdowns tries wickets homeruns home record records scored grammy oscar grammys oscars series \
         premiership trophy tournament season seasons superbowl fa wimbledon heisman derby masters scorer scorers standings pennant",
        "",
        "",
    ),
    (
        Cue::Office,
        0,
        "president minister mayor governor ceo chairman chief king queen senator senators secretary \
         justice coach captain owner owns manager leader speaker head director chancellor commissioner \
         ambassador representative judge judges champion champions pope members principal superintendent \
         dean premier sheriff quarterback host hosts anchor spokesman commander monarch prince goalkeeper \
         roster lineup owned treasurer attorney congressman congresswoman deputy vice chair chairwoman chairperson trainer boss cabinet",
        "",
        "",
    ),
    (Cue::Asks, 0, "", "", "who|what|which|is|name|how"),
    (Cue::Present, 0, "is are 's the current", "", ""),
    (Cue::Past, 0, "was were did first", "", ""),
    (
        Cue::Done,
        0,
        "been won had made played scored hosted",
        "",
        "",
    ),
    (Cue::Has, 0, "has", "", ""),
    (Cue::Did, 0, "did", "", ""),
    (Cue::WhoHas, 6, "", "", "who has"),
    (
        Cue::WhoHolds,
        4,
        "",
        "",
        "how old|who holds|who owns|who leads",
    ),
    (
        Cue::Holder,
        2,
        "",
        "",
        "which team|what team|who have|who won|who is|who are|who 's|is the|are there|who does|when is|\
         when will|when are|where will|where is the|what is on|when 's|what movies|what films|what books|\
         what shows|what else|list of|who represents|which party|what party|who did the|what country has|\
         which country has|which state has|what state has|what city has|which city has",
    ),
    (
        Cue::Location,
        1,
        "",
        "",
        "where to|what to|where is|where are|when to",
    ),
    (
        Cue::Settled,
        -2,
        "",
        "",
        "who plays|who played|who sings|who sang|who wrote|where was|when was|who was|who were|what was|\
         where did|why did|why is|where do|what does|what type|what kind|how do|how does|who directed|\
         where does|when did|why do|who died|who invented",
    ),
    (Cue::WhenDid, 0, "", "", "when did|where did"),
    (Cue::HowMuchDid, -4, "", "", "how much did"),
    (
        Cue::HowManySeries,
        0,
        "",
        "",
        "how many seasons|how many episodes|how many movies|how many books|how many series",
    ),
    (Cue::HowManyPeople, 0, "", "", "how many people"),
    (
        Cue::Going,
        2,
        "",
        "play for|playing for|plays for|play in|list of|been in|the new|new season|new episode|come back|\
         coming back|per capita|per year|each year|per square",
        "",
    ),
    (
        Cue::World,
        2,
        "",
        "in the world|in the us|in the usa|in the uk|in the country|in the united states|in the nfl|\
         in the nba|in the nhl|in the mlb|in the history|of the world|of the us|of the usa|of the uk|\
         of the country|of the united states|of the nfl|of the nba|of the nhl|of the mlb|of the history",
        "",
    ),
    (
        Cue::Count,
        0,
        "million billion worth people states countries cities episodes schools seasons members",
        "",
        "",
    ),
    (Cue::Figure, 2, "population weather price salary", "", ""),
    (
        Cue::Trait,
        0,
        "religion climate language economy unemployment minimum legal",
        "",
        "",
    ),
    (Cue::Is, 0, "is", "", ""),
    (Cue::Wins, -2, "wins", "", ""),
    (Cue::Prize, 0, "oscar oscars academy", "", ""),
    (
        Cue::Fixed,
        -2,
        "died die calories atomic element elements earth human body founder parents heart live lived end \
         cell cells blood planet bone bones muscle muscles organ organs acid protein proteins chemical enzyme atom atoms molecule formula mountain mountains river ocean desert peak island continent galaxy",
        "",
        "",
    ),
    (
        Cue::FixedPhrase,
        -4,
        "",
        "how much did|end up|come from|came from|according to|top model|square miles|band members|\
         named after|responsible for|made of|stand for",
        "",
    ),
    (Cue::Game, 0, "games game bowl", "", ""),
    (Cue::GameOn, 0, "is being does", "", ""),
    (Cue::Role, 0, "", "play in|plays in|play on|plays on", ""),
    (Cue::Who, 0, "", "", "who"),
    (
        Cue::Then,
        -2,
        "",
        "when she|when he|when they|what channel|the genre|considered to|belongs to|the name",
        "",
    ),
    (Cue::Head, 2, "", "head coach|the current", ""),
    (Cue::Considered, -2, "", "considered to|is considered", ""),
    (Cue::Countries, 0, "countries cities eu states", "", ""),
    (Cue::First, -6, "first original originally", "", ""),
    (
        Cue::Made,
        -2,
        "wrote invented discovered founded built directed sang sings sing played plays play recorded \
         composed produced voiced starred written created born died killed signed published established \
         formed named painted designed",
        "",
        "",
    ),
    (
        Cue::Fiction,
        -2,
        "movie film song book episode character show novel lyrics soundtrack theme scene voice voices \
         poem story tv anime cartoon album sitcom band musical opera actor actress singer fictional",
        "",
        "",
    ),
    (
        Cue::Meaning,
        -4,
        "definition meaning mean means called known battle war during before after between ancient act \
         amendment bible century empire revolution",
        "",
        "",
    ),
    (
        Cue::Part,
        0,
        "season episode chapter part volume series",
        "world war",
        "",
    ),
    (
        Cue::Personal,
        0,
        "",
        "",
        "send a|send an|send the|send me|send my|send this|send it|book a|book me|book the|book my|\
         reserve a|reserve the|order a|order me|order the|order my|buy me|buy a|cancel my|cancel the|\
         cancel this|cancel it|delete my|delete the|delete this|delete all|remove my|remove this|\
         schedule a|schedule an|schedule my|remind me|transfer my|transfer the|pay my|pay the|turn on|\
         turn off|switch on|switch off|set a|set an|set my|set the|call my|call me|text my|text me|\
         email my|email me|post this|submit my|submit this|refund my|refund me|lock my|lock the|\
         unlock my|unlock the|subscribe me|unsubscribe me|add this to|add it to|play some|play my|\
         change my|update my|track my|check my|show my|show me my|list my|renew my|restart my|\
         restart the|deploy the|deploy my|am i|did i|do i have|do i owe|have i|will i",
    ),
    (
        Cue::HowTo,
        0,
        "",
        "",
        "how do|how can|how to|how should|how would|how could|can i|what is the best way|what 's the best way",
    ),
    (Cue::Mine, 0, "my mine", "", ""),
    (
        Cue::Holding,
        0,
        "",
        "",
        "what is|what 's|what are|what was|where is|where 's|where are|when is|when 's|when was|when will|\
         who is|who 's|which of|is|are|was|how much|how many|has|have|did|does|why was|why is|why has",
    ),
];

/// The cues that begin with a word.
#[derive(Default)]
pub(crate) struct WordCues {
    /// Cues of the word alone, one bit each.
    pub alone: u64,
    pub phrases: Vec<PhraseCue>,
}

/// A cue given by a word and the words after it.
pub(crate) struct PhraseCue {
    /// The words after the first.
    pub rest: Vec<&'static str>,
    /// The bit of the cue.
    pub bit: u64,
    /// Whether it counts only at the beginning of a question.
    pub is_opening: bool,
}

type Map = HashMap<&'static str, WordCues, foldhash::fast::RandomState>;

static CUES: LazyLock<CueTable> = LazyLock::new(|| {
    let mut map = Map::default();
    for (cue, _, words, phrases, openings) in LINES {
        let bit = 1 << cue as u32;
        for word in words.split_whitespace() {
            map.entry(word).or_default().alone |= bit;
        }
        for (list, is_opening) in [(phrases, false), (openings, true)] {
            for phrase in list.split('|') {
                let mut words = phrase.split_whitespace();
                if let Some(first) = words.next() {
                    let phrase = PhraseCue {
                        rest: words.collect(),
                        bit,
                        is_opening,
                    };
                    map.entry(first).or_default().phrases.push(phrase);
                }
            }
        }
    }
    let mut lengths = [0; 256];
    for word in map.keys() {
        if let Some(first) = word.bytes().next() {
            lengths[usize::from(first)] |= length_bit(word);
        }
    }
    CueTable { map, lengths }
});

/// The words that begin a cue.
struct CueTable {
    map: Map,
    /// Lengths of the words by their first byte, one bit each: excludes most other words without a look-up.
    lengths: [u32; 256],
}

fn length_bit(word: &str) -> u32 {
    1 << word.len().min(31)
}

/// Builds the table now, so that the first question does not wait for it.
pub(crate) fn prepare() {
    LazyLock::force(&CUES);
}

/// The cues that begin with `word`.
pub(crate) fn cues_of(word: &str) -> Option<&'static WordCues> {
    let first = word.bytes().next()?;
    if CUES.lengths[usize::from(first)] & length_bit(word) == 0 {
        return None;
    }
    CUES.map.get(word)
}

/// The sum of the points of a set of cues.
pub(crate) fn points(cues: u64) -> i32 {
    let given = LINES.iter().filter(|line| cues & 1 << line.0 as u32 != 0);
    given.map(|line| line.1).sum()
}
