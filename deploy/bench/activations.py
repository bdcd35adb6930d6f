"""What one pass over bytes would cost in quality: python activations.py FOLDER TEXT [--tokens N]

Perplexity of a text with int8 weights (a scale for each row) and activations rounded in several ways before every product of the
layers, by PyTorch in f32, so that nothing but the rounding differs. Prints a table for BENCHMARKS.md. Wants torch and transformers, as the
peers' environments have them.
"""

import argparse
import math
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def weights_of_bytes(weight):
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    return (weight / scale).round().clamp(-127, 127) * scale


def rounded(x, levels, over):
    """To whole numbers of at most `levels`, with a scale for all numbers along `over`."""
    scale = x.abs().amax(dim=over, keepdim=True).clamp_min(1e-12) / levels
    return (x / scale).round() * scale


def token_16(x):
    return rounded(x, 32767, -1)


def token_8(x):
    return rounded(x, 127, -1)


def groups_8(size):
    def of(x):
        grouped = x.unflatten(-1, (-1, size))
        return rounded(grouped, 127, -1).flatten(-2)

    return of


def apart(share):
    """The highest columns of each token in 16 bits, the others in 8."""

    def of(x):
        count = max(1, math.ceil(share * x.shape[-1]))
        high = torch.zeros_like(x, dtype=torch.bool).scatter_(-1, x.abs().topk(count, dim=-1).indices, True)
        return torch.where(high, rounded(torch.where(high, x, 0), 32767, -1), rounded(torch.where(high, 0, x), 127, -1))

    return of


WAYS = {
    "16 bits, a scale for each token (what the engine does)": token_16,
    "8 bits, a scale for each token": token_8,
    "8 bits, a scale for 128 columns of a token": groups_8(128),
    "8 bits, a scale for 32 columns of a token": groups_8(32),
    "1 % of the columns in 16 bits, the rest in 8": apart(0.01),
    "5 % of the columns in 16 bits, the rest in 8": apart(0.05),
}


def perplexity(model, ids, context):
    total, count = 0.0, 0
    for window in ids[1:].split(context - 1):
        tokens = torch.cat([ids[:1], window])[None]
        logits = model(tokens).logits[0, :-1].log_softmax(-1)
        total -= logits.gather(1, tokens[0, 1:, None]).sum().item()
        count += len(window)
    return math.exp(total / count)


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=20_000)
    asked = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(asked.folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked.folder)
    ids = tokenizer(asked.text.read_text(), return_tensors="pt").input_ids[0, : asked.tokens]
    context = model.config.max_position_embeddings
    exact = perplexity(model, ids, context)
    print(f"| activations, with weights of 8 bits | perplexity | to exact ({exact:.3f}) |\n| --- | --- | --- |")
    way = [None]
    for layer in model.model.decoder.layers:
        attention = layer.self_attn
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, layer.fc1, layer.fc2):
            linear.weight.copy_(weights_of_bytes(linear.weight))
            linear.register_forward_pre_hook(lambda module, inputs: (way[0](inputs[0]),))
    for name, way[0] in WAYS.items():
        found = perplexity(model, ids, context)
        print(f"| {name} | {found:.3f} | {100 * (found / exact - 1):+.3f} % |", flush=True)


if __name__ == "__main__":
    main()
