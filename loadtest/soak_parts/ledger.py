"""The ledger: what was requested, what came of it, and whether the gateway's log says the same.

Every response has an id of its own in `x-request-id`, and the log one line for it. Answers of the mock carry an id made
from the question, so the answer to another question is seen.
"""

import collections
import json
import re

ANSWER = re.compile(rb"answer-[0-9a-f]{16}")


class Ledger:
    def __init__(self):
        self.outcomes = collections.Counter()
        self.problems = collections.Counter()
        self.received = {}
        self.by_question, self.by_answer = {}, {}
        # Requests whose client did not wait for the response: the log may have a line for each.
        self.abandoned = 0

    def problem(self, what):
        self.problems[what] += 1

    def response(self, kind, response):
        """A response came whole."""
        self.outcomes[f"{kind} {response.status}"] += 1
        request_id = response.headers.get("x-request-id")
        if request_id is None:
            self.problem(f"{kind}: a response without x-request-id ({response.status})")
        elif request_id in self.received:
            self.problem("two responses have the same x-request-id")
        else:
            self.received[request_id] = response.status

    def answer(self, kind, question, body):
        """The body of a good response must hold the answer to `question`, and no other."""
        found = set(ANSWER.findall(body))
        if len(found) != 1:
            return self.problem(f"{kind}: {len(found)} answers in one response")
        answer = found.pop()
        if self.by_question.setdefault(question, answer) != answer or self.by_answer.setdefault(answer, question) != question:
            self.problem(f"{kind}: WRONG ANSWER")

    def ended_badly(self, kind, why):
        """A client that stayed got no whole response."""
        self.problem(f"{kind}: lost ({why})")

    def forget_responses(self):
        """The gateway was killed: its log may lack the last lines."""
        self.received.clear()

    def compare(self, log):
        """Problems between the responses received and the lines of the gateway's log."""
        logged = {}
        for line in log.read_text(errors="replace").splitlines():
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            if entry.get("event") != "request":
                continue
            if entry["request_id"] in logged:
                self.problem("two lines of the log have the same request id")
            logged[entry["request_id"]] = entry["status"]
        missing = [each for each in self.received if each not in logged]
        if missing:
            self.problem(f"{len(missing)} responses without a line in the log")
        other = [each for each, status in self.received.items() if logged.get(each, status) != status]
        if other:
            self.problem(f"{len(other)} responses with another status in the log")
        unreceived = len(logged) - (len(self.received) - len(missing))
        if unreceived > self.abandoned:
            self.problem(f"{unreceived} lines of the log for {self.abandoned} requests that were abandoned")
        return len(logged)
