"""Random weights in the true shapes of an OPT size, as safetensors, to measure speed with: python opt_checkpoint.py SIZE FOLDER [options]

The weights mean nothing, but they are finite and of a trained model's scale, so that speed is that of the real model. `--zeros` shifts
the bias of fc1 so that about this share of the inputs of fc2 is zero (random weights give a half; trained models more). One block of
numbers is drawn, and every tensor is taken from random places in it: drawing 13 billion would take minutes. `--shards` are written at
the same time, since a system lets only one thread at a time write to a file. `--biases` changes the zeros of a folder that was made with
the same size and shards, without writing the rest again.
"""

import argparse
import json
import os
import statistics
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import numpy as np

# layers, hidden size, heads (Zhang et al., arXiv 2205.01068, table 1)
SIZES = {
    "125m": (12, 768, 12), "1.3b": (24, 2048, 32), "2.7b": (32, 2560, 32), "6.7b": (32, 4096, 32), "13b": (40, 5120, 40),
    "30b": (48, 7168, 56), "66b": (64, 9216, 72),
}  # fmt: skip
VOCAB, POSITIONS, STD = 50272, 2050, 0.02
BLOCK_NUMBERS = 1 << 25
F16_BYTES = 2


def tensors(layers, hidden, fc1_bias):
    """(name, shape, mean, standard deviation) of each."""
    ffn = 4 * hidden
    yield "embed_tokens.weight", (VOCAB, hidden), 0, STD
    yield "embed_positions.weight", (POSITIONS, hidden), 0, STD
    for norm in ["", *(f"layers.{layer}.{name}" for layer in range(layers) for name in ("self_attn_layer_norm.", "final_layer_norm."))]:
        norm = norm or "final_layer_norm."
        yield norm + "weight", (hidden,), 1, 0
        yield norm + "bias", (hidden,), 0, 0
    for layer in range(layers):
        for name, rows, cols in (
            *((f"self_attn.{part}_proj", hidden, hidden) for part in ("q", "k", "v", "out")),
            ("fc1", ffn, hidden),
            ("fc2", hidden, ffn),
        ):
            yield f"layers.{layer}.{name}.weight", (rows, cols), 0, STD
            yield f"layers.{layer}.{name}.bias", (rows,), fc1_bias if name == "fc1" else 0, STD


def size_bytes(plan):
    return sum(F16_BYTES * prod(shape) for _, shape, _, _ in plan)


def divided(plan, shards):
    """The tensors in order, in shards of about the same size."""
    parts, left = [], size_bytes(plan)
    plan = list(plan)
    while plan:
        part, wanted = [], left / max(shards - len(parts), 1)
        while plan and (not part or size_bytes(part) + size_bytes(plan[:1]) / 2 <= wanted):
            part.append(plan.pop(0))
        left -= size_bytes(part)
        parts.append(part)
    return parts


def write(path, plan, block, random, biases):
    """Writes all tensors of a file, or into one that is there only the biases of fc1."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape, _, _ in plan:
        size = size_bytes([(name, shape, 0, 0)])
        header[f"model.decoder.{name}"] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    head = struct.pack("<Q", len(head)) + head
    file = os.open(path, os.O_WRONLY if biases else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.pwrite(file, head, 0)
        at = len(head)
        for name, shape, mean, deviation in plan:
            if not biases or name.endswith("fc1.bias"):
                fill(file, at, prod(shape), mean, block if deviation else np.zeros(2 * prod(shape), "<f2"), random)
            at += size_bytes([(name, shape, 0, 0)])
    finally:
        os.close(file)


def fill(file, at, count, mean, block, random):
    while count:
        begin = int(random.integers(len(block) // 2))
        piece = block[begin : begin + count]
        count -= len(piece)
        left = memoryview(piece + np.array(mean, "<f2") if mean else piece).cast("B")
        while left:
            written = os.pwrite(file, left, at)
            at, left = at + written, left[written:]


def write_all(paths, parts, block, biases):
    with ThreadPoolExecutor(len(parts)) as pool:
        running = [
            pool.submit(write, path, part, block, np.random.default_rng(seed), biases)
            for seed, (path, part) in enumerate(zip(paths, parts, strict=True), 1)
        ]
        for written in running:
            written.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zeros", type=float, default=0.5)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--biases", action="store_true")
    asked = parser.parse_args()
    begun = time.perf_counter()
    layers, hidden, heads = SIZES[asked.size]
    # A norm's output has variance 1, so fc1's sums have STD * sqrt(hidden), and its bias is one more summand.
    spread = STD * (hidden + 1) ** 0.5
    plan = list(tensors(layers, hidden, -spread * statistics.NormalDist().inv_cdf(asked.zeros)))
    parts = divided(plan, asked.shards)
    names = [f"model-{part:05}-of-{len(parts):05}.safetensors" for part in range(1, len(parts) + 1)] if len(parts) > 1 else ["model.safetensors"]
    block = (STD * np.random.default_rng(0).standard_normal(BLOCK_NUMBERS, dtype=np.float32)).astype("<f2")
    if asked.biases:
        write_all([asked.folder / name for name in names], parts, block, biases=True)
        return
    asked.folder.mkdir(parents=True, exist_ok=True)
    write_all([asked.folder / f"{name}.part" for name in names], parts, block, biases=False)
    config = {
        "architectures": ["OPTForCausalLM"], "model_type": "opt", "vocab_size": VOCAB, "hidden_size": hidden, "word_embed_proj_dim": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * hidden, "max_position_embeddings": POSITIONS - 2,
        "do_layer_norm_before": True, "activation_function": "relu", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float16",
    }
    (asked.folder / "config.json").write_text(json.dumps(config, indent=2))
    # Under their names only when they are whole.
    for name in names:
        (asked.folder / f"{name}.part").rename(asked.folder / name)
    if len(parts) > 1:
        weight_map = {f"model.decoder.{tensor}": name for name, part in zip(names, parts, strict=True) for tensor, *_ in part}
        index = {"metadata": {"total_size": size_bytes(plan)}, "weight_map": weight_map}
        (asked.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    took = time.perf_counter() - begun
    print(f"{asked.folder}: {size_bytes(plan) / 1e9:.1f} GB in {took:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
