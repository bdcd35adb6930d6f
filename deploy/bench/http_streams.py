"""What a reader of streams sees: python http_streams.py PORTAL TOKENS [--repeat N]; python http_streams.py --table HTTP ENGINE

`curl` reads, so that the reader takes as little of the processors as can be. TOKENS: a file of access tokens, one for each stream.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODEL, PROMPT, NEW = "bench/opt-125m", 32, 64


def ask(portal, token, new, extra=()):
    body = json.dumps({
        "model": MODEL, "prompt": [random.randrange(4, 50_000) for _ in range(PROMPT)], "max_tokens": new, "temperature": 0,
        "stream": True, "ignore_eos": True,
    })  # fmt: skip
    headers = ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    return subprocess.Popen(["curl", "-sSfN", *headers, "-d", body, *extra, f"{portal}/v1/completions"], stdout=subprocess.PIPE)


def first_token_s(portal, token):
    """Until the first byte of the answer's body, which is the first token's event; curl's own clock, its start left out."""
    process = ask(portal, token, 2, ["-o", "/dev/null", "-w", "%{time_starttransfer} %{time_pretransfer}"])
    first, sent = map(float, process.communicate()[0].split())
    assert process.returncode == 0
    return first - sent


def all_s(portal, tokens, new):
    begun = time.perf_counter()
    processes = [ask(portal, token, new, ["-o", "/dev/null"]) for token in tokens]
    assert [process.wait() for process in processes] == [0] * len(processes)
    return time.perf_counter() - begun


def measure(portal, tokens, repeat):
    random.seed(1)
    all_s(portal, tokens, 2)
    first = [first_token_s(portal, tokens[0]) for _ in range(repeat)]
    rates = [len(tokens) * (NEW - 1) / (-all_s(portal, tokens, 1) + all_s(portal, tokens, NEW)) for _ in range(repeat)]
    print(json.dumps({"first_token_s": statistics.median(first), "tokens_per_s": statistics.median(rates), "streams": len(tokens)}))


def table(http, engine):
    http, engine = json.loads(http.read_text()), json.loads(engine.read_text())
    prefill_s = PROMPT / engine["prefill_tokens_per_s"]
    print("| OPT 125m, " + engine["precision"] + " | by HTTP | `sluice bench` | ratio |\n| --- | --- | --- | --- |")
    first = http["first_token_s"]
    print(f"| first token of a prompt of {PROMPT} | {1e3 * first:.1f} ms | {1e3 * prefill_s:.1f} ms | {first / prefill_s:.2f} |")
    rate, alone = http["tokens_per_s"], engine["decode_tokens_per_s"]
    print(f"| {http['streams']} streams at once | {rate:.0f} tokens/s | {alone:.0f} tokens/s | {rate / alone:.2f} |")


def main():
    if sys.argv[1:2] == ["--table"]:
        return table(Path(sys.argv[2]), Path(sys.argv[3]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("portal")
    parser.add_argument("tokens", type=Path)
    parser.add_argument("--repeat", type=int, default=20)
    asked = parser.parse_args()
    measure(asked.portal, asked.tokens.read_text().split(), asked.repeat)


if __name__ == "__main__":
    main()
