"""Measures one gateway under one workload: throughput, latency, CPU, system calls, memory.

Knows how to read the load generator's report; knows nothing of tables.
"""

import json
import re
import signal
import socket
import threading
import time
import urllib.request

from processes import Failed, cpu_us, machine_busy_s, resident_kib

# A generator this busy, before a gateway that is not, is what limits. Not more: the start and the end of
# a run are idle.
BUSY = 0.85
# Share of answers that must come from where the workload says.
OUTCOME_MIN = 0.9
# Longest wait for an answer; errors are better than a run that hangs.
TIMEOUT_S = 20
# Shares of a gateway's own saturation for the curve of throughput against p99.
CURVE = (0.1, 0.25, 0.5, 0.7, 0.85, 1.0)
IDLE_CONNECTIONS = 1000
QUANTILES = ("p50", "p99", "p99.9")


class Meter:
    """What every measurement needs to know."""

    def __init__(self, processes, environment, mocks, generator_cpus, seconds):
        self.processes, self.environment, self.mocks = processes, environment, mocks
        self.generator_cpus, self.seconds = generator_cpus, seconds

    @property
    def workers(self):
        """Threads of the load generator: one for each CPU beyond the mock's, at most two."""
        return 2 if len(self.generator_cpus.split(",")) > 2 else 1

    def load(self, endpoint, flags, seconds):
        """Runs the load generator to its end; its report."""
        command = [self.environment.bin / "ringside-load", "--url", endpoint.url, "--model", "m", "--json", "--quiet",
                   "--timeout", f"{TIMEOUT_S}s", "--workers", self.workers, *endpoint.flags, *map(str, flags)]
        if "--requests" not in flags:
            command += ["--duration", f"{round(seconds * 1000)}ms"]
        out = self.processes.run(command, self.generator_cpus, seconds + 60 + TIMEOUT_S)
        return json.loads(out)

    def fill(self, workload, endpoint, first=False):
        """Fills the cache, and tells the mock what the workload wants."""
        self.tell_mock({})
        wanted = endpoint.admin and (first or not workload.fill_once)
        for flags in workload.fill if wanted else []:
            report = self.load(endpoint, [*flags, "--warm-up", "0s", "--check"], self.seconds)
            expect_no_errors(report)
        self.tell_mock(workload.mock)

    def tell_mock(self, behaviour):
        """Sets the mock's behaviour; nothing means back to the start."""
        url = f"http://127.0.0.1:{self.environment.mock_port}/mock/behaviour"
        request = urllib.request.Request(url, method="DELETE")
        urllib.request.urlopen(request, timeout=5).close()
        if behaviour:
            urllib.request.urlopen(url, data=json.dumps(behaviour).encode(), timeout=5).close()

    def try_out(self, workload, gateway):
        """A few requests, before anything is measured: their answers must be right."""
        endpoint = gateway.endpoints[workload.variant_of(gateway.name)]
        self.fill(workload, endpoint, first=True)
        before = refusals(endpoint)
        requests = 12 if gateway.slow else 32
        flags = [*self.flags(workload), "--requests", requests, "--warm-up", "0s"]
        report = self.load(endpoint, [*flags, "--connections", min(8, gateway.connections_max)], self.seconds)
        expect_no_errors(report)
        if endpoint.admin:
            expect_outcome(workload, report, refusals(endpoint, before))
        if workload.variant == "keys" and gateway.name != "direct":
            self.expect_refusal(endpoint)

    def expect_refusal(self, endpoint):
        """A key that is not known must not be served."""
        report = self.load(endpoint, ["--key", "nobody", "--requests", "10", "--warm-up", "0s"], self.seconds)
        if report["answers"] or set(report["errors"]) != {"status 401"}:
            raise Failed(f"an unknown key is not refused: {report['answers']} answers, {report['errors']}")

    def flags(self, workload):
        return [*workload.flags, *(["--check"] if workload.check else [])]

    def connections(self, workload, gateway):
        return min(workload.connections, gateway.connections_max)

    def saturate(self, workload, gateway):
        """Every connection asks again as soon as it has its answer."""
        endpoint = gateway.endpoints[workload.variant_of(gateway.name)]
        self.fill(workload, endpoint)
        connections = self.connections(workload, gateway)
        flags = [*self.flags(workload), "--warm-up", "0s", "--connections", connections]
        report, used = self.watched(endpoint, flags, self.seconds)
        units = max(report[workload.per], 1)
        return {
            "connections": connections, "answers": report["answers"], "per_s": report["answers_per_s"],
            "p50_us": report["latency_us"]["p50"], "p99_us": report["latency_us"]["p99"],
            "errors": report["errors"], "cache": report["cache"],
            "cpu_us": used["gateway_us"] / units, **used,
            "limited": is_limited(gateway.name, used),
        }

    def at_rate(self, workload, gateway, rate):
        """So many requests per second, whatever the answers take."""
        endpoint = gateway.endpoints[workload.variant_of(gateway.name)]
        self.fill(workload, endpoint)
        warm_up = min(0.5, self.seconds / 2)
        flags = [*self.flags(workload), "--warm-up", f"{round(warm_up * 1000)}ms", "--rate", f"{rate:.0f}",
                 "--connections", self.connections(workload, gateway)]
        report, used = self.watched(endpoint, flags, self.seconds)
        # CPU time holds the warm-up too, whose answers are not counted.
        units = max(report[workload.per], 1) * (self.seconds + warm_up) / self.seconds
        return {
            "rate": rate, "per_s": report["answers_per_s"], "samples": report["answers"], "errors": report["errors"],
            "latency_us": pick(report["latency_us"]), "cache": report["cache"],
            "first_token_us": pick(report["first_token_us"]) if workload.stream else None,
            "send_delay_us": pick(report["send_delay_us"]),
            "cpu_us": used["gateway_us"] / units, **used,
            "late": is_late(report, rate),
        }

    def watched(self, endpoint, flags, seconds):
        """Runs load; its report, and who used how much CPU meanwhile."""
        before, mocks_before, machine = cpu_us(endpoint.pid), self.mock_us(), machine_busy_s()
        began = time.monotonic()
        report = self.load(endpoint, flags, seconds)
        wall = time.monotonic() - began
        gateway, mocks = cpu_us(endpoint.pid) - before, self.mock_us() - mocks_before
        own = report["own_cpu_s"]
        is_mock = endpoint.process in self.mocks
        ours = own + mocks / 1e6 + (0 if is_mock else gateway / 1e6)
        everything = machine_busy_s() - machine
        cpus = len(self.generator_cpus.split(","))
        return report, {
            "gateway_us": gateway, "gateway_busy": gateway / 1e6 / wall,
            # Load and mock together on their CPUs, or one of them on those that it can use.
            "generator_busy": max((own + mocks / 1e6) / cpus, own / self.workers, mocks / 1e6) / wall,
            # What neither the gateway nor mock and load used: other work on this machine, and the rig.
            "others_cpus": max(everything - ours, 0) / wall,
        }

    def mock_us(self):
        return sum(cpu_us(mock.pid) for mock in self.mocks)

    def curve(self, workload, gateway, saturation):
        """Rates in steps up to a gateway's own saturation: what came, and its p99."""
        endpoint = gateway.endpoints[workload.variant]
        rates = [max(round(saturation * share), 1) for share in CURVE]
        flags = [*self.flags(workload), "--warm-up", "100ms", "--rate", ",".join(map(str, rates)),
                 "--connections", self.connections(workload, gateway)]
        report = self.load(endpoint, flags, self.seconds * 2)
        return [{name: stage[name] for name in ("offered_per_s", "answers_per_s", "p50_us", "p99_us")}
                for stage in report["stages"]]

    def syscalls(self, workload, gateway):
        """System calls per request or event, counted by strace in a short run of its own."""
        endpoint = gateway.endpoints[workload.variant_of(gateway.name)]
        self.fill(workload, endpoint)
        counts = self.environment.work / "strace"
        counts.unlink(missing_ok=True)
        tracer = self.processes.start(
            ["strace", "-f", "-c", "-o", counts, "-p", endpoint.pid], self.generator_cpus, self.environment.work / "strace.log")
        time.sleep(0.4)
        flags = [*self.flags(workload), "--warm-up", "0s",
                 "--connections", self.connections(workload, gateway)]
        report = self.load(endpoint, flags, min(self.seconds, 1))
        if tracer.poll() is not None:
            raise Failed("strace may not trace here")
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=20)
        total = re.search(r"^\S+\s+\S+\s+\S+\s+(\d+).*\btotal$", counts.read_text(), re.MULTILINE)
        if not total or not report[workload.per]:
            raise Failed("strace counted nothing")
        return int(total.group(1)) / report[workload.per]

    def memory(self, gateway):
        """Resident KiB: idle, with idle connections, the most under questions of 100 KB, and after them."""
        endpoint = gateway.endpoints["plain"]
        result = {"idle": resident_kib(endpoint.pid)}
        held = [socket.create_connection(address(endpoint.url)) for _ in range(IDLE_CONNECTIONS)]
        time.sleep(0.5)
        result["connections"] = resident_kib(endpoint.pid)
        for connection in held:
            connection.close()
        time.sleep(0.3)
        done, seen = threading.Event(), []
        watcher = threading.Thread(target=lambda: watch(endpoint.pid, seen, done))
        watcher.start()
        try:
            report = self.load(endpoint, ["--prompt-bytes", "100000", "--warm-up", "0s", "--check",
                                          "--connections", min(64, gateway.connections_max)], self.seconds * 2)
        finally:
            done.set()
            watcher.join()
        result["loaded"] = max(seen)
        time.sleep(5)
        result["after"] = resident_kib(endpoint.pid)
        result["requests"] = report["answers"]
        return result


