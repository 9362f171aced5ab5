#!/usr/bin/env python3
"""Makes labelled question pairs for the verifier, from questions that may be used freely.

    models/pairs.py QUESTIONS.txt [COUNT] > pairs.jsonl

QUESTIONS.txt has one question a line. Each pair is a question and a change of it, `same` says whether one
answer serves both, and `source` names the change. Changes that keep the meaning: politeness, contraction,
case, articles, slips of the pen, other words for the same request, synonyms. Changes that do not: another
thing of the same kind, a condition more or less, another number, time, place, unit, direction, role,
quantity, person, or question word. Deterministic by its seed.
"""

import json
import random
import re
import sys

PREFIXES = ["can you tell me", "could you tell me", "please tell me", "i would like to know", "i want to know", "do you know", "tell me", "hi,", "hello,", "hey,", "quick question:", "i was wondering", "please,", "help me understand"]
SUFFIXES = ["please", "thanks", "thank you", "exactly", "please?", "these days"]
SAME_REQUEST = [
    ("how do i", "how can i", "how to", "how does one", "how would i", "what is the way to", "what's the best way to"),
    ("how do you", "how can you", "how to", "how does one", "how would you"),
    ("what is the", "what's the", "tell me the", "which is the", "give me the", "what would be the"),
    ("what is a", "what's a", "define a", "explain what a", "what does one mean by a"),
    ("what is", "what's", "define", "explain", "describe", "tell me about"),
    ("what are the", "list the", "which are the", "name the", "tell me the", "what're the"),
    ("is it possible to", "can i", "can you", "can one", "is there a way to"),
    ("why is", "why's", "what is the reason", "how come"),
    ("who is", "who's", "tell me who is"),
    ("i want to", "i'd like to", "i would like to", "i need to", "i wish to"),
    ("show me", "list", "give me", "display", "find"),
    ("what does", "what do"),
    ("in what year", "in which year", "what year", "when"),
]
SYNONYMS = ["movie film", "buy purchase", "begin start", "big large", "help assist", "kids children", "job occupation", "car automobile", "quickly fast", "earn make", "money cash", "fix repair", "get obtain", "difference distinction", "famous well-known", "smart intelligent", "begin commence", "country nation", "picture image photo", "trip journey", "choose pick select", "purpose aim", "cause reason", "error mistake", "happen occur", "live reside", "speak talk", "end finish", "author writer", "method way technique", "cheap inexpensive affordable", "remove delete", "create make", "change modify", "cancel terminate", "company firm", "doctor physician", "use utilize", "explain describe", "advantages benefits pros", "disadvantages drawbacks cons", "important significant", "improve enhance", "build construct", "learn study", "biggest largest", "phone telephone", "tv television", "usa america", "invoice bill", "shipping delivery", "password passcode", "modify change update"]
CONTRACTIONS = [("what is", "what's"), ("who is", "who's"), ("where is", "where's"), ("how is", "how's"), ("do not", "don't"), ("does not", "doesn't"), ("is not", "isn't"), ("can not", "can't"), ("i am", "i'm"), ("it is", "it's"), ("i have", "i've"), ("will not", "won't")]
NAMES = "James Mary Robert Patricia Michael Jennifer William Linda David Elizabeth Richard Barbara Joseph Susan Thomas Jessica Carlos Maria Ahmed Fatima Wei Yuki Olga Ivan Pierre Claire Hans Greta Raj Priya".split()
SURNAMES = "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Lopez Wilson Anderson Taylor Moore Jackson Martin Lee Thompson White Clark Lewis Walker Hall Young King Wright Scott Green Baker".split()
PLACES = "france germany spain italy japan china india brazil canada mexico egypt kenya russia poland sweden norway turkey greece portugal argentina chile peru thailand vietnam australia england scotland ireland boston chicago london paris berlin madrid rome tokyo delhi mumbai sydney toronto denver dallas atlanta seattle austin miami oslo vienna prague dublin lisbon cairo lagos nairobi".split()
THINGS = "dog cat horse cow hamster rabbit parrot turtle goldfish goat sheep laptop phone tablet camera printer router bicycle car truck motorcycle boat guitar piano violin drum flute apple banana mango orange grape tomato potato onion garlic carrot rice wheat coffee tea beer wine milk honey sugar salt python java javascript ruby excel photoshop instagram facebook twitter youtube whatsapp gmail netflix spotify knee shoulder elbow ankle wrist back neck jaw skin arm leg eye heart kidney liver football soccer tennis golf hockey cricket basketball chess physics chemistry biology history geography law medicine engineering accounting economics".split()
ADJECTIVES = "responsible confident patient creative organized productive fluent independent successful wealthy famous honest brave calm fit lazy shy jealous nervous happy".split()
MODIFIERS = ["in india", "in the us", "for free", "online", "without a license", "for beginners", "at home", "in 2019", "on monday", "at night", "with diabetes", "for kids", "in canada", "on a mac", "with a student visa", "nonstop", "before noon", "under 500 dollars", "on linux", "while pregnant", "for women", "in winter", "in python", "after surgery", "by train", "with a credit card"]
ADJUNCTS = "free cheap private electric wireless used digital vegan medical legal foreign federal ancient modern indian chinese female junior senior temporary permanent international domestic daily weekly monthly first last second".split()
EXCHANGES = [("before", "after"), ("more", "less"), ("with", "without"), ("increase", "decrease"), ("buy", "sell"), ("best", "worst"), ("highest", "lowest"), ("first", "last"), ("largest", "smallest"), ("cheapest", "most expensive"), ("open", "close"), ("enable", "disable"), ("upload", "download"), ("morning", "evening"), ("today", "tomorrow"), ("north", "south"), ("boys", "girls"), ("he", "she"), ("all", "some"), ("always", "never"), ("and", "or"), ("is", "was"), ("do", "did"), ("yearly", "monthly"), ("miles", "km"), ("years", "months"), ("man", "woman"), ("mother", "father")]
WH = {"who": ["when", "where", "why"], "when": ["where", "why", "how"], "where": ["when", "why", "how"], "why": ["how", "when", "where"], "how": ["why", "when", "where"]}
VERBS = "love hate trust admire follow support attack defend kill save teach help blame thank call visit marry divorce hire fire sue betray".split()
PARTICIPLES = "loved hated trusted admired followed supported attacked defended killed saved taught helped blamed thanked called visited married divorced hired fired sued betrayed".split()
ROLE_WORDS = ["taller than", "older than", "richer than", "faster than", "better than", "cheaper than", "bigger than", "heavier than", "faithful to", "married to", "related to", "superior to", "compared to", "worse than"]
STATEMENTS = ["flights", "trains", "buses", "a ticket", "the cheapest flight", "the fastest train", "directions", "how to get", "the distance", "a one way flight", "the driving time", "the time difference"]


