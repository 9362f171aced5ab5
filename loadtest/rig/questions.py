"""Questions for the semantic tier: some that fill a scope, the same in other words, and some unlike all of them."""

import json

COUNTRIES = (
    "France Spain Portugal Italy Austria Poland Norway Sweden Finland Denmark Ireland Iceland Greece Turkey Egypt "
    "Morocco Kenya Ghana Nigeria Ethiopia India Nepal Japan Vietnam Thailand Mongolia Australia Canada Mexico Cuba "
    "Brazil Peru Chile Bolivia Argentina Uruguay Hungary Romania Bulgaria Croatia"
).split()
# What is asked of a country, and the same in other words.
ABOUT = (
    ("What is the capital of {}?", "What's the capital of {}?"),
    ("What is the currency of {}?", "What's the currency of {}?"),
    ("What is the population of {}?", "What's the population of {}?"),
    ("What is the highest mountain in {}?", "What's the highest mountain in {}?"),
    ("What is the longest river in {}?", "What's the longest river in {}?"),
)
# Words of another field than the questions above; a question has one of each.
DOES = "debug refactor compile profile test deploy lint parse vectorise parallelise".split()
WHAT = (
    "recursive function|linked list|hash table|binary heap|regular expression|thread pool|bytecode interpreter|"
    "garbage collector|syntax tree|mutex|coroutine|template macro|pointer alias|stack frame|linker script"
).split("|")
WITH = "valgrind gdb clang cmake rust haskell fortran erlang verilog assembly".split()


def stored():
    """Questions that a scope is filled with."""
    return [about.format(country) for about, _ in ABOUT for country in COUNTRIES]


def unlike():
    """Questions that have nothing to do with those."""
    return [f"How do I {does} a {what} with {tool}?" for does in DOES for what in WHAT for tool in WITH]


def write(folder):
    """Writes the files that the load generator reads: stored, reworded, unlike."""
    (folder / "stored.txt").write_text("".join(f"{question}\n" for question in stored()))
    reworded = (
        json.dumps({"query": about.format(country), "paraphrases": [other.format(country)]})
        for about, other in ABOUT for country in COUNTRIES)
    (folder / "reworded.jsonl").write_text("".join(f"{line}\n" for line in reworded))
    (folder / "unlike.txt").write_text("".join(f"{question}\n" for question in unlike()))
