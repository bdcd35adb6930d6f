"""What a card allows, and how fast PyTorch runs OPT on it: python cuda_peers.py [--size 6.7b] [--sections ceilings,graph,…]

Sections, each in a process of its own and given up after its time, one JSON row a measurement as soon as it is taken:

* ceilings: a copy on the card (bytes read and written), a sum (bytes read), a product of 8192³ in fp16, a copy from pinned memory
* graph: OPT as plain PyTorch with a static cache, each step one CUDA graph. Once as a real loop, which masks what is not written yet,
  and once as if attention knew the length (`-unmasked`), which is more than a loop in PyTorch can have
* compiled: the same loop, its layers compiled by inductor with the settings of gpt-fast; compiling takes a minute or so
* transformers: its OPT, eager with the cache that grows, and eager with its static cache in a CUDA graph
* transformers-compiled: its OPT with its static cache and torch.compile(mode="reduce-overhead"); compiling takes minutes

Weights are random, made on the card, fp16. Decoding begins with `--context` tokens in the cache; times are the card's own, without a
host that reads tokens, which flatters the peers. Of five repetitions the median counts.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

from opt_checkpoint import F16_BYTES, POSITIONS, SIZES, STD, VOCAB

SECTIONS = {"ceilings": 60, "graph": 90, "compiled": 180, "transformers": 90, "transformers-compiled": 300}
REPEAT = 5
GB = 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="6.7b")
    parser.add_argument("--sections", default="ceilings,graph,transformers", help=f"of {', '.join(SECTIONS)}")
    parser.add_argument("--batch", default="1,64")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--new", type=int, default=64)
    # One less than OPT's context: the answer needs a place too.
    parser.add_argument("--prefill", type=int, default=POSITIONS - 3)
    parser.add_argument("--limit", type=int, help="seconds for each section, instead of its own")
    parser.add_argument("--device", default="cuda", help="cpu is there to try this script, not to measure")
    parser.add_argument("--alone", choices=SECTIONS, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.alone:
        return section(asked)
    for name in asked.sections.split(","):
        if name not in SECTIONS:
            parser.error(f"there is no section {name}")
    for name in asked.sections.split(","):
        begun = time.perf_counter()
        limit = asked.limit or SECTIONS[name]
        try:
            # A process that is killed: a card that hangs does not listen to alarms.
            code = subprocess.run([sys.executable, __file__, *sys.argv[1:], "--alone", name], timeout=limit, check=False).returncode
            failed = code and f"ended with {code}"
        except subprocess.TimeoutExpired:
            failed = f"took more than {limit} s"
        if failed:
            print(json.dumps({"section": name, "size": asked.size, "failed": failed}), flush=True)
        print(f"{name} took {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)


def section(asked):
    global torch, functional, device
    import torch
    import torch.nn.functional as functional

    # Not inference_mode, whose tensors inductor does not change in place.
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    # Given to everything by name: a default device would cost each call of the eager loops some of the host's time.
    device = torch.device(asked.device)
    {
        "ceilings": ceilings,
        "graph": graph,
        "compiled": compiled,
        "transformers": transformers,
        "transformers-compiled": transformers_compiled,
    }[asked.alone](asked)


def random(*shape, dtype=None, deviation=STD):
    return torch.empty(shape, dtype=dtype or torch.float16, device=device).normal_(0, deviation)


def random_ids(*shape):
    return torch.randint(4, VOCAB, shape, device=device)


def row(asked, name, measure):
    """Prints what `measure` finds, or how it failed: one that fails does not stop the next."""
    found = {"section": asked.alone, "name": name}
    try:
        found |= measure()
    except Exception as cause:  # whatever PyTorch throws
        found["failed"] = f"{type(cause).__name__}: {str(cause)[:300]}"
    print(json.dumps(found), flush=True)
    return found


def seconds(asked, run, repeat=REPEAT, prepare=lambda: None):
    """Of each repetition, by the card's own clock."""
    took = []
    for _ in range(repeat):
        prepare()
        if asked.device == "cpu":
            begun = time.perf_counter()
            run()
            took.append(time.perf_counter() - begun)
            continue
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        end.synchronize()
        took.append(begin.elapsed_time(end) / 1e3)
    return took


