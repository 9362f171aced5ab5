"""One soak: starts everything, lets it run, and says what was not as it should be."""

import asyncio
import collections
import contextlib
import os
import random
import time

import clients
import faults
import plot
from gateway import KEYS, Gateway, Mock
from http_client import exchange
from ledger import Ledger
from processes import Failed

# Metrics that must be at zero once nobody asks anything.
IDLE = ["ringside_target_in_flight", "ringside_admission_queue", "ringside_connections_open", "ringside_coalesce_in_flight",
        "ringside_coalesce_buffer_bytes", "ringside_cache_samples_in_flight", "ringside_mirror_requests_in_flight",
        "ringside_embedding_queue", "ringside_access_records_waiting", "ringside_panics_total",
        "ringside_access_records_dropped_total"]
# Memory is level when the last fifth of the run has at most this much more than its second fifth.
LEVEL_MIB, LEVEL_SHARE = 12, 0.10
PROBE_MS_MAX = 1000


class World:
    """What clients and faults share."""

    def __init__(self, options, gateway, mocks):
        self.options, self.gateway, self.mocks = options, gateway, mocks
        self.address = ("127.0.0.1", gateway.data)
        self.random = random.Random(options.seed)
        self.questions = clients.Questions(options.seed)
        self.ledger = Ledger()
        self.stopping = asyncio.Event()
        self.pause_s, self.rest_s = 0.02, 1.0
        self.generation, self.gateway_is_down = 0, False
        self.failing_now, self.failed_until = 0, 0.0
        self.began = time.monotonic()
        self.marks, self.probe_ms = [], []

    def mark(self, name):
        self.marks.append((time.monotonic() - self.began, name))

    @contextlib.contextmanager
    def failing(self):
        """Within this, requests may be refused for want of a provider; so they may while targets recover."""
        self.failing_now += 1
        try:
            yield
        finally:
            self.failing_now -= 1
            self.failed_until = time.monotonic() + 15

    def providers_may_fail(self):
        return self.failing_now > 0 or time.monotonic() < self.failed_until


async def soak(options, processes, work):
    """Runs it; the problems found."""
    if not (options.bin / "ringside").exists():
        raise Failed("build first: cargo build --release --workspace --bins")
    cpus = sorted(os.sched_getaffinity(0))
    gateway_cpu, other_cpus = str(cpus[0]), ",".join(map(str, cpus[1:] or cpus))
    os.sched_setaffinity(0, cpus[1:] or cpus)
    mocks = [Mock(processes, options.bin / "ringside-mock", work / f"mock-{name}.log", other_cpus) for name in "12"]
    for mock in mocks:
        mock.start()
    gateway = Gateway(options, processes, work, mocks, gateway_cpu)
    gateway.start()
    world = World(options, gateway, mocks)
    tasks = start_clients(world)
    watching = asyncio.create_task(watch(world))
    total_s = options.minutes * 60
    await asyncio.sleep(total_s * 0.15)
    await kill_and_restart(world)
    await asyncio.sleep(total_s * 0.85)
    world.stopping.set()
    done, late = await asyncio.wait(tasks, timeout=45)
    for task in late:
        task.cancel()
        world.ledger.problem("a client did not come to its end within 45 s")
    for task in done:
        if task.exception():
            raise task.exception()
    samples = await watching
    await judge_end(world, samples)
    report(world, samples, options)
    return [f"{problem} (×{count})" for problem, count in world.ledger.problems.items()]


def start_clients(world):
    keys = list(KEYS.values())
    # Key c is revoked now and then: only the checks of that use it.
    steady = [clients.well_behaved(world, keys[at % 2]) for at in range(world.options.clients)]
    others = [clients.hanging_up(world, keys[0]), clients.hanging_up(world, keys[1]), clients.slow_reader(world, keys[0]),
              clients.slow_reader(world, keys[1]), clients.flood(world), clients.large_bodies(world, keys[1]),
              clients.malformed(world), faults.probes(world), faults.one_after_the_other(world)]
    return [asyncio.create_task(each) for each in steady + others]