def same(rng, q):
    """A change that keeps the meaning, or None."""
    low = q.lower().rstrip(" ?.")
    kind = rng.choice(["prefix", "suffix", "case", "request", "request", "request", "synonym", "synonym", "contraction", "typo", "article", "plural", "order"])
    if kind == "prefix":
        return kind, f"{rng.choice(PREFIXES)} {q[:1].lower() + q[1:] if rng.random() < 0.5 else q}"
    if kind == "suffix":
        return kind, f"{q.rstrip(' ?.')} {rng.choice(SUFFIXES)}{rng.choice(['?', '', '.'])}"
    if kind == "case":
        return kind, rng.choice([low, q.lower(), low + "?", q.rstrip(" ?."), q + "?"])
    if kind == "request":
        for group in rng.sample(SAME_REQUEST, len(SAME_REQUEST)):
            for phrase in sorted(group, key=len, reverse=True):
                if low.startswith(phrase + " "):
                    other = rng.choice([one for one in group if one != phrase])
                    changed = other + low[len(phrase):]
                    return kind, changed + rng.choice(["?", ""])
    if kind == "synonym":
        for group in rng.sample(SYNONYMS, len(SYNONYMS)):
            words = group.split()
            for word in words:
                if re.search(rf"\b{word}\b", low):
                    return kind, re.sub(rf"\b{word}\b", rng.choice([one for one in words if one != word]), low)
    if kind == "contraction":
        for long, short in rng.sample(CONTRACTIONS, len(CONTRACTIONS)):
            if re.search(rf"\b{long}\b", low):
                return kind, re.sub(rf"\b{long}\b", short, low) + "?"
    if kind == "typo":
        at = [m for m in re.finditer(r"[a-z]{5,}", low)]
        if at:
            m = rng.choice(at)
            i = rng.randrange(m.start() + 1, m.end() - 2)
            edit = rng.randrange(3)
            text = low[:i] + (low[i + 1] + low[i] if edit == 0 else low[i + 1] if edit == 1 else low[i] * 2 + low[i + 1]) + low[i + 2:]
            return (kind, text) if text != low else None
    if kind == "article":
        changed = re.sub(r"\b(the|a|an) ", "", low)
        return (kind, changed) if changed != low else None
    if kind == "order":
        m = re.match(r"(.{12,}) ((?:in|on|at|for|during) (?:the )?[a-z0-9]+)$", low)
        if m:
            return kind, f"{m[2]}, {m[1]}?"
    return None


