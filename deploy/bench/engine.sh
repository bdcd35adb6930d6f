#!/usr/bin/env bash
# How fast the engine runs on this machine, beside what its memory allows. Prints a table for BENCHMARKS.md.
#   engine.sh [SIZE…]   sizes of OPT, by default 125m and 1.3b; random weights in their true shapes are made in target/bench
# The demo model, which was trained, tells what a precision costs in quality: random weights have no perplexity worth the name.
# SLUICE_BIN names the program to measure (default: the release build, made anew if it is old).
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

. deploy/bench/weights.sh

# measure SIZE ZEROS ARGUMENTS…
measure() {
    local size=$1 zeros=$2
    shift 2
    need_weights "$size" "$zeros"
    step "Measuring OPT $size, $zeros of fc2's input zero"
    "${FIRST[@]}" "$SLUICE_BIN" bench "$WEIGHTS" --json "$@"
}

[ $# -gt 0 ] || set -- 125m 1.3b
DEMO=deploy/demo/opt-verse-6m
{
    "${FIRST[@]}" "$SLUICE_BIN" bench "$DEMO" --json --precision exact,bf16,int8,int4 --batch 1,8 --prefill 256 --perplexity "$DEMO/valid.txt"
    for size in "$@"; do
        measure "$size" 0.5 --precision exact,bf16,int8,int4 --cache "$TARGET/bench/packed"
        measure "$size" 0.9 --precision exact,bf16,int8,int4 --batch 1 --prefill 0
    done
} | "$PYTHON" deploy/bench/table.py
