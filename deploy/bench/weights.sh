# shellcheck shell=bash
# What every measurement of the engine needs. Sourced after install.sh.

need_venv bench deploy/bench/requirements.txt
PYTHON=$TOOLS/bench/bin/python
need_release

# Put before a command: without it, whatever else runs takes a core away in the middle of a step. (Not `chrt -f`: the kernel stops what
# runs by that for 50 ms of each second.)
FIRST=()
# shellcheck disable=SC2034
[ "$(nice -n -20 nice 2>/dev/null)" = -20 ] && FIRST=(nice -n -20)

# need_weights SIZE ZEROS: random weights of OPT, that share of fc2's input zero, in the folder WEIGHTS.
need_weights() {
    WEIGHTS=$TARGET/bench/opt-$1-zeros-$2
    [ -f "$WEIGHTS/model.safetensors" ] && return
    step "Making random weights of OPT $1, $2 of fc2's input zero"
    "$PYTHON" deploy/bench/opt_checkpoint.py "$1" "$WEIGHTS" --zeros "$2"
}
