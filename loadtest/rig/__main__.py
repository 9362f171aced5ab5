#!/usr/bin/env python3
"""Measures Ringside beside other gateways: same mock, same load, pinned, in interleaved rounds.

    python3 loadtest/rig                      all of it, about twenty minutes
    python3 loadtest/rig report results.json  writes the tables and plots of docs/benchmarks.md
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shlex
import signal
import sys
import tempfile
import time
import urllib.request

import install
import questions
import report
from gateways import KEYS, Environment, all_gateways
from measure import Meter
from processes import Failed, Processes, output_of, wait_for
from workloads import all_workloads

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Open files that are enough for every workload.
FILES = 16384


def main():
    if sys.argv[1:2] == ["report"]:
        return write_report(sys.argv[2:])
    options = arguments()
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)
    allow_files()
    try:
        with Processes() as processes, tempfile.TemporaryDirectory() as work:
            results = Rig(options, processes, pathlib.Path(work)).measure()
    except KeyboardInterrupt:
        print("\nstopped; nothing was written", file=sys.stderr)
        return 130
    except (Failed, OSError) as why:
        print(f"rig: {why}", file=sys.stderr)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(report.markdown(results))
    print(f"written: {options.out}\ninto docs/benchmarks.md: python3 loadtest/rig report {options.out}")
    return 0


def allow_files():
    """1,000 connections are two files each in a gateway, and desktops allow 1,024; what is started inherits this."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def arguments():
    parser = argparse.ArgumentParser(prog="loadtest/rig", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="times that everything is measured")
    parser.add_argument("--seconds", type=float, default=1.25, help="length of one measurement")
    parser.add_argument("--only", action="append", metavar="WORKLOAD", help="only this workload, `memory` or `curve`; repeatable")
    parser.add_argument("--gateways", metavar="A,B", help="only these (direct is always among them)")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / ".bench" / "results.json")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "target" / "release", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds < 0.2:
        parser.error("at least one round, of 0.2 seconds")
    names = [workload.name for workload in all_workloads(ROOT)] + ["memory", "curve"]
    for name in options.only or []:
        if name not in names:
            parser.error(f"--only {name}: known are {', '.join(names)}")
    known = [gateway.name for gateway in all_gateways(None)]
    options.gateways = (options.gateways or ",".join(known)).split(",")
    for name in options.gateways:
        if name not in known:
            parser.error(f"--gateways {name}: known are {', '.join(known)}")
    return options


def write_report(rest):
    """`report RESULTS [DOC]`: tables between the markers of the page, plots beside it."""
    if not 1 <= len(rest) <= 2:
        print("usage: python3 loadtest/rig report results.json [page.md]", file=sys.stderr)
        return 2
    page = pathlib.Path(rest[1]) if len(rest) == 2 else ROOT / "docs" / "benchmarks.md"
    try:
        for file in report.write(json.loads(pathlib.Path(rest[0]).read_text()), page):
            print(f"written: {file}")
    except (OSError, ValueError, KeyError) as why:
        print(f"rig: {why!r}", file=sys.stderr)
        return 1
    return 0


