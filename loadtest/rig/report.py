"""Writes what was measured: tables in Markdown between the markers of a page, and plots beside it.

Reads `results.json` only; measures nothing.
"""

from statistics import median

import svg
from bars import bars
from stats import BEYOND, latencies, mostly, ratio

BEGIN, END = "<!-- rig: begin -->", "<!-- rig: end -->"
LEGEND = """\
CPU is the time that all threads of the gateway's process ran, by the scheduler's clock; the figures are medians of
the rounds, with the least and the greatest in brackets. *× HAProxy* is the median of the ratios of each round.
*Added* is the gateway's quantile less the mock's own in the same round, both at the same fixed rate: half of what
the slowest of the fast gateways reached; slow ones are asked at half of what they reach themselves. A quantile beyond
which less than one answer is expected is not told (–).

† The load generator and the mock were at their limit, the gateway was not: its answers per second are a lower bound.
‡ The load generator kept its rate badly, or at p99 half of the latency and more was its own delay."""


def write(results, page):
    """Replaces what stands between the markers of `page`, and writes the plots; the files written.

    Raises ValueError when the page has no markers.
    """
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} has no {BEGIN} … {END}")
    folder = page.parent / "plots"
    folder.mkdir(exist_ok=True)
    drawn = plots(results)
    for name, plot in drawn.items():
        (folder / f"{name}.svg").write_text(plot)
    page.write_text(before + BEGIN + "\n\n" + markdown(results, sorted(drawn)) + "\n" + END + after)
    return [page, *(folder / f"{name}.svg" for name in sorted(drawn))]


def markdown(results, drawn=()):
    """Everything that was measured."""
    parts = [conditions(results), "## Against the bars\n\n" + bar_table(results), LEGEND]
    captions = {"added-p99": "Added p99 at the fixed rate", "cpu": "CPU per request", "curve": "Throughput against p99"}
    parts += [f"![{captions[name]}](plots/{name}.svg)" for name in drawn]
    parts.append("## Workload by workload")
    parts += [workload_part(results, workload) for workload in results["workloads"].values() if workload["cells"]]
    if results["memory"]:
        parts.append("## Memory\n\n" + memory_table(results))
    if results.get("first_answer_ms"):
        times = ", ".join(str(time) for time in results["first_answer_ms"])
        parts.append(f"From the start of Ringside's process to its first answer, three times: {times} ms.")
    return "\n\n".join(part for part in parts if part) + "\n"


def conditions(results):
    """Machine, versions, command, and how quiet it was."""
    machine = results["machine"]
    lines = [
        f"Taken {results['date']} by `{results['command']}`: rounds: {results['rounds']}, each figure over {results['seconds']:g} s, "
        f"{results.get('minutes', '?')} minutes, commit {results['commit']}.",
        f"Machine: {machine['cpus']} CPUs, {machine['model']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}. "
        f"Gateways on CPU {machine['gateway_cpu']}; mock and load generator on CPU {machine['generator_cpus']}.",
        "Versions: " + ", ".join(f"{each['title'].partition(',')[0]} {each['version']}" for name, each in results["gateways"].items()
                                 if name not in ("direct", "epoll", "no-cache")) + ".",
        noise(results),
    ]
    lines += [f"Left out altogether: {name}: {why}" for name, why in results["failed"].items()]
    return "\n".join(lines)


def noise(results):
    """What else ran on the machine meanwhile."""
    others = [run["others_cpus"] for _, _, cell in cells(results) for run in cell["saturation"]]
    if not others:
        return ""
    share = median(others) / results["machine"]["cpus"]
    warning = " **The machine was busy: read nothing into these figures.**" if share > 0.1 else ""
    return f"Other work took {share:.0%} of the machine meanwhile (median).{warning}"


def cells(results):
    """Every workload, gateway and cell."""
    for workload in results["workloads"].values():
        for name, cell in workload["cells"].items():
            yield workload, name, cell


def bar_table(results):
    rows = ["| bar | measured | |", "|---|---|---|"]
    for bar, measured, reached in bars(results):
        verdict = "not measured" if reached is None else "reached" if reached else "**not reached**"
        rows.append(f"| {bar} | {measured} | {verdict} |")
    return "\n".join(rows)


def workload_part(results, workload):
    """The table of one workload, and who is missing in it."""
    per = workload["per"].rstrip("s")
    syscalls = any("syscalls" in cell for cell in workload["cells"].values())
    kinds = [("latency_us", "added" if workload["added"] else "latency")]
    if workload["stream"]:
        kinds.append(("first_token_us", "added to first token" if workload["added"] else "first token"))
    base = next((name for name in ("haproxy", "nginx") if name in workload["cells"]), None)
    head = ["gateway", "connections", "answers/s", f"CPU µs per {per}"]
    head += [f"× {results['gateways'][base]['title']}"] if base else []
    head += [f"system calls per {per}"] if syscalls else []
    head += ["at rate, /s"] + [f"{label} {quantile}, µs" for _, label in kinds for quantile in BEYOND] + ["errors"]
    rows = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, cell in workload["cells"].items():
        row = [results["gateways"][name]["title"], *saturation_columns(workload, name, base)]
        row += [f"{cell['syscalls']:.3g}" if "syscalls" in cell else "–"] if syscalls else []
        row += [f"{cell['rate']:,}" + ("‡" if mostly(cell["fixed"], "late") else "")]
        row += [latency(workload, name, kind, quantile) for kind, _ in kinds for quantile in BEYOND]
        row += [str(sum(sum(run["errors"].values()) for run in cell["saturation"] + cell["fixed"]))]
        rows.append("| " + " | ".join(row) + " |")
    notes = [f"Left out: {results['gateways'][name]['title']}: {why}." for name, why in workload["left_out"].items()]
    notes += [note for note in (outcome_note(results, workload),) if note]
    return f"### {workload['title']}\n\n{workload['what'][:1].upper()}{workload['what'][1:]}.\n\n" + \
        "\n".join(rows) + ("\n\n" + "\n".join(notes) if notes else "")


