#!/usr/bin/env bash
# How fast the engine runs on this machine, beside what its memory allows. Prints a table for BENCHMARKS.md.
#   engine.sh [SIZE…]   sizes of OPT, by default 125m and 1.3b; random weights in their true shapes are made in target/bench
# SLUICE_BIN names the program to measure (default: the release build, made if it is missing).
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

need_venv bench deploy/bench/requirements.txt
PYTHON=$TOOLS/bench/bin/python
SLUICE_BIN=${SLUICE_BIN:-$TARGET/release/sluice}
if [ ! -x "$SLUICE_BIN" ]; then
    need_rust
    step "Building for speed"
    SQLX_OFFLINE=true cargo build --release --package server --bin sluice
fi

# Without it, whatever else runs takes a core away in the middle of a step.
first=()
chrt -f 10 true 2>/dev/null && first=(chrt -f 10)

# measure SIZE ZEROS ARGUMENTS…: makes the weights unless they are there, and measures.
measure() {
    local size=$1 zeros=$2 folder=$TARGET/bench/opt-$1-zeros-$2
    shift 2
    if [ ! -f "$folder/model.safetensors" ]; then
        step "Making random weights of OPT $size, $zeros of fc2's input zero"
        "$PYTHON" deploy/bench/opt_checkpoint.py "$size" "$folder" --zeros "$zeros"
    fi
    step "Measuring OPT $size, $zeros of fc2's input zero"
    "${first[@]}" "$SLUICE_BIN" bench "$folder" --json "$@"
}

[ $# -gt 0 ] || set -- 125m 1.3b
{
    for size in "$@"; do
        measure "$size" 0.5 --precision exact,bf16,int8,int4 --cache "$TARGET/bench/packed"
        measure "$size" 0.9 --precision exact,bf16,int8,int4 --batch 1 --prefill 0
    done
} | "$PYTHON" deploy/bench/table.py