class Rig:
    """One run of everything wanted."""

    def __init__(self, options, processes, work):
        self.options, self.processes, self.work = options, processes, work
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Failed("two CPUs are needed: one for the gateway, one for load and mock")
        self.gateway_cpu = str(cpus[0])
        # On a larger machine the load generator has CPUs of its own.
        self.generator_cpus = ",".join(map(str, cpus[1:4]))
        self.workloads = [each for each in all_workloads(work) if not options.only or each.name in options.only]
        self.results = {"workloads": {}, "memory": {}, "first_answer_ms": [], "curve": {}}

    def wants(self, what):
        return not self.options.only or what in self.options.only

    def measure(self):
        """Starts everything, measures, and returns what `results.json` holds."""
        began = time.monotonic()
        if not output_of("taskset", "--version"):
            raise Failed("taskset is missing (util-linux)")
        if any(workload.syscalls for workload in self.workloads):
            install.system_tool("strace")
        questions.write(self.work)
        environment, mocks = self.start_mocks()
        self.meter = Meter(self.processes, environment, mocks, self.generator_cpus, self.options.seconds)
        self.start_gateways(environment, mocks)
        self.describe(environment)
        if self.wants("memory"):
            self.measure_memory()
        self.warm()
        for round_number in range(self.options.rounds):
            for workload in self.workloads:
                self.measure_workload(workload, round_number)
            if self.wants("curve"):
                self.measure_curve()
        self.results["minutes"] = round((time.monotonic() - began) / 60, 1)
        return self.results

    def start_mocks(self):
        """The mock, and with TLS a second one."""
        mock_cpu = self.generator_cpus.split(",")[0]
        environment = Environment(self.processes, self.work, ROOT / ".bench", self.options.bin, self.gateway_cpu, 0)
        if not (environment.bin / "ringside-mock").exists():
            raise Failed("build first: cargo build --release --workspace --bins")
        mocks = [self.start_mock(environment, "mock", mock_cpu)]
        environment.mock_port = mocks[0][1]
        if any(workload.variant == "tls" for workload in self.workloads):
            environment.tls = install.certificate(self.work)
            flags = ["--tls-cert", environment.tls[0], "--tls-key", environment.tls[1]]
            mocks.append(self.start_mock(environment, "mock-tls", mock_cpu, flags))
            environment.mock_tls_port = mocks[1][1]
        return environment, [process for process, _ in mocks]

    def start_mock(self, environment, name, cpus, flags=()):
        log = self.work / f"{name}.log"
        process = self.processes.start(
            [environment.bin / "ringside-mock", "--listen", "127.0.0.1:0", *flags], cpus, log)
        said = wait_for(name, lambda: log.read_text().strip() if "listening" in log.read_text() else "", process, log)
        return process, int(said.rsplit(":", 1)[1])

    def start_gateways(self, environment, mocks):
        """Installs and starts what is wanted; what fails is left out, and the report says so."""
        pair = (mocks[0], mocks[1] if len(mocks) > 1 else None)
        variants = {"plain"} | {each.variant for each in self.workloads}
        variants |= {variant for each in self.workloads for variant in each.instead.values()}
        self.gateways, self.failed = [], {}
        for gateway in all_gateways(pair):
            if gateway.name not in self.options.gateways and gateway.name != "direct":
                continue
            if gateway.name == "nginx":
                gateway.fixed_bytes = answer_bytes(environment.mock_port)
            try:
                gateway.install(environment)
                gateway.start(environment, [each for each in gateway.variants if each in variants])
            except (Failed, OSError) as why:
                gateway.stop()
                self.failed[gateway.name] = str(why)
                print(f"{gateway.title} is left out: {why}", flush=True)
                continue
            time.sleep(0.5)
            gateway.pause(True)
            self.gateways.append(gateway)

    def describe(self, environment):
        """What the figures depend on."""
        model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "")
        self.results.update({
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "command": shlex.join(["python3", "loadtest/rig", *sys.argv[1:]]),
            "rounds": self.options.rounds, "seconds": self.options.seconds,
            "machine": {"cpus": os.cpu_count(), "model": model, "kernel": platform.release(),
                        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
                        "load_before": round(os.getloadavg()[0], 2),
                        "gateway_cpu": self.gateway_cpu, "generator_cpus": self.generator_cpus},
            "commit": output_of("git", "-C", ROOT, "describe", "--always", "--dirty"),
            "gateways": {each.name: {"title": each.title, "version": each.version(environment), "slow": each.slow}
                         for each in self.gateways},
            "failed": self.failed,
        })

    def measure_memory(self):
        for gateway in self.gateways[1:]:
            seen = self.guarded(f"memory of {gateway.title}", gateway, lambda: self.meter.memory(gateway))
            if seen:
                self.results["memory"][gateway.name] = seen
                print("memory", gateway.name, seen, flush=True)
        for gateway in self.gateways:
            if gateway.name == "ring":
                self.results["first_answer_ms"] = [gateway.first_answer_ms(self.meter.environment) for _ in range(3)]

    def warm(self):
        """A cache that grows pays for its pages; so it is filled before anything is measured."""
        for gateway in self.gateways if self.workloads or self.wants("curve") else []:
            seconds = self.options.seconds * (4 if gateway.caches else 0.5)
            flags = ["--connections", min(64, gateway.connections_max), "--warm-up", "0s"]
            for variant, more in (("plain", []), ("tls", []), ("keys", ["--key", KEYS[0]])):
                if variant in gateway.endpoints:
                    self.guarded(f"warming {gateway.title}", gateway,
                                 lambda: self.meter.load(gateway.endpoints[variant], [*flags, *more], seconds))

    def measure_workload(self, workload, round_number):
        """All gateways at saturation, then all at the same rate."""
        if round_number == 0:
            self.results["workloads"][workload.name] = self.prepare(workload)
        result = self.results["workloads"][workload.name]
        taking_part = [each for each in self.gateways if each.name in result["cells"]]
        # Nobody is always first.
        turn = round_number % max(len(taking_part), 1)
        order = taking_part[turn:] + taking_part[:turn]
        for gateway in order:
            self.step(workload, gateway, "saturation", lambda: self.meter.saturate(workload, gateway))
        if round_number == 0:
            self.choose_rates(result)
        for gateway in order:
            rate = result["cells"][gateway.name]["rate"]
            self.step(workload, gateway, "fixed", lambda: self.meter.at_rate(workload, gateway, rate))
        if round_number == 0 and workload.syscalls:
            for gateway in taking_part:
                cell = result["cells"].get(gateway.name)
                if cell is None or gateway.name == "direct":
                    continue
                calls = self.guarded(f"system calls of {gateway.title}", gateway,
                                     lambda: self.meter.syscalls(workload, gateway))
                if calls is not None:
                    cell["syscalls"] = calls

    def prepare(self, workload):
        """Who takes part: who can, and answers rightly."""
        result = {"title": workload.title, "what": workload.what, "per": workload.per, "stream": workload.stream,
                  "added": workload.added, "left_out": {}, "cells": {}}
        for gateway in self.gateways:
            name = gateway.name
            if workload.only and name not in workload.only:
                continue
            if name in workload.without:
                result["left_out"][name] = workload.without[name]
                continue
            if workload.variant_of(name) not in gateway.endpoints:
                result["left_out"][name] = gateway.why_not
                continue
            gateway.pause(False)
            try:
                self.meter.try_out(workload, gateway)
                result["cells"][name] = {"saturation": [], "fixed": []}
            except (Failed, OSError) as why:
                result["left_out"][name] = str(why)
                print(f"{workload.name}: {gateway.title} is left out: {why}", flush=True)
            gateway.pause(True)
        return result

    def choose_rates(self, result):
        """Half of what the slowest of the fast gateways can; slow ones have half of their own."""
        slow = {gateway.name for gateway in self.gateways if gateway.slow}
        most = {name: cell["saturation"][0]["per_s"] for name, cell in result["cells"].items()}
        fast = [value for name, value in most.items() if name not in slow and name != "direct"]
        common = max(round(min(fast or most.values() or [2]) / 2), 1)
        for name, cell in result["cells"].items():
            cell["rate"] = max(round(most[name] / 2), 1) if name in slow else common

    def step(self, workload, gateway, kind, act):
        """One measurement; who fails in one has no figures under this workload."""
        result = self.results["workloads"][workload.name]
        if gateway.name not in result["cells"]:
            return
        figures = self.guarded(f"{workload.name}: {gateway.title} is left out", gateway, act)
        if figures is None:
            del result["cells"][gateway.name]
            result["left_out"][gateway.name] = "failed while it was measured"
            return
        result["cells"][gateway.name][kind].append(figures)
        latency = figures.get("latency_us", {}).get("p99", figures.get("p99_us"))
        note = " (limited by the load generator)" if figures.get("limited") or figures.get("late") else ""
        print(f"{workload.name:14} {gateway.name:9} {kind:10} {figures['per_s']:9.0f}/s  CPU {figures['cpu_us']:8.2f} µs"
              f"  p99 {latency:7} µs  errors {sum(figures['errors'].values())}{note}", flush=True)

    def guarded(self, what, gateway, act):
        """Lets a gateway run while `act` does something with it; `None` when that fails."""
        gateway.pause(False)
        try:
            return act()
        except (Failed, OSError) as why:
            print(f"{what}: {why}", flush=True)
            return None
        finally:
            gateway.pause(True)
            self.meter.tell_mock({})

    def measure_curve(self):
        """Throughput against p99 for the small chat."""
        workload = next(each for each in all_workloads(self.work) if each.name == "chat-64")
        for gateway in self.gateways:
            points = self.guarded(f"curve of {gateway.title}", gateway, lambda: self.curve_of(workload, gateway))
            if points:
                self.results["curve"].setdefault(gateway.name, []).append(points)
                print(f"curve          {gateway.name}", flush=True)

    def curve_of(self, workload, gateway):
        """One gateway's steps, up to what it reached in the first round."""
        cell = self.results["workloads"].get(workload.name, {}).get("cells", {}).get(gateway.name)
        most = (cell["saturation"][0] if cell else self.meter.saturate(workload, gateway))["per_s"]
        return self.meter.curve(workload, gateway, most)


def answer_bytes(port):
    """Size of the mock's answer to a small question."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 200}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", data=body)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return len(answer.read())


if __name__ == "__main__":
    sys.exit(main())
