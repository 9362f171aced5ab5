//! English word lists of the verifier. Plain data; other files decide what a word means for a pair.

use std::collections::HashMap;
use std::sync::LazyLock;

type Map<V> = HashMap<&'static str, V, foldhash::fast::RandomState>;

/// Groups of words that exclude each other: a line is a group, `|` separates its alternatives, and the words
/// of one alternative have the same meaning.
const EXCLUSIVE: &str = "\
more most further | less least fewer fewest
increase increasing increased grow growing rise rising raise gain | decrease decreasing decreased shrink shrinking reduce reducing reduced fall falling drop dropping lower lowering lose losing
before prior preceding | after following afterwards since
above over | below under beneath
up upward upwards | down downward downwards
on | off
enable enabling enabled activate activating activated | disable disabling disabled deactivate deactivating deactivated
start starting started begin beginning begins open opening opened | stop stopping stopped end ending ended finish finishing close closing closed quit cancel
buy buying bought purchase purchasing purchased | sell selling sold sale
first earliest initial | last latest final newest
early earlier | late later
high higher tall taller | low lower short shorter
highest tallest | lowest shortest
big bigger large larger huge | small smaller little tiny
biggest largest | smallest
long longer | short shorter brief
longest | shortest
good great nice | bad poor terrible awful
best | worst
better | worse
love loved loving adore | hate hated hating
win winning won | lose losing lost
accept accepting accepted approve approving approved | reject rejecting rejected decline declining declined refuse refusing refused deny denied
allow allowed allowing permit permitted enable | forbid forbidden ban banned banning prohibit prohibited prevent block blocked
add adding added insert include including | remove removing removed delete deleting deleted exclude excluding drop
create creating make | delete deleting destroy destroying
upload uploading | download downloading
install installing installed | uninstall uninstalling uninstalled remove removing removed
connect connecting connected | disconnect disconnecting disconnected
lock locking locked | unlock unlocking unlocked
enter entering entry | exit exiting leave leaving
import importing imported | export exporting exported
lend lending lent | borrow borrowing borrowed
give giving gave send sending sent | take taking took receive receiving received
deposit depositing | withdraw withdrawing withdrawal
push | pull
encrypt encrypting | decrypt decrypting
encode encoding | decode decoding
credit | debit
save saving | spend spending waste wasting
male man men boy boys gentleman | female woman women girl girls lady
husband | wife
father dad | mother mom mum
brother | sister
son | daughter
uncle | aunt
king | queen
he him his himself | she her hers herself | it its
new newer modern recent | old older ancient
young younger | old older elderly
hot hotter warm warmer | cold colder cool cooler
hottest warmest | coldest coolest
rich wealthy | poor
strong stronger | weak weaker
fast faster quick quicker quickly rapid | slow slower slowly
fastest quickest | slowest
easy easier simple simpler | difficult hard harder complicated complex
possible | impossible
legal | illegal
safe | dangerous unsafe risky
healthy | unhealthy
positive | negative
happy | sad unhappy
true | false
right correct | wrong incorrect
left | right
cheap cheaper inexpensive | expensive dear costly
cheapest | costliest
minimum min minimal | maximum max maximal
same equal identical | different other
full | empty
public | private
internal inside indoor | external outside outdoor
major | minor
major | minor
visible show shown showing | hidden hide hiding invisible
with | without
for | against
morning | afternoon | evening | night tonight | noon | midnight
today | tomorrow | yesterday
monday mondays | tuesday tuesdays | wednesday wednesdays | thursday thursdays | friday fridays | saturday saturdays | sunday sundays
january jan | february feb | march | april apr | june jun | july jul | august aug | september sep sept | october oct | november nov | december dec
spring springtime | summer summertime | autumn fall | winter wintertime
north northern | south southern | east eastern | west western
arrive arriving arrival arrives arrived | depart departing departure departs departed leave leaving leaves
oneway | round roundtrip return
year years yearly annual annually | month months monthly | week weeks weekly | day days daily | hour hours hourly | minute minutes | second seconds
km kilometer kilometers kilometre kilometres | mile miles | meter meters metre metres | foot feet ft | inch inches
kg kilogram kilograms kilo kilos | pound pounds lb lbs | ounce ounces oz | gram grams
celsius | fahrenheit | kelvin
dollar dollars usd | euro euros eur | pound pounds gbp sterling | yen jpy | rupee rupees inr | yuan cny
breakfast | lunch | dinner supper
red | blue | green | yellow | black | white | orange | purple | brown | pink | grey gray
and plus | or
all every each everyone everybody everything | some any someone anybody something | none nobody nothing no
always ever | never | sometimes occasionally | often usually frequently | rarely seldom
both | either | neither
import | export
child children kid kids baby | adult adults grownup
student students pupil | teacher teachers professor
employee employees worker | employer employers boss
buyer customer client | seller vendor
parent parents | child children
doctor | patient
lender | borrower
tenant renter | landlord
ios iphone | android
windows | linux | mac macos osx
beginner beginners | expert experts advanced
mobile | desktop
single | married
vegetarian vegan | meat
domestic national | international foreign
wholesale | retail
gross | net
prefix | suffix
horizontal horizontally | vertical vertically
clockwise | counterclockwise anticlockwise
ascending ascend asc | descending descend desc
row rows | column columns
input inputs | output outputs
client | server
encoder | decoder
singular | plural
acid acidic | alkaline base basic
solid | liquid | gas
mammal mammals | reptile reptiles | bird birds | fish fishes
dog dogs puppy | cat cats kitten | horse horses | cow cows
city cities town | state states province | country countries nation | continent | county | river rivers | mountain mountains
airline airlines carrier carriers | flight flights | airport airports | aircraft plane planes | hotel hotels
arrive arrives arriving | fly flies flying
author authors writer | paper papers article articles | journal journals conference
density | size area
nonstop direct | connecting connection connections stopover stopovers
atheist | christian | muslim | jewish jew | hindu | buddhist
democrat democrats democratic | republican republicans
";

