"""What rounding activations costs in quality: python activations.py FOLDER TEXT [--tokens N] [--times T]

Perplexity of a text with int8 weights (a scale for each row) and activations rounded in several ways before every product of the
layers, by PyTorch in f32, so that nothing but the rounding differs. Prints a table for BENCHMARKS.md. Wants torch and transformers, as the
peers' environments have them.

With --times every hundredth column of what a layer norm gives becomes T times as large, and its weights so many times smaller: the same
model, with the columns that stand out in large ones. Weights are then left as they are, because a scale for each row does not suit such.
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


def ordinary(x, means):
    """Up to where a token's numbers are ordinary: so many times the mean of those that are no more than 2.5 times the mean of all."""
    highest = x.abs().amax(dim=-1, keepdim=True).clamp_min(1e-30)
    parts = (x.abs() * (32767 / highest)).round()

    def mean(counted):
        return (parts * counted).sum(dim=-1, keepdim=True) / ((parts > 0) & counted).sum(dim=-1, keepdim=True).clamp_min(1)

    counted = parts <= (2.5 * mean(parts >= 0)).floor()
    return highest * (means * mean(counted)).clamp(264, 32767) / 32767


def ordinary_range_8(x):
    """The range of a token's ordinary numbers in 254 steps; what is beyond has more bits."""
    reach = ordinary(x, 4)
    above = torch.minimum(x.amax(dim=-1, keepdim=True).clamp_min(0), reach)
    below = torch.minimum((-x).amax(dim=-1, keepdim=True).clamp_min(0), reach)
    scale = ((above + below) / 254).clamp_min(1e-30)
    return (x / scale).round() * scale


def ordinary_8(x):
    """127 is the end of a token's ordinary numbers; what is beyond has more bits."""
    scale = ordinary(x, 6.5) / 127
    return (x / scale).round() * scale


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
    "16 bits, a scale for each token": token_16,
    "8 bits, and 16 for what is no ordinary number of a token, with a zero point (int8 in the engine)": ordinary_range_8,
    "8 bits, and 16 for what is farther out (int4 in the engine)": ordinary_8,
    "8 bits, a scale for each token": token_8,
    "8 bits, a scale for 128 columns of a token": groups_8(128),
    "8 bits, a scale for 32 columns of a token": groups_8(32),
    "1 % of the columns in 16 bits, the rest in 8": apart(0.01),
    "5 % of the columns in 16 bits, the rest in 8": apart(0.05),
}


def stand_out(layer, times):
    attention = layer.self_attn
    for norm, linears in (
        (layer.self_attn_layer_norm, (attention.q_proj, attention.k_proj, attention.v_proj)),
        (layer.final_layer_norm, (layer.fc1,)),
    ):
        norm.weight[50::100] *= times
        norm.bias[50::100] *= times
        for linear in linears:
            linear.weight[:, 50::100] /= times


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
    parser.add_argument("--times", type=float)
    asked = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(asked.folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(asked.folder)
    ids = tokenizer(asked.text.read_text(), return_tensors="pt").input_ids[0, : asked.tokens]
    context = model.config.max_position_embeddings
    exact = perplexity(model, ids, context)
    print(f"| activations{'' if asked.times else ', with weights of 8 bits'} | perplexity | to exact ({exact:.3f}) |\n| --- | --- | --- |")
    way = [None]
    for layer in model.model.decoder.layers:
        attention = layer.self_attn
        if asked.times:
            stand_out(layer, asked.times)
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, attention.out_proj, layer.fc1, layer.fc2):
            if not asked.times:
                linear.weight.copy_(weights_of_bytes(linear.weight))
            linear.register_forward_pre_hook(lambda module, inputs: (way[0](inputs[0]),))
    for name, way[0] in WAYS.items():
        found = perplexity(model, ids, context)
        print(f"| {name} | {found:.3f} | {100 * (found / exact - 1):+.3f} % |", flush=True)


if __name__ == "__main__":
    main()