def other(rng, q, pool):
    """A change that asks for something else, or None."""
    low = q.rstrip(" ?.")
    kind = rng.choice(["modifier", "adjunct", "drop", "exchange", "exchange", "number", "wh", "word", "word", "word", "word", "place"])
    words = low.split()
    if kind == "modifier":
        return kind, f"{low} {rng.choice(MODIFIERS)}?"
    content = [i for i, word in enumerate(words) if len(word) > 3 and word.lower() not in STOP and i > 0]
    if kind == "adjunct" and content:
        i = rng.choice(content)
        return kind, " ".join(words[:i] + [rng.choice(ADJUNCTS)] + words[i:]) + "?"
    if kind == "drop" and len(content) > 2:
        i = rng.choice(content)
        return kind, " ".join(words[:i] + words[i + 1:]) + "?"
    if kind == "exchange":
        for a, b in rng.sample(EXCHANGES, len(EXCHANGES)):
            if rng.random() < 0.5:
                a, b = b, a
            if re.search(rf"\b{a}\b", low, re.I):
                return kind, re.sub(rf"\b{a}\b", b, low, count=1, flags=re.I) + "?"
    if kind == "number":
        m = re.search(r"\d+", low)
        if m:
            return kind, low[: m.start()] + str(max(0, int(m[0]) + rng.choice([-10, -3, -1, 1, 2, 5, 10, 100]))) + low[m.end():] + "?"
    if kind == "wh" and words[0].lower() in WH:
        return kind, " ".join([rng.choice(WH[words[0].lower()])] + words[1:]) + "?"
    if kind == "word" and content:
        i = rng.choice(content)
        near = pool.get(words[i].lower().strip(",.'"))
        if near:
            return kind, " ".join(words[:i] + [rng.choice(near)] + words[i + 1:]) + "?"
    if kind == "place":
        for i, word in enumerate(words):
            if word.lower().strip("?,.'s") in PLACES:
                return kind, " ".join(words[:i] + [rng.choice(PLACES)] + words[i + 1:]) + "?"
    return None


