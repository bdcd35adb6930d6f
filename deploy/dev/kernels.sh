#!/usr/bin/env bash
# kernels.sh                    compiles the CUDA kernels that have changed into built/, unless one spills, and prints what each costs
# kernels.sh --check [RESULTS]  compiles them and compares with built/; where the compiler cannot be had, compares hashes and says so
# kernels.sh --table            what the built ones cost
# kernels.sh --sass NAME [ARCH] the machine code of NAME.cu as it is now, spilling or not, for sm_90a or ARCH
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

REQUIREMENTS=deploy/dev/requirements-kernels.txt

kernels() { "$TOOLS/kernels/bin/python" deploy/dev/kernels.py "$@"; }
need_compiler() { need_venv kernels "$REQUIREMENTS" nvidia-cuda-nvrtc-cu12; }

case ${1:-} in
"")
    need_compiler
    kernels build
    ;;
--install)
    need_compiler
    ;;
--check)
    # In a shell of its own, whose failure ends nothing but itself.
    if bash "$0" --install; then
        kernels check ${2:+--results "$2"}
    else
        printf '\n!! SKIPPED: the CUDA kernels are not compiled again, since %s cannot be installed; only their hashes are compared\n' \
            "$(grep -o '^nvidia-cuda-nvrtc.*' "$REQUIREMENTS")" >&2
        [ -z "${2:-}" ] || echo '<testsuite><testcase classname="kernels" name="compiled again"><skipped/></testcase></testsuite>' > "$2"
        python3 deploy/dev/kernels.py quick
    fi
    ;;
--table)
    need_python
    python3 deploy/dev/kernels.py table
    ;;
--sass)
    [ -n "${2:-}" ] || fail "kernels.sh --sass NAME [sm_80|sm_89|sm_90a]"
    need_compiler
    need_venv kernels "$REQUIREMENTS" nvidia-cuda-nvdisasm
    mkdir -p "$TARGET/kernels"
    FILE=$TARGET/kernels/$2.cubin
    kernels one "${@:2}" > "$FILE"
    "$(find "$TOOLS/kernels" -type f -name nvdisasm)" --print-code "$FILE"
    ;;
*)
    fail "kernels.sh knows --check, --table and --sass, and not $1"
    ;;
esac