def watch(pid, seen, done):
    """Notes resident memory ten times a second until told to stop."""
    while True:
        seen.append(resident_kib(pid))
        if done.wait(0.1):
            return


def is_limited(name, used):
    """Whether load generator and mock, not the gateway, were at their limit."""
    return name != "direct" and used["generator_busy"] >= BUSY and used["gateway_busy"] < BUSY


def is_late(report, rate):
    """Whether the load generator did not keep its rate, or half the latency was its own."""
    latency, delay = report["latency_us"], report["send_delay_us"]
    return report["answers_per_s"] < 0.95 * rate or delay["p99"] >= 0.5 * latency["p99"] > 0


def expect_no_errors(report):
    if report["errors"] or not report["answers"]:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in report["errors"].items())
        raise Failed(f"its answers are not right: {kinds or 'none came'}")


def expect_outcome(workload, report, refused):
    """The cache must have done what the workload is about."""
    answers = max(report["answers"], 1)
    if workload.outcome and report["cache"].get(workload.outcome, 0) < OUTCOME_MIN * answers:
        raise Failed(f"not {workload.outcome}: {report['cache']}")
    if workload.refusal and refused.get(workload.refusal, 0) < OUTCOME_MIN * answers:
        raise Failed(f"not refused by {workload.refusal}: {refused}")


def refusals(endpoint, before=None):
    """Semantic look-ups that were refused since `before`, by rule."""
    if not endpoint.admin:
        return {}
    time.sleep(0.1)
    text = urllib.request.urlopen(f"{endpoint.admin}/metrics", timeout=5).read().decode()
    found = re.findall(r'^ringside_cache_semantic_refusals_total\{reason="([^"]+)"\} (\d+)', text, re.MULTILINE)
    return {rule: int(count) - (before or {}).get(rule, 0) for rule, count in found}


def address(url):
    host, port = url.split("//")[1].split(":")
    return host, int(port)


def pick(quantiles):
    return {name: quantiles[name] for name in QUANTILES}
