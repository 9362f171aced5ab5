"""The rig tells the truth: what its tables say of stored results, and a short run with nothing left behind."""

import copy
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(ROOT / "loadtest" / "rig"))

import measure  # noqa: E402
import report  # noqa: E402
import svg  # noqa: E402
from bars import bars  # noqa: E402

# A short run on a busy machine: it tests the writer, its figures mean nothing.
STORED = json.loads((HERE / "results.json").read_text())


def stored():
    return copy.deepcopy(STORED)


def rows(text, title):
    """The rows of a workload's table, by gateway."""
    part = text.split(f"### {title}\n")[1].split("\n#")[0]
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return {line[0]: dict(zip(lines[0], line)) for line in lines[1:]}


class Tables(unittest.TestCase):
    TITLE = "Small chat, 64 connections"

    def chat(self, results):
        return rows(report.markdown(results), self.TITLE)

    def test_rows_limited_by_the_load_generator_are_marked_and_no_others(self):
        results = stored()
        cells = results["workloads"]["chat-64"]["cells"]
        for cell in cells.values():
            for run in cell["saturation"]:
                run["limited"] = False
            for run in cell["fixed"]:
                run["late"] = False
        self.assertNotIn("†", "".join(row["answers/s"] for row in self.chat(results).values()))
        for run in cells["nginx"]["saturation"]:
            run["limited"] = True
        cells["ring"]["fixed"][0]["late"] = cells["ring"]["fixed"][1]["late"] = True
        # One round of two is not most of them.
        cells["haproxy"]["saturation"][0]["limited"] = True
        table = self.chat(results)
        self.assertEqual([name for name, row in table.items() if "†" in row["answers/s"]], ["nginx"])
        self.assertEqual([name for name, row in table.items() if "‡" in row["at rate, /s"]], ["Ringside, ring"])

    def test_the_load_generator_limits_when_it_is_busy_and_the_gateway_is_not(self):
        for gateway, generator, limited in [(0.5, 0.97, True), (0.95, 0.97, False), (0.5, 0.5, False), (0.95, 0.2, False)]:
            used = {"gateway_busy": gateway, "generator_busy": generator}
            self.assertIs(measure.is_limited("nginx", used), limited, used)
        late = {"answers_per_s": 99, "latency_us": {"p99": 1000}, "send_delay_us": {"p99": 100}}
        self.assertFalse(measure.is_late(late, 100))
        self.assertTrue(measure.is_late(late, 200))
        self.assertTrue(measure.is_late({**late, "send_delay_us": {"p99": 600}}, 100))

    def test_columns_are_medians_ratios_by_round_and_latencies_less_the_mocks(self):
        results = stored()
        cells = results["workloads"]["chat-64"]["cells"]
        for name, cpu in [("ring", (10, 30)), ("haproxy", (20, 20))]:
            for run, value in zip(cells[name]["saturation"], cpu):
                run["cpu_us"] = value
        for name, p99 in [("direct", (100, 300)), ("ring", (150, 390))]:
            for run, value in zip(cells[name]["fixed"], p99):
                run["latency_us"]["p99"], run["samples"] = value, 500
        row = self.chat(results)["Ringside, ring"]
        self.assertEqual(row["CPU µs per answer"], "20 (10 to 30)")
        self.assertEqual(row["× HAProxy"], "1.00")
        self.assertEqual(row["added p99, µs"], "70 (50 to 90)")
        # Of 500 answers none is expected beyond p99.9.
        self.assertEqual(row["added p99.9, µs"], "–")

    def test_bars_turn_with_what_was_measured(self):
        def verdicts(results):
            return {bar: reached for bar, _, reached in bars(results)}
        least = "small chat, 64 connections, everything on: CPU ≤ 1.0 × HAProxy"
        for factor, reached in [(0.5, True), (2.0, False)]:
            results = stored()
            cells = results["workloads"]["chat-64"]["cells"]
            for mine, its in zip(cells["ring"]["saturation"], cells["haproxy"]["saturation"]):
                mine["cpu_us"] = its["cpu_us"] * factor
            self.assertIs(verdicts(results)[least], reached)
        found = verdicts(stored())
        self.assertIsNone(found["throughput ≥ 500 × LiteLLM's on one core"])
        nothing = {**stored(), "workloads": {}, "memory": {}, "first_answer_ms": []}
        self.assertEqual(set(verdicts(nothing).values()), {None})

    def test_a_busy_machine_is_told(self):
        results = stored()
        for workload in results["workloads"].values():
            for cell in workload["cells"].values():
                for run in cell["saturation"]:
                    run["others_cpus"] = 0.05
        self.assertNotIn("machine was busy", report.markdown(results))
        for cell in results["workloads"]["chat-64"]["cells"].values():
            for run in cell["saturation"]:
                run["others_cpus"] = 1.5
        results["workloads"] = {"chat-64": results["workloads"]["chat-64"]}
        self.assertIn("machine was busy", report.markdown(results))

    def test_only_what_stands_between_the_markers_is_replaced(self):
        with tempfile.TemporaryDirectory() as folder:
            page = pathlib.Path(folder) / "page.md"
            page.write_text(f"# Before\n{report.BEGIN}\nwhat stood here\n{report.END}\n# After\n")
            written = report.write(stored(), page)
            once = page.read_text()
            report.write(stored(), page)
            self.assertEqual(page.read_text(), once)
            self.assertTrue(once.startswith("# Before\n") and once.endswith("\n# After\n"))
            self.assertNotIn("what stood here", once)
            for plot in written[1:]:
                self.assertIn(f"plots/{plot.name}", once)
                ElementTree.parse(plot)
            self.assertEqual({plot.stem for plot in written[1:]}, {"curve", "cpu", "added-p99"})
            page.write_text("no markers")
            with self.assertRaises(ValueError):
                report.write(stored(), page)

    def test_the_page_of_this_repository_has_the_markers(self):
        text = (ROOT / "docs" / "benchmarks.md").read_text()
        self.assertEqual((text.count(report.BEGIN), text.count(report.END)), (1, 1))


