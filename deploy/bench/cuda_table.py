"""Rows of cuda.sh (`sluice bench --json`, and those of cuda_peers.py) on standard input, as tables in Markdown on standard output.

Shares are of what cuda_peers.py measured on the same card: a copy's bandwidth, and the rate of a product of 8192³ in fp16. A step reads its weights, and
keys and values at two bytes each; the second share counts both. `load` is the checkpoint's bytes over the seconds of loading.
"""

import json
import re
import sys

from cuda_peers import GB, operations, step_bytes

CEILINGS = ("copy", "read", "matrix fp16", "pinned host to device")


def main():
    rows, ceilings = [], {}
    for text in sys.stdin:
        row = json.loads(text)
        if row.get("section") == "ceilings" and "value" in row:
            ceilings[row["name"]] = row["value"], row["unit"]
        else:
            rows.append(row)
    for name in CEILINGS:
        if name in ceilings:
            print("* {}: {:.1f} {}".format(name, *ceilings[name]))
    print()
    line(COLUMNS)
    line("---" for _ in COLUMNS)
    for row in rows:
        if "failed" in row or "card" in row:
            continue
        line(column(described(row), {name: value for name, (value, _) in ceilings.items()}) for column in COLUMNS.values())
    for row in rows:
        if "failed" in row:
            print(f"\nnot measured: {json.dumps(row)}")


def described(row):
    """A row of the engine or of a peer, with the same words in both."""
    if "section" in row:
        return row | {"engine": row["name"], "zeros": 0.5, "precision": "fp16"}
    size, zeros = re.fullmatch(r".*opt-(.+)-zeros-([0-9.]+)", row["model"]).groups()
    return row | {"engine": "Sluice", "size": size, "zeros": float(zeros), "context": row["prompt_tokens"], "new": row["new_tokens"]}


def decoding(row):
    """A row that only loads makes two tokens, for want of fewer."""
    return "decode_tokens_per_s" in row and row["new"] > 2


def tokens(row, _):
    if not decoding(row):
        return ""
    return f"{row['decode_tokens_per_s']:.1f} ({row['decode_min']:.1f} to {row['decode_max']:.1f})"


def bandwidth(row, ceilings):
    if not decoding(row):
        return ""
    weights, cached = step_bytes(row["size"], row["batch"], row["context"] + row["new"] / 2)
    weights = row.get("step_bytes", weights)
    steps = row["decode_tokens_per_s"] / row["batch"]
    text = f"{steps * weights / GB:.0f} GB/s"
    if "copy" not in ceilings:
        return text
    return text + f" ({share(steps * weights / GB, ceilings['copy'])}, {share(steps * (weights + cached) / GB, ceilings['copy'])})"


def own_share(row, _):
    return f"{100 * row['bandwidth_share']:.0f} %" if decoding(row) and row.get("bandwidth_share") else ""


def prefill(row, ceilings):
    rate = row.get("prefill_tokens_per_s")
    if not rate:
        return ""
    flops = rate * operations(row["size"], row["prefill_tokens"]) / row["prefill_tokens"] / 1e12
    of = f", {share(flops, ceilings['matrix fp16'])}" if "matrix fp16" in ceilings else ""
    return f"{rate:.0f} ({1e3 * row['prefill_tokens'] / rate:.1f} ms, {flops:.0f} TFLOP/s{of})"


def load(row, ceilings):
    if not row.get("load_s"):
        return ""
    rate = step_bytes(row["size"], 0, 0)[0] / row["load_s"] / GB
    of = f", {share(rate, ceilings['pinned host to device'])}" if "pinned host to device" in ceilings else ""
    return f"{row['load_s']:.2f} s ({rate:.1f} GB/s{of})"


def share(value, of):
    return f"{100 * value / of:.0f} %"


COLUMNS = {
    "engine": lambda row, _: row["engine"],
    "model": lambda row, _: row["size"] + (f", {100 * row['zeros']:.0f} % zeros" if row["zeros"] != 0.5 else ""),
    "precision": lambda row, _: row["precision"],
    "batch": lambda row, _: row.get("batch", ""),
    "context": lambda row, _: row.get("context", ""),
    "decode tokens/s (min to max)": tokens,
    "weights read (share of a copy; with keys and values)": bandwidth,
    "share as the engine has it": own_share,
    "prefill tokens/s (share of a product)": prefill,
    "load (share of pinned)": load,
}


def line(cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