async def kill_and_restart(world):
    """The gateway is killed under load and started again on the same folder: no wrong answer may come of it."""
    world.mark("gateway killed")
    world.gateway_is_down = True
    world.generation += 1
    world.gateway.kill()
    world.ledger.forget_responses()
    world.ledger.abandoned = 0
    world.gateway.start()
    world.generation += 1
    world.gateway_is_down = False
    world.failed_until = time.monotonic() + 15


async def watch(world):
    """Memory, descriptors and rates, once a second."""
    samples = collections.defaultdict(list)
    last = sum(world.ledger.outcomes.values())
    while not world.stopping.is_set():
        await asyncio.sleep(1)
        if world.gateway_is_down:
            continue
        try:
            metrics = await world.gateway.metrics()
            samples["resident MiB"].append(world.gateway.resident_mib())
            samples["descriptors"].append(float(world.gateway.descriptors()))
        except Exception:  # noqa: BLE001
            continue
        now = sum(world.ledger.outcomes.values())
        samples["second"].append(time.monotonic() - world.began)
        samples["life"].append(world.gateway.life)
        samples["outcomes per second"].append(float(now - last))
        samples["requests in flight at targets"].append(metrics.get("ringside_target_in_flight", 0.0))
        samples["cache MiB"].append(metrics.get("ringside_cache_bytes", 0.0) / 2**20)
        last = now
    return samples


async def judge_end(world, samples):
    """What must hold once nobody asks anything any more."""
    ledger, gateway = world.ledger, world.gateway
    for mock in world.mocks:
        await mock.behave()
    left = {}
    for _ in range(40):
        await asyncio.sleep(0.5)
        metrics = await gateway.metrics()
        left = {name: metrics[name] for name in IDLE if metrics.get(name, 0.0) != 0.0}
        if not left:
            break
    for name, value in left.items():
        ledger.problem(f"{name} is {value} at the end")
    later = [at for at, life in enumerate(samples["life"]) if life == gateway.life]
    resident = [samples["resident MiB"][at] for at in later]
    fifth = max(len(resident) // 5, 1)
    early, late = (sum(part) / len(part) for part in (resident[fifth:2 * fifth] or resident, resident[-fifth:]))
    ledger.outcomes["resident MiB, second fifth"], ledger.outcomes["resident MiB, last fifth"] = round(early), round(late)
    if late - early > max(LEVEL_MIB, LEVEL_SHARE * early):
        ledger.problem(f"memory is not level: {early:.0f} MiB in the second fifth, {late:.0f} MiB in the last")
    # Upstream connections and the listener's own remain.
    rest = gateway.descriptors()
    ledger.outcomes["descriptors at the end"] = rest
    if rest > 64:
        ledger.problem(f"{rest} descriptors are open at the end")
    if world.probe_ms and max(world.probe_ms) > PROBE_MS_MAX:
        ledger.problem(f"a probe took {max(world.probe_ms):.0f} ms")
    lines = ledger.compare(gateway.log)
    ledger.outcomes["lines of the log"] = lines
    counted = metrics.get("ringside_requests_total", 0.0)
    if counted != lines:
        ledger.problem(f"ringside_requests_total is {counted:.0f}, the log has {lines} lines")
    reply = await exchange(world.address, "GET", "/v1/models", headers=[("authorization", f"Bearer {KEYS['a']}")])
    if reply.status != 200:
        ledger.problem(f"the gateway answers {reply.status} at the end")


def report(world, samples, options):
    for name, count in sorted(world.ledger.outcomes.items()):
        print(f"{count:9} {name}")
    if world.probe_ms:
        print(f"probes: {len(world.probe_ms)}, slowest {max(world.probe_ms):.1f} ms")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    seconds = samples.pop("second")
    samples.pop("life")
    title = f"{options.minutes:g} minutes, {options.driver}, {options.cores} core(s); lines mark faults"
    options.out.write_text(plot.panels(title, seconds, samples, world.marks))
    print(f"plot: {options.out}")
    print("balanced: nothing lost, nothing wrong" if not world.ledger.problems else "not balanced")
