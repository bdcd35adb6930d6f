#!/usr/bin/env bash
# How fast the engine runs on this machine's card, beside what the card allows and beside PyTorch. Prints tables for BENCHMARKS.md.
#   SLUICE=… PARTS="ceilings 1.3b 6.7b 13b load peers" bash deploy/bench/cuda.sh
# Needs no Rust and no network: SLUICE is a program built elsewhere, PYTHON (python3) has numpy and, for ceilings and peers, torch and transformers.
# Parts run in the order they are named: a size of OPT (its table), load (that of 13b from memory), ceilings, peers, peers-compiled (minutes more).
# The weights are random, in a folder in memory, WEIGHTS; only one size is there at a time. Each row ends after ROW_S seconds, all
# of it after BUDGET_S. OUT keeps cuda.jsonl, one row a measurement, and cuda.log. DRY=1 tells what would be run.
# The card is measured as it is found: no setting of it is touched.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"

SLUICE=${SLUICE:-$TARGET/release/sluice} PYTHON=${PYTHON:-python3} DEVICE=${DEVICE:-cuda}
WEIGHTS=${WEIGHTS:-/dev/shm/opt} OUT=${OUT:-$TARGET/bench}
PARTS=${PARTS:-ceilings 1.3b 6.7b 13b load peers}
ROW_S=${ROW_S:-60} BUDGET_S=${BUDGET_S:-540} REPEAT=${REPEAT:-5} PEER_SIZE=${PEER_SIZE:-6.7b}
# The longest prompt that OPT reads and answers.
PREFILL=2047
HELD='' MISSING=''
# Where a dry run is told, whatever its commands' own output goes to.
exec 3>&2

# limited SECONDS COMMAND…: gives it up after so long, or when the budget is spent.
limited() {
    local limit=$1 left=$((BUDGET_S - SECONDS))
    shift
    [ "$limit" -lt "$left" ] || limit=$left
    [ "$limit" -gt 0 ] || { step "No time left for: $*"; return 1; }
    if [ -n "${DRY:-}" ]; then echo "timeout $limit $*" >&3; return; fi
    timeout --kill-after=5 "$limit" "$@"
}

# row SIZE ZEROS PRECISION ARGUMENTS…: its rows go to cuda.jsonl as they come; one that fails does not stop the next.
row() {
    local size=$1 zeros=$2 precision=$3 begun=$SECONDS
    shift 3
    need_weights "$size" "$zeros" || return 0
    local command=("$SLUICE" bench "$HELD" --device "$DEVICE" --json --repeat "$REPEAT" --precision "$precision" "$@")
    if limited "$ROW_S" "${command[@]}" >> "$OUT/cuda.jsonl" 2>> "$OUT/cuda.log"; then
        step "$size, $zeros zero, $precision, $*: $((SECONDS - begun)) s"
    else
        step "$size, $zeros zero, $precision, $* broke off after $((SECONDS - begun)) s"
        echo "{\"failed\": \"opt-$size-zeros-$zeros $precision $*\"}" >> "$OUT/cuda.jsonl"
        tail -n 5 "$OUT/cuda.log" >&2
    fi
}

# need_weights SIZE ZEROS: random weights of OPT, that share of fc2's input zero, in the folder HELD; others make room for them.
need_weights() {
    local wanted=$WEIGHTS/opt-$1-zeros-$2 options=()
    [ "$HELD" != "$wanted" ] || return 0
    [ "$MISSING" != "$1" ] || return 1
    if [[ $HELD = "$WEIGHTS/opt-$1-zeros-"* ]]; then
        # Of the same size: only fc1's biases are other ones.
        options=(--biases)
        [ -n "${DRY:-}" ] || mv "$HELD" "$wanted"
    else
        rm -rf "${WEIGHTS:?}"/opt-*
    fi
    HELD=
    limited 120 "$PYTHON" deploy/bench/opt_checkpoint.py "$1" "$wanted" --zeros "$2" --shards 16 "${options[@]}" || {
        step "No weights of OPT $1: is there room? $(df -h --output=size,avail "$WEIGHTS" | tail -n 1)"
        rm -rf "${WEIGHTS:?}"/opt-*
        MISSING=$1
        return 1
    }
    HELD=$wanted
}

# The table of a size: one answer in each precision, reading a long prompt; 64 answers behind 512 tokens where they fit beside the weights; and the same
# with nine of ten inputs of fc2 zero.
measure() {
    local size=$1 precision
    for precision in exact int8 int4; do
        row "$size" 0.5 "$precision" --batch 1 --prompt 32 --new 128 --prefill "$PREFILL"
    done
    [ "$size" != 6.7b ] || for precision in exact int8 int4; do
        row "$size" 0.5 "$precision" --batch 1,64 --prompt 512 --new 64 --prefill 0
    done
    for precision in exact int8 int4; do
        row "$size" 0.9 "$precision" --batch 1 --prompt 32 --new 128 --prefill 0
    done
}

# Twice: the first load may find a cold driver.
load() {
    local zeros=${HELD##*-zeros-} turn
    for turn in 1 2; do
        step "Loading 13b, turn $turn"
        REPEAT=1 row 13b "${zeros:-0.5}" exact --batch 1 --prompt 8 --new 2 --prefill 0
    done
}

# peers ARGUMENTS…: what cuda_peers.py finds, which gives up its own sections.
peers() {
    local command=("$PYTHON" deploy/bench/cuda_peers.py --device "$DEVICE" --size "$PEER_SIZE" --prefill "$PREFILL" "$@")
    limited 500 "${command[@]}" >> "$OUT/cuda.jsonl" 2>> "$OUT/cuda.log" || step "$* broke off"
}

mkdir -p "$OUT" "$WEIGHTS"
: > "$OUT/cuda.jsonl"
: > "$OUT/cuda.log"
trap 'rm -rf "${WEIGHTS:?}"/opt-*' EXIT
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv >&2 || step "There is no nvidia-smi"
for part in $PARTS; do
    step "$part, after $SECONDS s"
    case $part in
    ceilings) peers --sections ceilings ;;
    peers) peers --sections graph,transformers ;;
    peers-compiled) peers --sections compiled,transformers-compiled ;;
    load) load ;;
    *) measure "$part" ;;
    esac
done
step "All of it took $SECONDS s"
"$PYTHON" deploy/bench/cuda_table.py < "$OUT/cuda.jsonl"