def frames(rng):
    """A pair from a frame: (a, b, same, kind)."""
    kind = rng.randrange(8)
    name = lambda: f"{rng.choice(NAMES)} {rng.choice(SURNAMES)}" if rng.random() < 0.5 else rng.choice(NAMES)
    x, y = rng.sample(NAMES, 2)
    p, r = (one.title() if rng.random() < 0.5 else one for one in rng.sample(PLACES, 2))
    if kind == 0:
        what = rng.choice(STATEMENTS)
        a = f"{rng.choice(['show me', 'find', 'i need', 'list', 'what is', 'give me'])} {what} from {p} to {r}"
        if rng.random() < 0.5:
            return a, f"{rng.choice(['show me', 'find', 'i need', 'list', 'what is', 'give me'])} {what} from {r} to {p}", 0, "direction"
        return a, f"{rng.choice(['please show me', 'could you find', 'i want', 'tell me', 'i am looking for'])} {what} {rng.choice([f'from {p} to {r}', f'to {r} from {p}', f'going from {p} to {r}'])}", 1, "direction"
    if kind == 1:
        i = rng.randrange(len(VERBS))
        a = f"{rng.choice(['Did', 'Does', 'Why did', 'When did'])} {x} {VERBS[i]} {y}?"
        head = a.split(f" {x}")[0].replace("Did", "Was").replace("Does", "Is").replace("did", "was")
        if rng.random() < 0.5:
            return a, f"{head} {y} {PARTICIPLES[i]} by {x}?", 1, "voice"
        return a, rng.choice([f"{head} {x} {PARTICIPLES[i]} by {y}?", a.replace(x, "@").replace(y, x).replace("@", y)]), 0, "voice"
    if kind == 2:
        role = rng.choice(ROLE_WORDS)
        things = (x, y) if rng.random() < 0.5 else tuple(rng.sample(THINGS, 2))
        a = f"Is {things[0]} {role} {things[1]}?"
        return a, f"Is {things[1]} {role} {things[0]}?", 0, "comparison"
    if kind == 3:
        job = rng.choice("an actor,a lawyer,a teacher,an engineer,a nurse,a chef,an architect,a pilot,an auditor,a writer".split(","))
        n = name()
        forms = [f"Is {n} {job}?", f"Was {n} {job}?", f"Did {n} use to be {job}?", f"Is {n} becoming {job}?", f"Will {n} be {job}?", f"Is {n} not {job}?", f"Is {n} going to be {job}?"]
        a, b = rng.sample(forms, 2)
        return a, b, 0, "temporal"
    if kind == 4:
        a, b = rng.sample(THINGS, 2)
        frame = rng.choice(["Can I feed my {} sugar?", "How do I fix my {}?", "I hurt my {} yesterday, should I see a doctor?", "What is the best {} for beginners?", "how much does a {} cost?", "How long does it take to learn {}?", "where can i buy a cheap {}?", "is {} good for you?", "what are the benefits of {}", "how do i delete my {} account?"])
        return frame.format(a), frame.format(b), 0, "thing"
    if kind == 5:
        a, b = rng.sample(ADJECTIVES, 2)
        frame = rng.choice(["How can I become more {}?", "How do I become {}?", "Why am I so {}?", "What makes a person {}?"])
        if rng.random() < 0.4:
            return frame.format(a), frame.format("not " + a).replace("more not", "less"), 0, "polarity"
        return frame.format(a), frame.format(b), 0, "polarity"
    if kind == 6:
        a, b = name(), name()
        frame = rng.choice(["Who is {}?", "How old is {}?", "Where was {} born?", "What did {} do for a living?", "How can I get {} to notice me?", "when did {} die?", "why does {} like jazz?", "what is {} famous for?"])
        if rng.random() < 0.3:
            return frame.format(a), frame.format(a).lower().replace("?", "") , 1, "name"
        return frame.format(a), frame.format(b), 0, "name"
    a, b = rng.sample(PLACES, 2)
    frame = rng.choice(["what is the capital of {}", "what money is used in {}", "what language do they speak in {}", "what is the weather like in {}", "who is the president of {}", "how many people live in {}", "things to do in {}", "what time is it in {}"])
    if rng.random() < 0.35:
        base = frame.format(a)
        changed = base.replace("what is the", rng.choice(["what's the", "tell me the", "which is the"])).replace("how many people live in", "what is the population of").replace("what money is used in", rng.choice(["what is the currency of", "what currency is used in"])).replace("things to do in", "what is there to do in").replace("who is the", "what is the name of the").replace("what language do they speak in", "which language is spoken in")
        return base, changed, 1, "place"
    return frame.format(a), frame.format(b), 0, "place"


STOP = set("what which when where that this these those there have does with from into about than then they them their your mine some many much more most less would could should will shall been being were just also very really".split())


def neighbours(questions):
    """For each word, words that stood in the same surroundings: crude, but of the same kind."""
    around = {}
    for q in questions:
        words = [word.strip("?,.'\"").lower() for word in q.split()]
        for i, word in enumerate(words):
            if 0 < i and len(word) > 3 and word not in STOP:
                left = words[i - 1]
                right = words[i + 1] if i + 1 < len(words) else "$"
                around.setdefault((left, right), set()).add(word)
    near = {}
    for group in around.values():
        if 2 <= len(group) <= 60:
            for word in group:
                near.setdefault(word, set()).update(group - {word})
    return {word: sorted(one for one in group if one[:4] != word[:4]) for word, group in near.items()}


def main():
    questions = [line.strip() for line in open(sys.argv[1]) if 3 <= len(line.split()) <= 30]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 30000
    rng = random.Random(7)
    pool = neighbours(questions)
    made = 0
    while made < count:
        which = rng.random()
        if which < 0.3:
            a, b, label, kind = frames(rng)
        else:
            a = rng.choice(questions)
            changed = same(rng, a) if which < 0.65 else other(rng, a, pool)
            if changed is None:
                continue
            kind, b = changed
            label = int(which < 0.65)
            # Two harmless changes on top of one another are harmless, and beside a harmful one hide nothing.
            if rng.random() < 0.35:
                second = same(rng, b)
                if second is not None:
                    b = second[1]
        if a.lower().strip(" ?.") == b.lower().strip(" ?."):
            if label == 0:
                continue
        print(json.dumps({"a": a, "b": b, "same": label, "source": f"made:{kind}"}))
        made += 1


if __name__ == "__main__":
    main()