/// Words that turn a sentence round.
const NEGATIONS: &str =
    "not no never none nobody nothing neither nor cannot without nowhere hardly barely unable";

/// Words that carry grammar rather than meaning.
const FUNCTION: &str = "\
a an the this that these those there here it its is are am was were be been being do does did done doing have has had \
having will would shall should can could may might must to of in on at by for with from into onto about as than then so \
if but and or because while when where who whom whose what which why how i me my mine myself we us our ours you your \
yours yourself he him his she her hers they them their theirs someone anyone one ones some any all each every both \
please just also too very really actually ever even still yet only get got gets getting go goes going want wants like \
need needs let lets tell know help say says hi hello hey thanks thank ok okay out up down over again such own same s t \
d ll m re ve know find give show list me";

/// Auxiliaries and other words by the time they speak of.
const PAST: &str = "was were did had been used";
const FUTURE: &str = "will shall gonna";
const BECOMING: &str = "become becomes becoming";

/// What a modal verb asks for.
const MODALS: [(&str, u8); 12] = [
    ("should", 1),
    ("ought", 1),
    ("must", 2),
    ("need", 2),
    ("have", 0),
    ("can", 3),
    ("could", 3),
    ("able", 3),
    ("may", 4),
    ("might", 4),
    ("would", 5),
    ("will", 5),
];

/// Number words, and what they count.
const NUMBERS: &str = "zero:0 two:2 three:3 four:4 five:5 six:6 seven:7 eight:8 nine:9 ten:10 eleven:11 twelve:12 \
thirteen:13 fourteen:14 fifteen:15 sixteen:16 seventeen:17 eighteen:18 nineteen:19 twenty:20 thirty:30 forty:40 \
fifty:50 sixty:60 seventy:70 eighty:80 ninety:90 hundred:100 thousand:1000 million:1000000 billion:1000000000 \
dozen:12 twice:2 thrice:3 third:3 fourth:4 fifth:5 sixth:6 seventh:7 eighth:8 ninth:9 tenth:10";

/// Prepositions whose object has a role of its own.
const DIRECTIONS: &str = "from to into by than against before after without over under between";

/// Words that narrow an answer: a question with one more of them is another question.
const QUALIFIERS: &str = "\
monday tuesday wednesday thursday friday saturday sunday january february april may june july august september october \
november december morning afternoon evening night noon midnight today tomorrow yesterday tonight weekend weekday \
most least highest lowest largest biggest smallest cheapest earliest latest longest shortest oldest youngest fastest \
slowest nearest closest tallest first last second next previous only except average total maximum minimum max min \
nonstop direct connecting stopover connections free";

/// What is asked for when a number is, in other words than "how many".
const QUANTITIES: &str = "number count amount total population price cost costs fee fees quantity percentage percent \
salary rate age distance length height weight size duration";

/// An alternative of an exclusive group: words of one group and different alternatives exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternative {
    /// The group.
    pub group: u16,
    /// The alternative.
    pub alternative: u8,
}

