"""The bars that Ringside set itself, and what was measured against them.

Each bar is a function of the results; it gives what was measured, and whether that reaches the bar.
"""

from statistics import median

from stats import latencies, mostly, ratio, values

NOTHING = ("–", None)


def bars(results):
    """Bar, what was measured, and whether it is reached (`None`: not measured)."""
    workloads = results["workloads"]
    return [
        ("small chat, 64 connections, everything on: CPU ≤ 1.0 × HAProxy", *cpu(workloads, "chat-64", "haproxy", 1.0)),
        ("the same ≤ 0.8 × nginx", *cpu(workloads, "chat-64", "nginx", 0.8)),
        ("512 connections: CPU ≤ 0.7 × HAProxy", *cpu(workloads, "chat-512", "haproxy", 0.7)),
        ("added p99 at half of saturation ≤ HAProxy's", *p99(workloads, "chat-64")),
        ("stream of 100 events: CPU per event ≤ 1.0 × HAProxy", *both_streams(workloads)),
        ("stream: added time to first token, p99 ≤ 250 µs", *first_token(workloads)),
        ("CPU per relayed event ≤ 4.5 µs", *per_event(workloads)),
        ("exact hit: throughput ≥ 1.0 × nginx with a fixed body", *exact(workloads)),
        ("the ring never worse than epoll", *ring(workloads)),
        ("throughput ≥ 500 × LiteLLM's on one core", *peer(workloads, "litellm", 500)),
        ("throughput ≥ 60 × Portkey's on one core", *peer(workloads, "portkey", 60)),
        ("≤ 0.6 system calls per request on the ring", *syscalls(workloads)),
        ("memory after 100 KB questions ≤ 2 × idle", *memory(results["memory"])),
        ("≤ 30 MiB idle without the model", *idle(results["memory"])),
        ("first answer within 100 ms of the start", *first_answer(results.get("first_answer_ms"))),
    ]


def has(workloads, name, *gateways):
    cells = workloads.get(name, {}).get("cells", {})
    return all(gateway in cells for gateway in gateways)


def cpu(workloads, name, other, most):
    if not has(workloads, name, "ring", other):
        return NOTHING
    found = ratio(workloads[name], "ring", other)
    text = f"{found:.2f}"
    if has(workloads, name, "no-cache"):
        text += f"; without the cache {ratio(workloads[name], 'no-cache', other):.2f}"
    return text, found <= most


def p99(workloads, name):
    if not has(workloads, name, "ring", "haproxy", "direct"):
        return NOTHING
    found = [latencies(workloads[name], gateway, "latency_us", "p99") for gateway in ("ring", "haproxy")]
    if not all(found):
        return NOTHING
    mine, its = map(median, found)
    return f"{mine:,.0f} µs, HAProxy {its:,.0f} µs", mine <= its


def both_streams(workloads):
    names = [name for name in ("stream-burst", "stream-paced") if has(workloads, name, "ring", "haproxy")]
    if not names:
        return NOTHING
    found = [ratio(workloads[name], "ring", "haproxy") for name in names]
    words = {"stream-burst": "at once", "stream-paced": "each alone"}
    return "; ".join(f"{words[name]} {each:.2f}" for name, each in zip(names, found)), max(found) <= 1.0


def first_token(workloads):
    if not has(workloads, "stream-paced", "ring", "direct"):
        return NOTHING
    found = latencies(workloads["stream-paced"], "ring", "first_token_us", "p99")
    if not found:
        return NOTHING
    return f"{median(found):,.0f} µs, events 5 ms apart", median(found) <= 250


def per_event(workloads):
    names = [name for name in ("stream-burst", "stream-paced") if has(workloads, name, "ring")]
    if not names:
        return NOTHING
    found = [median(values(workloads[name], "ring", "cpu_us")) for name in names]
    words = {"stream-burst": "at once", "stream-paced": "each alone"}
    return "; ".join(f"{words[name]} {each:.2f} µs" for name, each in zip(names, found)), max(found) <= 4.5


def exact(workloads):
    """By throughput; by CPU where the load generator was what limited."""
    if not has(workloads, "exact-hit", "ring", "nginx"):
        return NOTHING
    workload = workloads["exact-hit"]
    seen, core = ratio(workload, "ring", "nginx", "per_s"), 1 / ratio(workload, "ring", "nginx")
    limited = any(mostly(workload["cells"][gateway]["saturation"], "limited") for gateway in ("ring", "nginx"))
    text = f"{seen:.2f} seen; by CPU per answer {core:.2f}"
    return (text + " (the load generator was the limit)", core >= 1) if limited else (text, seen >= 1)


def ring(workloads):
    """Over all workloads: where the ring compares worst."""
    names = [name for name in workloads if has(workloads, name, "ring", "epoll")]
    if not names:
        return NOTHING
    ratios = {name: ratio(workloads[name], "ring", "epoll") for name in names}
    worst, best = max(ratios, key=ratios.get), min(ratios, key=ratios.get)
    text = f"CPU {ratios[best]:.2f} ({workloads[best]['title']}) to {ratios[worst]:.2f} ({workloads[worst]['title']}) × epoll"
    return text, ratios[worst] <= 1.0


def peer(workloads, name, least):
    if not has(workloads, "chat-64", "ring", name):
        return NOTHING
    workload = workloads["chat-64"]
    seen, core = ratio(workload, "ring", name, "per_s"), 1 / ratio(workload, "ring", name)
    theirs = median(values(workload, name, "per_s"))
    return f"{seen:,.0f} seen, {core:,.0f} by CPU per answer; theirs {theirs:,.0f}/s", seen >= least


def syscalls(workloads):
    cell = workloads.get("chat-64", {}).get("cells", {}).get("ring", {})
    return (f"{cell['syscalls']:.2f}", cell["syscalls"] <= 0.6) if "syscalls" in cell else NOTHING


def memory(memory):
    """Without the cache, whose size is configured."""
    if "no-cache" not in memory:
        return NOTHING
    found = {name: memory[name]["after"] / memory[name]["idle"] for name in ("no-cache", "ring") if name in memory}
    text = f"{found['no-cache']:.1f} without the cache"
    if "ring" in found:
        text += f"; {found['ring']:.1f} with up to 256 MiB of cache"
    return text, found["no-cache"] <= 2


def idle(memory):
    if "ring" not in memory:
        return NOTHING
    found = memory["ring"]["idle"] / 1024
    return f"{found:.0f} MiB", found <= 30


def first_answer(times):
    return (f"{min(times):g} to {max(times):g} ms", max(times) <= 100) if times else NOTHING
