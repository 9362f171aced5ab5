#!/usr/bin/env python3
"""Distils the static table from the embedding model: one short vector per word piece.

    /tmp/model/bin/python models/table.py            # writes models/all-minilm-l6-v2/static.bin
    /tmp/model/bin/python models/table.py --verify   # compares it with the model on the questions below

Each entry of the vocabulary is embedded alone by the model, the mean of all is taken off, and the rest is
projected on its first principal components (as model2vec does). A text's static vector is the mean of its
pieces' vectors, weighted by a / (a + p) (SIF; Arora, Liang, Ma 2017) with p by Zipf's law from the piece's
place in the vocabulary, which is sorted by frequency.

The file: "RSST", then u32 each, little-endian: version, rows, dimensions; then one f32 scale per row; then
rows x dimensions of i8. A component is its i8 times the row's scale.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
TARGET = HERE / "all-minilm-l6-v2"
VERSION, DIMENSIONS = 1, 128
CLS, SEP = 101, 102
# [PAD], [unused*], [UNK], [CLS], [SEP], [MASK]: no text has them, or they say nothing.
SPECIAL_MAX = 998
# Single characters and punctuation stand before the words, which are sorted by frequency from here.
FIRST_WORD = 1996
SIF_A = 1e-3


def session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(TARGET / "model.onnx"), options, providers=["CPUExecutionProvider"])


def weights(rows):
    rank = np.maximum(np.arange(rows) - FIRST_WORD + 1, 1).astype(np.float64)
    weight = SIF_A / (SIF_A + 0.1 / rank)
    weight[: SPECIAL_MAX + 1] = 0
    return weight


# Three wordings each of eight questions: those of one line are near, others are not.
GROUPS = [line.split(" | ") for line in """\
what is the capital of france | which city is the capital of france | tell me the french capital
how do i reset my password | i forgot my password and want a new one | password reset
cancel my order | i want to cancel an order | how can i cancel the order i placed
who wrote hamlet | which author wrote hamlet | who is the author of the play hamlet
how far is the moon | what is the distance to the moon | distance from earth to the moon
best way to learn python | how can i learn python programming | learning python for beginners
how long do i boil an egg | boiling eggs how many minutes | time needed to boil an egg
what causes high blood pressure | why is my blood pressure high | reasons for high blood pressure""".splitlines()]


def distil():
    model = session()
    rows = len(json.loads((TARGET / "tokenizer.json").read_text())["model"]["vocab"])
    vectors = np.zeros((rows, 384), np.float32)
    for row in range(SPECIAL_MAX + 1, rows):
        vectors[row] = model.run(None, {"input_ids": np.array([[CLS, row, SEP]], np.int64)})[0][0]
    real = vectors[SPECIAL_MAX + 1 :].astype(np.float64)
    mean = real.mean(0)
    centred = real - mean
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :DIMENSIONS]
    # The sign of an axis is arbitrary; fixed, so that two builds agree.
    axes *= np.sign(axes[np.abs(axes).argmax(0), np.arange(DIMENSIONS)])
    table = np.zeros((rows, DIMENSIONS))
    table[SPECIAL_MAX + 1 :] = centred @ axes
    scales = np.maximum(np.abs(table).max(1) / 127, 1e-9).astype(np.float32)
    quantised = np.round(table / scales[:, None]).clip(-127, 127).astype(np.int8)
    with open(TARGET / "static.bin", "wb") as out:
        out.write(b"RSST" + struct.pack("<III", VERSION, rows, DIMENSIONS))
        out.write(scales.tobytes())
        out.write(quantised.tobytes())
    import build as model_script

    model_script.write_card((TARGET / "model.onnx").read_bytes(), (TARGET / "tokenizer.json").read_bytes())
    print(f"static.bin: {rows} rows of {DIMENSIONS}")


def load():
    data = (TARGET / "static.bin").read_bytes()
    version, rows, dimensions = struct.unpack("<III", data[4:16])
    assert data[:4] == b"RSST" and version == VERSION
    scales = np.frombuffer(data, np.float32, rows, 16)
    quantised = np.frombuffer(data, np.int8, rows * dimensions, 16 + 4 * rows).reshape(rows, dimensions)
    return quantised * scales[:, None]


def verify():
    table, model = load(), session()
    weight = weights(len(table))
    tokenizer = Tokenizer.from_file(str(TARGET / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = [text for group in GROUPS for text in group]
    static, whole = [], []
    for line in lines:
        ids = np.array(tokenizer.encode(line).ids)
        vector = (table[ids] * weight[ids][:, None]).sum(0)
        static.append(vector / np.linalg.norm(vector))
        whole.append(model.run(None, {"input_ids": ids[None].astype(np.int64)})[0][0])
    upper = np.triu_indices(len(lines), 1)
    pair = lambda vectors: (np.array(vectors) @ np.array(vectors).T)[upper]
    correlation = np.corrcoef(pair(static), pair(whole))[0, 1]
    print(f"{len(lines)} texts: correlation of static and whole cosine {correlation:.3f}")
    assert correlation > 0.8


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", action="store_true")
    if not parser.parse_args().verify:
        distil()
    verify()
