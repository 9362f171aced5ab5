"""The ledger of the soak sees what it is there for: answers to other questions, lost responses, lines that do not fit."""

import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "soak_parts"))

from http_client import Response  # noqa: E402
from ledger import Ledger  # noqa: E402

ONE, TWO = b"answer-00000000000000a1", b"answer-00000000000000b2"


def response(request_id, status=200):
    return Response(status, {"x-request-id": request_id}, b"")


class Answers(unittest.TestCase):
    def test_one_answer_for_each_question(self):
        ledger = Ledger()
        ledger.answer("chat", "q1", ONE)
        ledger.answer("chat", "q1", ONE + b" " + ONE)
        ledger.answer("chat", "q2", TWO)
        self.assertFalse(ledger.problems)

    def test_the_answer_to_another_question_is_wrong(self):
        for question, body in (("q2", ONE), ("q1", TWO)):
            ledger = Ledger()
            ledger.answer("chat", "q1", ONE)
            ledger.answer("chat", question, body)
            self.assertEqual(ledger.problems, {"chat: WRONG ANSWER": 1})

    def test_no_answer_and_two_answers_are_problems(self):
        for body in (b"", ONE + TWO):
            ledger = Ledger()
            ledger.answer("chat", "q", body)
            self.assertEqual(ledger.problems.total(), 1)


class Log(unittest.TestCase):
    def compare(self, ledger, *entries):
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            lines = [json.dumps({"event": "request", "request_id": each, "status": status}) for each, status in entries]
            log.write_text("\n".join(['{"event": "started"}', *lines]))
            return ledger.compare(log)

    def test_as_many_lines_as_responses(self):
        ledger = Ledger()
        ledger.response("chat", response("r1"))
        ledger.response("chat", response("r2", 502))
        ledger.abandoned = 1
        self.assertEqual(self.compare(ledger, ("r1", 200), ("r2", 502), ("r3", 200)), 3)
        self.assertFalse(ledger.problems)

    def test_what_does_not_fit_is_a_problem(self):
        for entries in ([], [("r1", 500)], [("r1", 200), ("r1", 200)], [("r1", 200), ("r2", 200)]):
            ledger = Ledger()
            ledger.response("chat", response("r1"))
            self.compare(ledger, *entries)
            self.assertTrue(ledger.problems, entries)

    def test_a_request_id_occurs_once(self):
        ledger = Ledger()
        ledger.response("chat", response("r1"))
        ledger.response("chat", response("r1"))
        self.assertTrue(ledger.problems)


if __name__ == "__main__":
    unittest.main()