# What the card allows


def ceilings(asked):
    small = asked.device == "cpu"
    if not small:
        properties = torch.cuda.get_device_properties(0)
        card = {"card": properties.name, "memory_bytes": properties.total_memory, "multiprocessors": properties.multi_processor_count}
        print(json.dumps({"section": "ceilings", "name": "card", **card, "torch": torch.__version__}), flush=True)
    row(asked, "copy", lambda: rate("GB/s", copy_rates(asked), GB))
    row(asked, "read", lambda: rate("GB/s", read_rates(asked, 1 << (22 if small else 31)), GB))
    row(asked, "matrix fp16", lambda: rate("TFLOP/s", matrix_rates(asked, 256 if small else 8192), 1e12))
    if not small:
        row(asked, "pinned host to device", lambda: rate("GB/s", pinned_rates(asked, 1 << 30), GB))


def rate(unit, rates, scale):
    return {"unit": unit, "value": statistics.median(rates) / scale, "min": min(rates) / scale, "max": max(rates) / scale}


def copy_rates(asked):
    source = random(1 << (22 if asked.device == "cpu" else 30), dtype=torch.float32)
    target = torch.empty_like(source)
    target.copy_(source)
    return [2 * source.nbytes / took for took in seconds(asked, lambda: target.copy_(source), 11)]


def read_rates(asked, count):
    source = random(count, dtype=torch.float32)
    source.sum()
    return [source.nbytes / took for took in seconds(asked, source.sum, 11)]


def matrix_rates(asked, side):
    a, b = (random(side, side, deviation=1) for _ in range(2))
    c = torch.empty_like(a)
    run = lambda: torch.matmul(a, b, out=c)  # noqa: E731
    seconds(asked, run, 5)
    return [2 * side**3 / took for took in seconds(asked, run, 30)]


def pinned_rates(asked, count):
    source = torch.empty(count, dtype=torch.uint8, pin_memory=True).fill_(7)
    target = torch.empty(count, dtype=torch.uint8, device=device)
    run = lambda: target.copy_(source, non_blocking=True)  # noqa: E731
    run()
    return [count / took for took in seconds(asked, run, 11)]


# What is told of a speed


def decoded(asked, batch, step, prepare, copy):
    """Tokens per second of a step, and what share of the copy's bandwidth that is, of the weights alone and with the keys and values."""
    prepare()
    for _ in range(3):
        step()

    def run():
        for _ in range(asked.new):
            step()

    rates = [batch * asked.new / took for took in seconds(asked, run, prepare=prepare)]
    steps = statistics.median(rates) / batch
    weights, cached = step_bytes(asked.size, batch, asked.context + asked.new / 2)
    found = {"decode_tokens_per_s": statistics.median(rates), "decode_min": min(rates), "decode_max": max(rates)}
    found |= {"step_ms": 1e3 / steps, "weights_share_of_copy": steps * weights / copy, "share_of_copy": steps * (weights + cached) / copy}
    return {"size": asked.size, "batch": batch, "context": asked.context, "new": asked.new, **found}


def prefilled(asked, run):
    run()
    rates = [asked.prefill / took for took in seconds(asked, run)]
    flops = statistics.median(rates) * operations(asked.size, asked.prefill) / asked.prefill
    return {"size": asked.size, "prefill_tokens": asked.prefill, "prefill_tokens_per_s": statistics.median(rates), "tflops": flops / 1e12}


def step_bytes(size, batch, context):
    """Of the weights a step reads, the table of words among them as the head, and of the keys and values."""
    layers, hidden, _ = SIZES[size]
    return F16_BYTES * (12 * layers * hidden**2 + VOCAB * hidden), F16_BYTES * 2 * layers * hidden * batch * context


def operations(size, tokens):
    """Of reading a prompt: the products with weights, and attention to what came before; the head for one token."""
    layers, hidden, _ = SIZES[size]
    return 2 * 12 * layers * hidden**2 * tokens + 2 * layers * hidden * tokens**2 + 2 * VOCAB * hidden


# OPT as plain PyTorch


