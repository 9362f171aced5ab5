"""What gateways are asked to do. Knows their variants, not how they are run or measured."""

from dataclasses import dataclass, field

from gateways import KEYS


@dataclass
class Workload:
    """A kind of traffic."""

    name: str
    title: str
    what: str
    # How the gateways are asked, see `gateways`.
    variant: str = "plain"
    connections: int = 64
    flags: list = field(default_factory=list)
    # CPU time and system calls are told per answer or per event.
    per: str = "answers"
    stream: bool = False
    # Only these gateways; the others are left out without a word.
    only: tuple = ()
    # Another variant for one gateway.
    instead: dict = field(default_factory=dict)
    # Left out, and why.
    without: dict = field(default_factory=dict)
    # Latencies are told as added to the mock's own; where the mock is not asked, they are told whole.
    added: bool = True
    # Runs that fill a cache before each measurement; with `fill_once` only before the first.
    fill: list = field(default_factory=list)
    fill_once: bool = False
    # What the mock is told before it is measured, after the cache is filled.
    mock: dict = field(default_factory=dict)
    # The outcome that nearly all answers must have, by `x-ringside-cache`.
    outcome: str = ""
    # The rule that must have refused nearly all look-ups.
    refusal: str = ""
    # Whether answers bear the mock's id.
    check: bool = True
    syscalls: bool = False

    def variant_of(self, gateway):
        return self.instead.get(gateway, self.variant)


RINGSIDES = ("ring", "epoll")
ONE_OF_200 = ["--repeat-share", "1", "--zipf", "1", "--pool", "200", "--prompt-bytes", "200", "--seed", "7"]
NOT_TWICE = "at its limit with the connections of the table above already"


def all_workloads(folder):
    """Every workload, in the order of the report; files of prompts are in `folder`."""
    stored = ["--prompts", str(folder / "stored.txt")]
    # Slow: a vector is not stored while the queue of the embedding pool is full.
    fill_stored = [*stored, "--requests", "200", "--connections", "4", "--rate", "100"]
    return [
        Workload("chat-64", "Small chat, 64 connections", "1 KB question, about 400 bytes of answer, every question another",
                 syscalls=True),
        Workload("chat-512", "Small chat, 512 connections", "the same", connections=512,
                 without={"litellm": NOT_TWICE, "portkey": NOT_TWICE}),
        Workload("chat-8k", "Chat of 8 KB", "8 KB question, 64 connections", flags=["--prompt-bytes", "8000"]),
        Workload("chat-100k", "Chat of 100 KB", "100 KB question, 64 connections", flags=["--prompt-bytes", "100000"]),
        Workload("stream-burst", "Stream of 100 events at once", "64 connections; CPU and system calls per event",
                 flags=["--stream-share", "1", "--mock", "tokens=100"], per="events", stream=True, syscalls=True),
        Workload("stream-paced", "Stream with an event each 5 ms", "100 events, 256 connections; CPU per event",
                 connections=256, flags=["--stream-share", "1", "--mock", "tokens=100 token-gap-ms=5"],
                 per="events", stream=True),
        Workload("upstream-20ms", "Upstream that takes 20 ms", "1,000 connections", connections=1000,
                 flags=["--mock", "latency-ms=20"]),
        Workload("tls", "TLS on both sides", "small chat, 64 connections, certificates verified", variant="tls"),
        Workload("keys", "1,000 keys", "small chat, 64 connections; 32 of 1,000 keys are used, others are refused",
                 variant="keys", flags=[flag for key in KEYS[:32] for flag in ("--key", key)]),
        Workload("exact-hit", "Exact hit", "one of 200 questions, beside nginx with a fixed body of the same size",
                 variant="cache", only=("nginx", *RINGSIDES), instead={"nginx": "fixed"}, flags=ONE_OF_200,
                 fill=[[*ONE_OF_200, "--requests", "5000", "--connections", "8"]], outcome="exact", added=False,
                 check=False, syscalls=True),
        Workload("semantic-hit", "Semantic hit", "one of 200 questions in other words than were stored, 8 connections, deadline 100 ms",
                 variant="semantic", connections=8, only=RINGSIDES, fill=[fill_stored], fill_once=True, outcome="semantic", added=False,
                 flags=["--prompts", str(folder / "reworded.jsonl"), "--paraphrase-share", "1", "--zipf", "0",
                        "--pool", "200"]),
        Workload("certain-miss", "Certain miss", "semantic tier on; none of 200 stored questions is near, nothing is stored",
                 variant="semantic", only=("direct", *RINGSIDES), instead={"direct": "plain"}, fill=[fill_stored], fill_once=True,
                 flags=["--prompts", str(folder / "unlike.txt")], mock={"finish": "length"}, outcome="miss",
                 refusal="nothing-near"),
    ]
