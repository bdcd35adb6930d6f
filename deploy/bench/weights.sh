# shellcheck shell=bash
# What every measurement of the engine needs. Sourced after install.sh.

need_venv bench deploy/bench/requirements.txt
PYTHON=$TOOLS/bench/bin/python
need_release
. deploy/bench/first.sh

# need_weights SIZE ZEROS: random weights of OPT, that share of fc2's input zero, in the folder WEIGHTS.
need_weights() {
    WEIGHTS=$TARGET/bench/opt-$1-zeros-$2
    [ -f "$WEIGHTS/model.safetensors" ] && return
    step "Making random weights of OPT $1, $2 of fc2's input zero"
    "$PYTHON" deploy/bench/opt_checkpoint.py "$1" "$WEIGHTS" --zeros "$2"
}