def weights_of(size):
    layers, hidden, heads = SIZES[size]

    def linear(rows, cols):
        return random(rows, cols), random(rows)

    def norm():
        return torch.ones(hidden, dtype=torch.float16, device=device), torch.zeros(hidden, dtype=torch.float16, device=device)

    def layer():
        products = linear(3 * hidden, hidden), linear(hidden, hidden), linear(4 * hidden, hidden), linear(hidden, 4 * hidden)
        return (norm(), norm(), *products)

    return SimpleNamespace(
        size=size, heads=heads, hidden=hidden, words=random(VOCAB, hidden), places=random(POSITIONS, hidden),
        layers=[layer() for _ in range(layers)], norm=norm(),
    )  # fmt: skip


def normed(x, norm):
    return functional.layer_norm(x, (x.shape[-1],), *norm)


def with_bias(x, weight, bias):
    return functional.linear(x, weight, bias)


def plus_bias(x, weight, bias):
    """As inductor likes it: a product with one row becomes a sum of its own, and the bias part of it."""
    return x @ weight.t() + bias


def one_token(linear, heads, x, layer, keys, values, position, mask):
    """A layer, one new token a row: x (batch, hidden), keys and values (batch, heads, slots, head)."""
    first, second, qkv, out, fc1, fc2 = layer
    batch, hidden = x.shape
    q, k, v = linear(normed(x, first), *qkv).view(batch, 3, heads, 1, hidden // heads).unbind(1)
    keys.index_copy_(2, position, k)
    values.index_copy_(2, position, v)
    mixed = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
    x = x + linear(mixed.reshape(batch, hidden), *out)
    return x + linear(torch.relu(linear(normed(x, second), *fc1)), *fc2)


class Loop:
    """Greedy decoding of `batch` answers with everything in its place: a step reads ids and position, and leaves the next ones there."""

    def __init__(self, weights, batch, slots, layer, masked):
        self.weights, self.layer, self.masked = weights, layer, masked
        self.cache = random(len(weights.layers), 2, batch, weights.heads, slots, weights.hidden // weights.heads)
        self.ids = random_ids(batch)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.slots = torch.arange(slots, device=device)

    def step(self):
        weights = self.weights
        x = weights.words[self.ids] + weights.places[self.position + 2]
        # As good as minus infinity, which times zero is no number.
        mask = ((self.slots > self.position).half() * -6e4).expand(len(x), weights.heads, 1, -1) if self.masked else None
        for layer, (keys, values) in zip(weights.layers, self.cache, strict=True):
            x = self.layer(x, layer, keys, values, self.position, mask)
        logits = functional.linear(normed(x, weights.norm), weights.words)
        self.ids.copy_(logits.argmax(-1))
        self.position.add_(1)
        return logits


def read_prompt(weights, ids):
    """The logits behind the last token of one prompt, its keys and values kept in nothing: the fewest bytes there can be."""
    tokens, heads, hidden = len(ids), weights.heads, weights.hidden
    x = weights.words[ids] + weights.places[2 : 2 + tokens]
    for first, second, qkv, out, fc1, fc2 in weights.layers:
        q, k, v = with_bias(normed(x, first), *qkv).view(1, tokens, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + with_bias(mixed.transpose(1, 2).reshape(tokens, hidden), *out)
        x = x + with_bias(torch.relu_(with_bias(normed(x, second), *fc1)), *fc2)
    return functional.linear(normed(x[-1:], weights.norm), weights.words)


def captured(asked, step):
    """Replays the step, which is one CUDA graph."""
    if asked.device == "cpu":
        return step
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        step()
    return recorded.replay


def decode_loop(asked, weights, batch, layer, masked, copy):
    # Not masked, attention reads as many slots as it would on average.
    slots = asked.context + (asked.new if masked else asked.new // 2)
    loop = Loop(weights, batch, slots + -slots % 8, layer, masked)
    last = len(loop.slots) - 1

    def prepare():
        loop.position.fill_(asked.context if masked else last)

    def step():
        loop.step()
        if not masked:
            loop.position.fill_(last)

    prepare()
    replay = captured(asked, step)
    return decoded(asked, batch, replay, prepare, copy)


def graph(asked):
    copy, weights = statistics.median(copy_rates(asked)), weights_of(asked.size)
    layer = lambda *given: one_token(with_bias, weights.heads, *given)  # noqa: E731
    for batch in map(int, asked.batch.split(",")):
        row(asked, "pytorch-graph", lambda batch=batch: decode_loop(asked, weights, batch, layer, True, copy))
        row(asked, "pytorch-graph-unmasked", lambda batch=batch: decode_loop(asked, weights, batch, layer, False, copy))
    ids = random_ids(asked.prefill)
    row(asked, "pytorch", lambda: prefilled(asked, lambda: read_prompt(weights, ids)))


def compiled(asked):
    import torch._inductor.config as inductor

    # https://github.com/meta-pytorch/gpt-fast: without it, products with one row do not reach the memory's bandwidth.
    inductor.coordinate_descent_tuning = True
    copy, weights = statistics.median(copy_rates(asked)), weights_of(asked.size)
    for batch in map(int, asked.batch.split(",")):
        # One layer is compiled, and serves as all.
        layer = torch.compile(lambda *given: one_token(plus_bias, weights.heads, *given), fullgraph=True, dynamic=False)
        row(asked, "pytorch-compiled", lambda batch=batch, layer=layer: decode_loop(asked, weights, batch, layer, True, copy))


# OPT as transformers has it


def model_of(size):
    from transformers import OPTConfig, OPTForCausalLM

    layers, hidden, heads = SIZES[size]
    config = OPTConfig(
        vocab_size=VOCAB, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, ffn_dim=4 * hidden,
        word_embed_proj_dim=hidden, max_position_embeddings=POSITIONS - 2,
    )  # fmt: skip
    torch.set_default_dtype(torch.float16)
    with device:
        model = OPTForCausalLM(config).eval()
    torch.set_default_dtype(torch.float32)
    return model


def static_loop(asked, model, batch, forward):
    """One step of transformers with its static cache, and how to begin again."""
    from transformers import StaticCache

    slots = asked.context + asked.new
    cache = StaticCache(config=model.config, max_cache_len=slots)
    ids, position = random_ids(batch, 1), torch.full((batch, 1), asked.context, device=device)
    # Without these two it counts on the host how many tokens there are, which no graph can record.
    seen = torch.ones(batch, slots, dtype=torch.long, device=device)
    model(random_ids(batch, 8), past_key_values=cache, use_cache=True, logits_to_keep=1)

    def prepare():
        position.fill_(asked.context)
        for layer in cache.layers:
            layer.cumulative_length.fill_(asked.context)

    def step():
        logits = forward(
            ids, attention_mask=seen, position_ids=position, past_key_values=cache, use_cache=True, logits_to_keep=1
        ).logits
        ids.copy_(logits.argmax(-1))
        position.add_(1)

    prepare()
    return step, prepare


def static_decode(asked, model, batch, copy):
    step, prepare = static_loop(asked, model, batch, model)
    return decoded(asked, batch, captured(asked, step), prepare, copy)


def growing_decode(asked, model, batch, copy):
    state = SimpleNamespace()

    def prepare():
        state.ids = random_ids(batch, asked.context)
        state.cache = None
        step()

    def step():
        made = model(state.ids, past_key_values=state.cache, use_cache=True, logits_to_keep=1)
        state.ids, state.cache = made.logits.argmax(-1), made.past_key_values

    return decoded(asked, batch, step, prepare, copy)


def transformers(asked):
    copy, model = statistics.median(copy_rates(asked)), model_of(asked.size)
    ids = random_ids(1, asked.prefill)
    row(asked, "transformers-eager", lambda: prefilled(asked, lambda: model(ids, use_cache=True, logits_to_keep=1)))
    for batch in map(int, asked.batch.split(",")):
        row(asked, "transformers-graph", lambda batch=batch: static_decode(asked, model, batch, copy))
        row(asked, "transformers-eager", lambda batch=batch: growing_decode(asked, model, batch, copy))


def transformers_compiled(asked):
    copy, model = statistics.median(copy_rates(asked)), model_of(asked.size)
    forward = torch.compile(model.forward, mode="reduce-overhead")
    for batch in map(int, asked.batch.split(",")):
        row(asked, "transformers-compiled", lambda batch=batch: decoded(asked, batch, *static_loop(asked, model, batch, forward), copy))


if __name__ == "__main__":
    main()
