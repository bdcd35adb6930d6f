"""Rows of `sluice bench --json` on standard input, as a table in Markdown on standard output."""

import json
import sys
from pathlib import Path


def seconds(number):
    return "" if number is None else f"{number:.2f} s"


def share(row):
    """Others do not measure the memory's bandwidth; their speed stands beside ours."""
    if "bandwidth_share" not in row:
        return ""
    return f"{100 * row['bandwidth_share']:.0f} % of {row['read_bandwidth_bytes_per_s'] / 1e9:.1f} GB/s"


def memory(row):
    over = f" ({100 * row['peak_rss_bytes'] / row['weights_bytes'] - 100:+.0f} %)" if "weights_bytes" in row else ""
    return f"{row['peak_rss_bytes'] / 1e6:.0f} MB{over}"


def prefill(row):
    if not row["prefill_tokens_per_s"]:
        return ""
    share = row.get("prefill_share_of_peak")
    return f"{row['prefill_tokens_per_s']:.0f}" + (f" ({100 * share:.0f} % of peak)" if share else "")


def perplexity(row):
    if row.get("perplexity") is None:
        return ""
    return f"{row['perplexity']:.3f} ({100 * row['perplexity_to_exact']:+.3f} %)"


COLUMNS = {
    "engine": lambda row: row.get("engine", "Sluice"),
    "model": lambda row: Path(row["model"]).name,
    "precision": lambda row: row["precision"],
    "batch": lambda row: row["batch"],
    "decode tokens/s (min to max)": lambda row: f"{row['decode_tokens_per_s']:.1f} ({row['decode_min']:.1f} to {row['decode_max']:.1f})",
    "share of read bandwidth": share,
    "prefill tokens/s": prefill,
    "load": lambda row: seconds(row["load_s"]),
    "second load": lambda row: seconds(row.get("cached_load_s")),
    "memory at most": memory,
    "perplexity (to exact)": perplexity,
}


def line(cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


line(COLUMNS)
line("---" for _ in COLUMNS)
for text in sys.stdin:
    line(column(json.loads(text)) for column in COLUMNS.values())
