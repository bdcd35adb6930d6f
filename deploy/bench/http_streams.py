"""What a reader of streams sees: python http_streams.py PORTAL TOKENS [--repeat N]; python http_streams.py --table HTTP ENGINE

`curl` reads when there are several, so that the readers take as little of the processors as can be. TOKENS: a file of access tokens, one for each stream.
"""

import argparse
import http.client
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

MODEL, PROMPT, NEW = "bench/opt-125m", 32, 64


def body(new):
    prompt = [random.randrange(4, 50_000) for _ in range(PROMPT)]
    ask = {"model": MODEL, "prompt": prompt, "max_tokens": new, "temperature": 0, "stream": True, "ignore_eos": True}
    return json.dumps(ask)


def first_token_s(portal, token):
    """From sending the request to the line of the first token's event."""
    connection = http.client.HTTPConnection(portal.removeprefix("http://"))
    connection.connect()
    begun = time.perf_counter()
    connection.request("POST", "/v1/completions", body(4), {"Authorization": f"Bearer {token}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    line = answer.readline()
    took = time.perf_counter() - begun
    assert line.startswith(b"data: {"), line
    answer.read()
    connection.close()
    return took


def ask(portal, token, new):
    headers = ["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"]
    return subprocess.Popen(["curl", "-sSfN", "-o", "/dev/null", *headers, "-d", body(new), f"{portal}/v1/completions"])


def all_s(portal, tokens, new):
    begun = time.perf_counter()
    processes = [ask(portal, token, new) for token in tokens]
    assert [process.wait() for process in processes] == [0] * len(processes)
    return time.perf_counter() - begun


def measure(portal, tokens, repeat):
    random.seed(1)
    all_s(portal, tokens, 2)
    first = [first_token_s(portal, tokens[0]) for _ in range(repeat)]
    rates = [len(tokens) * (NEW - 1) / (-all_s(portal, tokens, 1) + all_s(portal, tokens, NEW)) for _ in range(repeat)]
    print(json.dumps({"first_token_s": statistics.median(first), "tokens_per_s": statistics.median(rates), "streams": len(tokens)}))


def table(portal, engine):
    portal, engine = json.loads(portal.read_text()), json.loads(engine.read_text())
    prefill_s = PROMPT / engine["prefill_tokens_per_s"]
    print("| OPT 125m, " + engine["precision"] + " | by HTTP | `sluice bench` | ratio |\n| --- | --- | --- | --- |")
    first = portal["first_token_s"]
    print(f"| first token of a prompt of {PROMPT} | {1e3 * first:.1f} ms | {1e3 * prefill_s:.1f} ms | {first / prefill_s:.2f} |")
    rate, alone = portal["tokens_per_s"], engine["decode_tokens_per_s"]
    print(f"| {portal['streams']} streams at once | {rate:.0f} tokens/s | {alone:.0f} tokens/s | {rate / alone:.2f} |")


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
