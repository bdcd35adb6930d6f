"""One peer in one precision, measured as `sluice bench` measures itself: python measure.py PEER PRECISION FOLDER [options]

PEER names a file beside this one, which gives `load(folder, precision, work)`, whose result takes a list of prompts (lists of ids)
and a number of tokens, and makes as many for each, greedily and past any end; and, where it reads a form of its own,
`convert(folder, precision, work)`, which is called in a process of its own, so that it counts neither as loading nor as memory. Prints JSON rows like those of
`sluice bench --json`, without what a peer cannot tell.
"""

import argparse
import importlib
import json
import os
import random
import resource
import statistics
import time
from pathlib import Path

VOCAB = 50_000
THREADS = 2


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer")
    parser.add_argument("precision")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="where converted models are kept")
    parser.add_argument("--batch", default="1,8,32")
    parser.add_argument("--prompt", type=int, default=32)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--convert", action="store_true", help="only bring the model into the peer's own form")
    asked = parser.parse_args()
    # Some peers talk on standard output; that is for the rows alone.
    rows = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    peer = importlib.import_module(asked.peer)
    if asked.convert:
        return getattr(peer, "convert", lambda *_: None)(asked.folder, asked.precision, asked.work)
    begun = time.perf_counter()
    generate = peer.load(asked.folder, asked.precision, asked.work)
    load_s = time.perf_counter() - begun
    random.seed(1)
    prefill = rate(generate, 1, asked.prefill, 1, asked.repeat) if asked.prefill else None
    for batch in map(int, asked.batch.split(",")):
        speeds = decode(generate, batch, asked.prompt, asked.new, asked.repeat)
        row = {
            "engine": asked.peer.removeprefix("with_"), "model": str(asked.folder), "precision": asked.precision, "batch": batch,
            "decode_tokens_per_s": statistics.median(speeds), "decode_min": min(speeds), "decode_max": max(speeds),
            "prefill_tokens_per_s": prefill and statistics.median(prefill),
            "load_s": load_s, "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + children(),
        }  # fmt: skip
        print(json.dumps(row), file=rows, flush=True)


def children():
    """The largest of the processes it has started and ended: vLLM computes in one of its own."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def seconds(generate, batch, prompt, new):
    prompts = [[random.randrange(4, VOCAB) for _ in range(prompt)] for _ in range(batch)]
    begun = time.perf_counter()
    made = generate(prompts, new)
    took = time.perf_counter() - begun
    lengths = [len(ids) for ids in made]
    assert lengths == [new] * batch, f"asked for {batch} times {new} tokens, got {lengths}"
    return took


def rate(generate, batch, prompt, new, repeat):
    """Prompt tokens per second up to the first token of the answer."""
    seconds(generate, batch, prompt, new)
    return [batch * prompt / seconds(generate, batch, prompt, new) for _ in range(repeat)]


def decode(generate, batch, prompt, new, repeat):
    """Tokens per second, the reading of the prompts taken off."""
    seconds(generate, batch, prompt, new)
    return [
        batch * (new - 1) / (-seconds(generate, batch, prompt, 1) + seconds(generate, batch, prompt, new)) for _ in range(repeat)
    ]


if __name__ == "__main__":
    main()
