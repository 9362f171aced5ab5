"""What is made of several rounds: medians, ratios, latencies less the mock's own. Knows no words."""

from statistics import median

# Share of the answers that lie beyond a quantile.
BEYOND = {"p50": 0.5, "p99": 0.01, "p99.9": 0.001}


def values(workload, name, key):
    """A figure of a gateway at saturation, of each round."""
    return [run[key] for run in workload["cells"][name]["saturation"]]


def ratio(workload, name, other, key="cpu_us"):
    """The median of the ratios to another gateway, of each round; `None` without one."""
    if not {name, other} <= set(workload["cells"]):
        return None
    pairs = zip(values(workload, name, key), values(workload, other, key))
    ratios = [mine / its for mine, its in pairs if its]
    return median(ratios) if ratios else None


def latencies(workload, name, kind, quantile):
    """A quantile at the fixed rate, of each round that has an answer beyond it; where the workload says
    so less the mock's own in the same round.
    """
    cell, base = workload["cells"][name], workload["cells"].get("direct")
    less = workload["added"] and name != "direct"
    found = []
    for at, run in enumerate(cell["fixed"]):
        if not run[kind] or run["samples"] * BEYOND[quantile] < 1 or (less and not base):
            continue
        found.append(run[kind][quantile] - (base["fixed"][at][kind][quantile] if less else 0))
    return found


def mostly(runs, mark):
    """Whether more than half of the rounds bear a mark."""
    return sum(bool(run[mark]) for run in runs) * 2 > len(runs)