/// Most groups that one word can be in.
pub(crate) const GROUPS_MAX: usize = 3;

static ALTERNATIVES: LazyLock<Map<Vec<Alternative>>> = LazyLock::new(|| {
    let mut map: Map<Vec<Alternative>> = Map::default();
    for (group, line) in (0u16..).zip(EXCLUSIVE.lines()) {
        for (alternative, words) in (0u8..).zip(line.split('|')) {
            for word in words.split_whitespace() {
                let of_word = map.entry(word).or_default();
                let alternative = Alternative { group, alternative };
                if of_word.len() < GROUPS_MAX && !of_word.contains(&alternative) {
                    of_word.push(alternative);
                }
            }
        }
    }
    map
});

/// Properties of a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traits {
    /// It negates.
    pub negation: bool,
    /// It has a grammatical function and little meaning.
    pub function: bool,
    /// It refers to the past.
    pub past: bool,
    /// It refers to the future.
    pub future: bool,
    /// It refers to a change.
    pub becoming: bool,
    /// It is a preposition that gives its object a role.
    pub direction: bool,
    /// It narrows the answer.
    pub qualifier: bool,
    /// It calls for a number.
    pub quantity: bool,
    /// Kind of modal verb; 0 = none.
    pub modal: u8,
}

static TRAITS: LazyLock<Map<Traits>> = LazyLock::new(|| {
    let mut map: Map<Traits> = Map::default();
    let mut mark = |words: &'static str, set: fn(&mut Traits)| {
        for word in words.split_whitespace() {
            set(map.entry(word).or_default());
        }
    };
    mark(NEGATIONS, |word| word.negation = true);
    mark(FUNCTION, |word| word.function = true);
    mark(PAST, |word| word.past = true);
    mark(FUTURE, |word| word.future = true);
    mark(BECOMING, |word| word.becoming = true);
    mark(DIRECTIONS, |word| word.direction = true);
    mark(QUALIFIERS, |word| word.qualifier = true);
    mark(QUANTITIES, |word| word.quantity = true);
    for (word, kind) in MODALS {
        map.entry(word).or_default().modal = kind;
    }
    map
});

static NUMBER_WORDS: LazyLock<Map<&'static str>> = LazyLock::new(|| {
    NUMBERS
        .split_whitespace()
        .filter_map(|pair| pair.split_once(':'))
        .collect()
});

/// The properties of `word`, in lower case.
#[must_use]
pub(crate) fn traits(word: &str) -> Traits {
    TRAITS.get(word).copied().unwrap_or_default()
}

/// The alternatives that `word` belongs to.
#[must_use]
pub(crate) fn alternatives(word: &str) -> &'static [Alternative] {
    ALTERNATIVES.get(word).map_or(&[], Vec::as_slice)
}

/// The number that `word` names, in digits.
#[must_use]
pub(crate) fn number(word: &str) -> Option<&'static str> {
    NUMBER_WORDS.get(word).copied()
}

/// Whether the two words exclude each other.
#[must_use]
pub(crate) fn exclude(a: &str, b: &str) -> bool {
    let of_b = alternatives(b);
    // Words that share an alternative anywhere do not exclude each other.
    let mut excludes = false;
    for own in alternatives(a) {
        for other in of_b.iter().filter(|other| other.group == own.group) {
            if other.alternative == own.alternative {
                return false;
            }
            excludes = true;
        }
    }
    excludes || is_negated(a, b) || is_negated(b, a)
}

/// Whether `a` is `b` with a negating prefix.
fn is_negated(a: &str, b: &str) -> bool {
    const PREFIXES: [&str; 8] = ["un", "in", "im", "ir", "il", "dis", "non", "mis"];
    const STEM_BYTES_MIN: usize = 4;
    b.len() >= STEM_BYTES_MIN
        && PREFIXES
            .iter()
            .any(|prefix| a.strip_prefix(prefix) == Some(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opposites_exclude_each_other_and_synonyms_do_not() {
        for (a, b) in [
            ("before", "after"),
            ("monday", "friday"),
            ("legal", "illegal"),
            ("approved", "disapproved"),
            ("he", "she"),
        ] {
            assert!(exclude(a, b) && exclude(b, a), "{a} {b}");
        }
        for (a, b) in [("start", "begin"), ("big", "large"), ("paris", "london")] {
            assert!(!exclude(a, b), "{a} {b}");
        }
    }
}