def saturation_columns(workload, name, base):
    """Connections, answers per second, CPU, and that as a multiple of the base's."""
    runs = workload["cells"][name]["saturation"]
    mark = "†" if mostly(runs, "limited") else ""
    columns = [str(runs[0]["connections"]), spread([run["per_s"] for run in runs]) + mark,
               spread([run["cpu_us"] for run in runs])]
    return columns + ([f"{ratio(workload, name, base):.2f}"] if base else [])


def outcome_note(results, workload):
    """How many answers came from where, when the gateway says so."""
    if all(set(run["cache"]) <= {"miss", "bypass"} for cell in workload["cells"].values() for run in cell["saturation"]):
        return ""
    notes = []
    for name, cell in workload["cells"].items():
        counts = {}
        for run in cell["saturation"] + cell["fixed"]:
            for outcome, count in run["cache"].items():
                counts[outcome] = counts.get(outcome, 0) + count
        total = sum(counts.values())
        shares = ", ".join(f"{count / total:.1%} {outcome}" for outcome, count in sorted(counts.items()))
        if total:
            notes.append(f"{results['gateways'][name]['title']}: {shares}.")
    return "Outcomes: " + " ".join(notes) if notes else ""


def latency(workload, name, kind, quantile):
    """A latency column; the mock's own, which the others are told less of, stands in italics."""
    found = latencies(workload, name, kind, quantile)
    if not found:
        return "–"
    return f"*{spread(found)}*" if name == "direct" and workload["added"] else spread(found)


def spread(values):
    """The median, with the least and the greatest when there are several."""
    middle = svg.number(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({svg.number(min(values))} to {svg.number(max(values))})"


def memory_table(results):
    rows = ["| resident, MiB | idle | 1,000 idle connections | most under 100 KB questions | 5 s after them | after ÷ idle |",
            "|---|---|---|---|---|---|"]
    for name, each in results["memory"].items():
        columns = [f"{each[key] / 1024:.0f}" for key in ("idle", "connections", "loaded", "after")]
        ratio = f"{each['after'] / each['idle']:.1f}"
        rows.append("| " + " | ".join([results["gateways"][name]["title"], *columns, ratio]) + " |")
    return "\n".join(rows) + "\n\nRingside's cache may take 256 MiB for answers and their questions (`cache.memory_max`)."


def plots(results):
    """The plots that the results suffice for, by name."""
    drawn = {}
    colours = {name: at for at, name in enumerate(results["gateways"])}
    if results["curve"]:
        lines = [(results["gateways"][name]["title"], colours[name], curve_points(rounds))
                 for name, rounds in results["curve"].items()]
        drawn["curve"] = svg.curves("Small chat: throughput against p99", "answers per second", "p99, µs", lines)
    panels = {"cpu": [], "added-p99": []}
    for workload in results["workloads"].values():
        rows = {"cpu": [], "added-p99": []}
        for name, cell in workload["cells"].items():
            if results["gateways"][name]["slow"] or name == "direct":
                continue
            title = results["gateways"][name]["title"]
            rows["cpu"].append((title, colours[name], median(run["cpu_us"] for run in cell["saturation"]), " µs"))
            found = latencies(workload, name, "latency_us", "p99")
            if found:
                rows["added-p99"].append((title, colours[name], median(found), " µs" + "‡" * mostly(cell["fixed"], "late")))
        heading = workload["title"]
        panels["cpu"].append((heading + (", per event" if workload["per"] == "events" else ""), rows["cpu"]))
        panels["added-p99"].append((heading + ("" if workload["added"] else " (whole, not added)"), rows["added-p99"]))
    for name, title in (("cpu", "CPU per request"), ("added-p99", "Added p99 at a fixed rate")):
        full = [panel for panel in panels[name] if panel[1]]
        if full:
            drawn[name] = svg.bars(title, "µs", full)
    return drawn


def curve_points(rounds):
    """Medians over the rounds of each step, as far as the gateway kept up with what was offered."""
    points = []
    for steps in zip(*rounds):
        came, offered = (median(step[key] for step in steps) for key in ("answers_per_s", "offered_per_s"))
        points.append((came, median(step["p99_us"] for step in steps)))
        if came < 0.9 * offered:
            break
    return points
