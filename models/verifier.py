#!/usr/bin/env python3
"""Trains the verifier: the small model that says how likely a stored answer is right for another question.

    /tmp/model/bin/pip install -r models/requirements.txt lightgbm==4.7.0 scipy==1.18.0
    cargo build --release --example pair_features
    /tmp/model/bin/python models/verifier.py PAIRS.jsonl            # trains, writes models/verifier/
    /tmp/model/bin/python models/verifier.py PAIRS.jsonl --report   # measures what is there

PAIRS.jsonl has lines with `a`, `b`, `same`, `source`. Only sources that may be used freely are trained on
(see FREE); others are reported and nothing else. Half of the free pairs, drawn by a hash of the pair, is
kept for the calibration. Features come from the gateway's own code (benches/tools/pair_features.rs), so there is
one implementation.
"""

import argparse
import collections
import hashlib
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import lightgbm
import numpy as np
from scipy.optimize import minimize
from scipy.stats import beta

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = HERE / "verifier"
FREE = ("checklist:", "webquestions:", "gptcache-mock")
# Labelled "other" because the gold answers differ, but read by hand, 12 of 14 of its pairs above cosine 0.9 ask
# the same ("what year did baltimore ravens win the superbowl" twice): neither trained on nor calibrated with.
NOISY = ("webquestions:same_entity_other_relation",)
MADE = 24000
# Weight of the model's log-odds beside the cosine. The trees see few kinds of natural paraphrase, the cosine
# saw a billion sentences: together they rank better than either.
LOGIT_WEIGHT = 0.05
# More of these never makes a pair likelier to share an answer (-1), or never less likely (1).
RISING = ["cosine", "static_cosine", "overlap"]
FALLING = ["lost_max", "lost_min", "slots", "becoming", "modal", "asks", "edits", "roles", "past", "future", "names_min", "names_max", "near_max", "unmatched_min", "unmatched_max", "constraints", "directions", "rarest_min"]
SETTINGS = dict(objective="binary", num_leaves=12, learning_rate=0.06, min_data_in_leaf=40, lambda_l2=10, feature_fraction=0.5, bagging_fraction=0.7, bagging_freq=1, monotone_constraints_method="advanced", seed=1, num_threads=1, deterministic=True, force_row_wise=True, verbose=-1)
ROUNDS = 250
CONFIDENCE = 0.95
PREFILTER_LOSS = 0.005
# As in src/cache/verify: nothing farther is a candidate.
SIMILARITY_FLOOR = 0.6


def names():
    text = (ROOT / "src/cache/verify/features.rs").read_text()
    return re.findall(r'"(\w+)"', re.search(r"NAMES: \[&str; \d+\] = \[(.*?)\];", text, re.S)[1])


def with_features(lines):
    program = ROOT / "target/release/examples/pair_features"
    out = subprocess.run([program, HERE / "all-minilm-l6-v2"], input="\n".join(lines), capture_output=True, text=True, check=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    return [row for row in rows if row["features"] is not None]


def held_out(row):
    return hashlib.sha256(f"{row['a']}\n{row['b']}".encode()).digest()[0] % 2 == 0


def arrays(rows):
    return (np.array([row["features"] for row in rows]), np.array([row["same"] for row in rows]),
            np.array([row["source"] for row in rows]), np.array([row["veto"] is not None for row in rows]))


def balanced(sources, labels, most):
    weights = np.ones(len(labels))
    for key, count in collections.Counter(zip(sources, labels)).items():
        if key[0].startswith("checklist:"):
            weights[(sources == key[0]) & (labels == key[1])] = min(most, count) / count
    return weights


def train(rows, made, features):
    x, y, sources, veto = arrays([row for row in rows if not held_out(row)])
    mx, my, _, mveto = arrays(made)
    weights = np.r_[balanced(sources[~veto], y[~veto], 200), np.full((~mveto).sum(), 0.5)]
    constraints = [1 if name in RISING else -1 if name in FALLING else 0 for name in features]
    data = lightgbm.Dataset(np.r_[x[~veto], mx[~mveto]], np.r_[y[~veto], my[~mveto]], weight=weights, feature_name=features)
    return lightgbm.train({**SETTINGS, "monotone_constraints": constraints}, data, ROUNDS)


def trees(model):
    """Each tree as parallel lists: feature, threshold, then the index of the next node; leaves are negative."""
    out = []
    for info in model.dump_model()["tree_info"]:
        tree = {"feature": [], "threshold": [], "low": [], "high": [], "leaf": []}

        def walk(node):
            if "leaf_value" in node:
                tree["leaf"].append(float(f"{node['leaf_value']:.6g}"))
                return -len(tree["leaf"])
            at = len(tree["feature"])
            tree["feature"].append(node["split_feature"])
            # As f32, which the gateway computes in.
            tree["threshold"].append(float(np.float32(node["threshold"])))
            tree["low"].append(0)
            tree["high"].append(0)
            tree["low"][at] = walk(node["left_child"])
            tree["high"][at] = walk(node["right_child"])
            return at

        walk(info["tree_structure"])
        out.append(tree)
    return out


def scores(model_trees, x, veto):
    logit = np.zeros(len(x))
    for tree in model_trees:
        feature, threshold = np.array(tree["feature"] or [0]), np.array(tree["threshold"] or [0], np.float32)
        low, high, leaf = np.array(tree["low"] or [-1]), np.array(tree["high"] or [-1]), np.array(tree["leaf"])
        at = np.zeros(len(x), int)
        while (at >= 0).any():
            node = np.maximum(at, 0)
            goes_low = x[np.arange(len(x)), feature[node]].astype(np.float32) <= threshold[node]
            at = np.where(at >= 0, np.where(goes_low, low[node], high[node]), at)
        logit += leaf[-at - 1]
    return np.where(veto, -9, x[:, 0] + LOGIT_WEIGHT * np.clip(logit, -14, 14))


def calibrate(score, y):
    """For each score: hits at or above it, wrong ones, and the upper bound of their rate (Clopper-Pearson)."""
    steps = []
    for at in np.arange(0.6, 1.4001, 0.005):
        hit = score >= at
        hits, wrong = int(hit.sum()), int((hit & (y == 0)).sum())
        if hits == 0:
            break
        upper = float(beta.ppf(CONFIDENCE, wrong + 1, hits - wrong)) if wrong < hits else 1.0
        steps.append([round(float(at), 3), hits, wrong, round(upper, 5)])
    served = score > 0
    loss = lambda w: np.mean(np.logaddexp(0, -(2 * y[served] - 1) * (w[0] + w[1] * score[served])))
    line = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"maxiter": 4000}).x
    return steps, [round(float(value), 5) for value in line]


