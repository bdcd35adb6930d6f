"""Random weights in the true shapes of an OPT size, as safetensors, to measure speed with: python opt_checkpoint.py SIZE FOLDER [--zeros SHARE]

The weights mean nothing, but they are finite and of a trained model's scale, so that speed is that of the real model. `--zeros` shifts
the bias of fc1 so that about this share of the inputs of fc2 is zero (random weights give a half; trained models more).
"""

import argparse
import json
import statistics
import struct
from pathlib import Path

import numpy as np

# layers, hidden size, heads (Zhang et al., arXiv 2205.01068, table 1)
SIZES = {"125m": (12, 768, 12), "1.3b": (24, 2048, 32), "2.7b": (32, 2560, 32), "6.7b": (32, 4096, 32), "13b": (40, 5120, 40)}
VOCAB, POSITIONS, STD = 50272, 2050, 0.02


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zeros", type=float, default=0.5)
    asked = parser.parse_args()
    layers, hidden, heads = SIZES[asked.size]
    # A norm's output has variance 1, so fc1's sums have STD * sqrt(hidden), and its bias is one more summand.
    spread = STD * (hidden + 1) ** 0.5
    plan = list(tensors(layers, hidden, -spread * statistics.NormalDist().inv_cdf(asked.zeros)))
    header, offset = {}, 0
    for name, shape, _, _ in plan:
        size = 2 * int(np.prod(shape))
        header[f"model.decoder.{name}"] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    random = np.random.default_rng(0)
    asked.folder.mkdir(parents=True, exist_ok=True)
    with (asked.folder / "model.safetensors.part").open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for _, shape, mean, deviation in plan:
            left = int(np.prod(shape))
            while left:
                count = min(left, 1 << 24)
                file.write((mean + deviation * random.standard_normal(count, dtype=np.float32)).astype("<f2").tobytes())
                left -= count
    config = {
        "architectures": ["OPTForCausalLM"], "model_type": "opt", "vocab_size": VOCAB, "hidden_size": hidden, "word_embed_proj_dim": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * hidden, "max_position_embeddings": POSITIONS - 2,
        "do_layer_norm_before": True, "activation_function": "relu", "bos_token_id": 2, "eos_token_id": 2, "pad_token_id": 1, "torch_dtype": "float16",
    }
    (asked.folder / "config.json").write_text(json.dumps(config, indent=2))
    # Under its name only when it is whole.
    (asked.folder / "model.safetensors.part").rename(asked.folder / "model.safetensors")


if __name__ == "__main__":
    main()