class Plots(unittest.TestCase):
    def test_text_is_escaped_and_every_value_drawn(self):
        plot = svg.curves("a < b", "x & y", "z", [("<n>", 0, [(1, 10), (100, 1000)]), ("none", 1, [])])
        ElementTree.fromstring(plot)
        self.assertEqual(plot.count("<circle"), 2)
        plot = svg.bars("t", "µs", [("p & q", [("a", 0, 4.0, ""), ("b", 1, 2.0, "‡")])])
        widths = [float(each.get("width")) for each in ElementTree.fromstring(plot).iter() if each.get("rx")]
        self.assertEqual(widths[0], 2 * widths[1])


class Runs(unittest.TestCase):
    """With the programs that are built; nothing is installed."""

    def start(self, folder, rounds):
        built = next(kind for kind in ("debug", "release") if (ROOT / "target" / kind / "ringside-load").exists())
        command = [sys.executable, ROOT / "loadtest" / "rig", "--rounds", rounds, "--seconds", "0.3", "--only", "keys",
                   "--gateways", "direct,epoll", "--bin", ROOT / "target" / built, "--out", f"{folder}/results.json"]
        return subprocess.Popen(list(map(str, command)), env={**os.environ, "RIG_TEST": folder}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def left_behind(self, folder):
        """Processes that bear this test's mark."""
        found = []
        for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if f"RIG_TEST={folder}".encode() in environment.read_bytes():
                    found.append(environment.parent.name)
            except OSError:
                continue
        return found

    def assert_none_left(self, folder):
        """One that was killed may take a moment to be gone on a busy machine."""
        ends = time.monotonic() + 10
        while self.left_behind(folder) and time.monotonic() < ends:
            time.sleep(0.05)
        self.assertEqual(self.left_behind(folder), [])

    def test_a_short_run_measures_and_leaves_nothing_behind(self):
        with tempfile.TemporaryDirectory() as folder:
            rig = self.start(folder, 1)
            said, _ = rig.communicate(timeout=300)
            self.assertEqual(rig.returncode, 0, said)
            results = json.loads(pathlib.Path(folder, "results.json").read_text())
            cells = results["workloads"]["keys"]["cells"]
            self.assertEqual(list(cells), ["direct", "epoll"], results["workloads"]["keys"]["left_out"])
            for cell in cells.values():
                run = cell["saturation"][0]
                self.assertGreater(run["answers"], 0)
                self.assertGreater(run["cpu_us"], 0)
                self.assertEqual(run["errors"], {})
            self.assert_none_left(folder)

    def test_an_interrupt_stops_everything_that_was_started(self):
        with tempfile.TemporaryDirectory() as folder:
            rig = self.start(folder, 50)
            # The first figure has been printed: everything runs.
            said = rig.stdout.readline()
            self.assertIn("keys", said)
            self.assertGreater(len(self.left_behind(folder)), 2)
            rig.send_signal(signal.SIGINT)
            rig.communicate(timeout=60)
            self.assertEqual(rig.returncode, 130)
            self.assert_none_left(folder)
            self.assertFalse(pathlib.Path(folder, "results.json").exists())


if __name__ == "__main__":
    unittest.main()
