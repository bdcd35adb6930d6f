#!/usr/bin/env bash
# fuzz.sh [SECONDS [TARGET…]]: runs the fuzz targets of inference/fuzz one after the other, so many seconds each (120), and stops at the
# first finding. libFuzzer with the stable compiler: the flags are those of cargo-fuzz without a sanitizer, with which safe code can do.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
have c++ || { is_root && can_apt && debian g++; } || fail "A C++ compiler is missing, for libFuzzer: sudo apt-get install g++"

SECONDS_EACH=${1:-120}
TARGETS=("${@:2}")
[ ${#TARGETS[@]} -gt 0 ] || mapfile -t TARGETS < <(basename -s .rs inference/fuzz/fuzz_targets/*.rs)
HOST=$(rustc -vV | sed -n 's/^host: //p')
# Inputs found on the way stay beside the build; what is worth keeping goes to the corpus by hand (CONTRIBUTING.md).
FOUND=$TARGET/fuzz/found
ARTIFACTS=$ROOT/inference/fuzz/artifacts

step "Building the fuzz targets"
# With --target, so that the flags are for what runs, and not for build scripts.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo build --manifest-path inference/fuzz/Cargo.toml --target-dir "$TARGET/fuzz" --target "$HOST" --release --bins

# Files of the targets go where writing costs nothing, and are gone however the fuzzer ends.
scratch=$(mktemp -d "$([ -w /dev/shm ] && echo /dev/shm || echo /tmp)/sluice-fuzz-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# Asking for more than 4 GiB of addresses is asking for too much; holding 1 GiB is holding too much.
ulimit -v $((4 << 20))

for target in "${TARGETS[@]}"; do
    step "Fuzzing $target for $SECONDS_EACH s"
    mkdir -p "$FOUND/$target" "$ARTIFACTS/$target"
    TMPDIR=$scratch "$TARGET/fuzz/$HOST/release/$target" "$FOUND/$target" "inference/fuzz/corpus/$target" \
        -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=1024 -max_len=16384 -print_final_stats=1 \
        -artifact_prefix="$ARTIFACTS/$target/" > "$scratch/log" 2>&1 || {
        tail -n 60 "$scratch/log" >&2
        fail "$target has a finding; the input is in ${ARTIFACTS#"$ROOT"/}/$target. Mend it, and keep the input in inference/fuzz/corpus/$target"
    }
    grep -E 'DONE|number_of_executed_units|peak_rss_mb' "$scratch/log" >&2 || true
done