def operating_point(model, rate=0.01):
    """As Verifier::score_for: from the best step towards looser ones, until one fails."""
    best = min(range(len(model["calibration"])), key=lambda at: model["calibration"][at][3])
    least = float("inf")
    for step in reversed(model["calibration"][: best + 1]):
        if step[3] > rate:
            break
        least = step[0]
    return least


def report(rows, model):
    x, y, sources, veto = arrays(rows)
    score = scores(model["trees"], x, veto)
    cosine = np.array([row["cosine"] for row in rows])
    near = cosine >= SIMILARITY_FLOOR
    least = operating_point(model)
    print(f"operating point for a wrong-hit rate of 0.01: score {least}")
    seen = np.array([row["source"].startswith(FREE) and not held_out(row) for row in rows])
    for source in sorted(set(sources)):
        for label in (0, 1):
            mask = (sources == source) & (y == label) & ~seen
            if mask.sum():
                print(f"{source:42s} {'same ' if label else 'other'} {mask.sum():6d}  accepted {np.mean((score >= least)[mask] & near[mask]):.4f}  of those above the floor {np.mean(score[mask & near] >= least):.4f}  cosine >= 0.95 {np.mean(cosine[mask] >= 0.95):.4f}  ruled out {np.mean(veto[mask]):.4f}")
    static = x[:, names().index("static_cosine")]
    lost = (score >= least) & (y == 1) & (static < model["static_floor"]) & ~seen
    print(f"static floor {model['static_floor']}: loses {lost.sum()} of {((score >= least) & (y == 1) & ~seen).sum()} right hits")
    mask = sources == "qqp"
    if mask.any():
        def reach(value, precision):
            order = np.argsort(-value[mask], kind="stable")
            right = np.cumsum(y[mask][order])
            good = np.where(right / np.arange(1, len(order) + 1) >= precision)[0]
            return (good[-1] + 1) / len(order) if len(good) else 0.0
        for precision in (0.8, 0.85, 0.9):
            ours, plain = reach(score, precision), reach(cosine, precision)
            print(f"qqp at {precision:.0%} precision: verifier {ours:.4f}, cosine {plain:.4f}, ratio {ours / plain:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    if not Path(options.pairs).exists():
        sys.exit(f"{options.pairs} is not there: the verifier is trained on labelled pairs, which are not part of this repository")
    lines = Path(options.pairs).read_text().splitlines()
    features = names()
    rows = with_features(lines)
    if not options.report:
        free = [row for row in rows if row["source"].startswith(FREE) and row["source"] not in NOISY]
        questions = sorted({row[side] for row in free if row["source"].startswith(("checklist:", "webquestions:")) and not held_out(row) for side in "ab"})
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
            file.write("\n".join(questions))
            file.flush()
            pairs = subprocess.run([sys.executable, HERE / "pairs.py", file.name, str(MADE)], capture_output=True, text=True, check=True).stdout
        made = with_features(pairs.splitlines())
        model = {"version": 1, "features": features, "logit_weight": LOGIT_WEIGHT, "trees": trees(train(free, made, features))}
        x, y, _, veto = arrays([row for row in free if held_out(row)])
        score = scores(model["trees"], x, veto)
        model["calibration"], model["probability"] = calibrate(score, y)
        # Below this static cosine a look-up is a certain miss: it loses this share of the right hits.
        right = (score >= operating_point(model)) & (y == 1)
        model["static_floor"] = round(float(np.quantile(x[right, features.index("static_cosine")], PREFILTER_LOSS)), 3)
        TARGET.mkdir(exist_ok=True)
        (TARGET / "verifier.json").write_text(json.dumps(model, separators=(",", ":")) + "\n")
    report(rows, json.loads((TARGET / "verifier.json").read_text()))


if __name__ == "__main__":
    main()
