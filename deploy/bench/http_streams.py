"""What a reader of streams sees: python http_streams.py PORTAL TOKENS [--repeat N]; python http_streams.py --table HTTP ENGINE, of whose
lines each is a round

One program reads all streams, so that the readers take as little of the processors as can be. TOKENS: a file of access tokens, one for each stream.
"""

import argparse
import json
import random
import selectors
import socket
import statistics
import sys
import time
from pathlib import Path

MODEL, PROMPT, NEW = "bench/opt-125m", 32, 64
WARM_UP = 10


def send(portal, token, new):
    """A connection on which an answer comes as it is made, and when it was asked for."""
    prompt = [random.randrange(4, 50_000) for _ in range(PROMPT)]
    content = json.dumps({"model": MODEL, "prompt": prompt, "max_tokens": new, "temperature": 0, "stream": True, "ignore_eos": True})
    host, port = portal.removeprefix("http://").split(":")
    lines = ["POST /v1/completions HTTP/1.1", f"Host: {host}", f"Authorization: Bearer {token}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(content)}", "Connection: close", "", content]
    connection = socket.create_connection((host, int(port)))
    begun = time.perf_counter()
    connection.sendall("\r\n".join(lines).encode())
    return connection, begun


def first_token_s(portal, token):
    """From sending the request to the first token's event."""
    connection, begun = send(portal, token, 4)
    with connection:
        came = b""
        while b"data: {" not in came:
            piece = connection.recv(1 << 16)
            assert piece, came
            came += piece
        took = time.perf_counter() - begun
        while connection.recv(1 << 16):
            pass
    return took


def tokens_per_s(portal, tokens):
    """Of all streams together, from when the last has begun until the first has made its last token. (One that ends inside a character comes with the
    next, and is not counted.)"""
    came = [[] for _ in tokens]
    with selectors.DefaultSelector() as open_ones:
        for token, times in zip(tokens, came):
            open_ones.register(send(portal, token, NEW)[0], selectors.EVENT_READ, times)
        while open_ones.get_map():
            for key, _ in open_ones.select():
                piece = key.fileobj.recv(1 << 16)
                key.data.extend([time.perf_counter()] * piece.count(b'"finish_reason":null'))
                if not piece:
                    open_ones.unregister(key.fileobj)
                    key.fileobj.close()
    assert all(NEW * 0.9 < len(times) <= NEW for times in came), [len(times) for times in came]
    begin, end = max(times[0] for times in came), min(times[-1] for times in came)
    return sum(begin < when <= end for times in came for when in times) / (end - begin)


def measure(portal, tokens, repeat):
    random.seed(1)
    # The model is loaded, and every connection to the database has seen every question.
    for _ in range(WARM_UP):
        first_token_s(portal, tokens[0])
        tokens_per_s(portal, tokens)
    first = [first_token_s(portal, tokens[0]) for _ in range(repeat)]
    rates = [tokens_per_s(portal, tokens) for _ in range(repeat)]
    print(json.dumps({"first_token_s": statistics.median(first), "tokens_per_s": statistics.median(rates), "streams": len(tokens)}))


def median(rounds, name):
    return statistics.median(measured[name] for measured in rounds)


def table(portal, engine):
    portal, engine = ([json.loads(line) for line in path.read_text().splitlines()] for path in (portal, engine))
    print("| OPT 125m, " + engine[0]["precision"] + " | by HTTP | `sluice bench` | ratio |\n| --- | --- | --- | --- |")
    first, prefill_s = median(portal, "first_token_s"), PROMPT / median(engine, "prefill_tokens_per_s")
    print(f"| first token of a prompt of {PROMPT} | {1e3 * first:.1f} ms | {1e3 * prefill_s:.1f} ms | {first / prefill_s:.2f} |")
    rate, alone = median(portal, "tokens_per_s"), median(engine, "decode_tokens_per_s")
    print(f"| {portal[0]['streams']} streams at once | {rate:.0f} tokens/s | {alone:.0f} tokens/s | {rate / alone:.2f} |")


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
