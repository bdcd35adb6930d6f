#!/usr/bin/env bash
# Publishing and downloading 4 GiB, beside what the machine does without us. Prints tables for BENCHMARKS.md.
# distribution.sh [digests] [publish] [redirects] [slow] [serve] [pull]: only these parts. SLUICE_BIN names the program to measure.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh
. deploy/bench/first.sh

need_python
need_postgres
have curl || fail "This measurement needs curl: install it as your system does"

need_release

# On a disk, not in memory: where the working tree is.
WORK=$(mktemp -d "$TARGET/distribution-XXXXXX")
chmod 711 "$WORK"
PIDS=()
finish() {
    local pid
    for pid in "${PIDS[@]}" ${BUCKET:+"$BUCKET"}; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$WORK"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# serve NAME: a portal on data of its own; leaves its process in PORTAL, its address in PORTAL_URL and the settings for commands.
serve() {
    local port
    port=$(free_port)
    export SLUICE_DATA_DIR=$WORK/$1 SLUICE_LISTEN=127.0.0.1:$port SLUICE_LOG=warn
    unset DATABASE_URL
    PORTAL_URL=http://127.0.0.1:$port
    "$SLUICE_BIN" serve >"$WORK/$1.log" 2>&1 &
    PORTAL=$!
    PIDS+=("$PORTAL")
    until curl -fs "$PORTAL_URL/readyz" >/dev/null; do
        kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/$1.log")"
        sleep 0.1
    done
}
end() { kill -9 "$1" && wait "$1" 2>/dev/null || true; }

# own_mib PID: memory that is its own or its children's, and no mapped file's.
own_mib() {
    local pid found kib=0
    for pid in "$1" $(pgrep -P "$1" || true); do
        # It may be gone by now.
        found=$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
        kib=$((kib + ${found:-0}))
    done
    echo $((kib / 1024))
}
# row NAME COMMAND…: how long it takes and what memory it has at most, in a row of the table.
row() {
    local name=$1 begun took command most=0 now
    shift
    sync
    begun=$(now_ms)
    "$@" >/dev/null 2>"$WORK/err" &
    command=$!
    while kill -0 "$command" 2>/dev/null; do
        now=$(own_mib "$command")
        [ "${now:-0}" -le "$most" ] || most=$now
        sleep 0.05
    done
    wait "$command" || fail "$name: $(cat "$WORK/err")"
    took=$(($(now_ms) - begun))
    printf '| %s | %s.%03d s | %s MB/s | %s MiB |\n' "$name" $((took / 1000)) $((took % 1000)) "$((SIZE / 1000 / took))" "$most"
}

make_model() {
    [ -d "$WORK/model" ] && return
    step "Making a model of 4 GiB"
    python3 deploy/bench/large_model.py "$WORK/model" --noise
    WEIGHTS=$WORK/model/model.safetensors
    SIZE=$(stat -c %s "$WEIGHTS")
    echo "$SIZE bytes, $(nproc) CPUs ($(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), page cache warm"
    echo
}

plain_copy() { cp --sparse=never "$WEIGHTS" "$WORK/copy" && sync "$WORK/copy" && rm "$WORK/copy"; }
# Four ways into the same store: through its S3 door, as we go; and past it, to the filer and to the volumes themselves.
by_aws() { AWS_CONFIG_FILE=$WORK/aws.ini "$TOOLS/bench/bin/aws" s3 cp --only-show-errors "$WEIGHTS" s3://weights/plain/model.safetensors; }
by_curl() { curl -fsS -T "$WEIGHTS" "http://127.0.0.1:$((S3_PORT + 3))/buckets/weights/plain/model.safetensors?maxMB=16"; }
by_weed_upload() { weed upload -master="127.0.0.1:$((S3_PORT + 1)).$((S3_PORT + 5))" -maxMB=16 "$WEIGHTS"; }
by_weed_copy() { weed filer.copy -maxMB=16 "$WEIGHTS" "http://127.0.0.1:$((S3_PORT + 3)).$((S3_PORT + 7))/buckets/weights/copied/"; }
# fresh_bucket NAME: a store with nothing in it, so that none pays for what another left.
fresh_bucket() {
    [ -z "${BUCKET:-}" ] || { kill -9 "$BUCKET" && wait "$BUCKET" 2>/dev/null || true; }
    rm -rf "${STORE:-$WORK/none}"
    STORE=$WORK/store-$1
    need_bucket "$STORE" "$S3_PORT"
}

publish() {
    make_model
    # Less than the weights have: what is measured is bringing them into the store, not loading them for the short generation.
    export SLUICE_ENGINE_MEMORY_BYTES=1000000000
    echo '| what | takes | | memory of its own, at most |'
    echo '|---|---|---|---|'
    local turn
    row 'the digests of its tensors (sluice digest)' "$SLUICE_BIN" digest "$WEIGHTS"
    # In turn, because a disk that still writes what was there before is slow for whoever comes next.
    for turn in 1 2 3; do
        row 'cp, and the disk waited for' plain_copy
        serve "folder-$turn"
        row 'sluice publish into a folder' "$SLUICE_BIN" publish "$WORK/model" bench/large --gate open
        [ "$turn" != 3 ] || row 'the same again, nothing to do' "$SLUICE_BIN" publish "$WORK/model" bench/large --gate open
        end "$PORTAL"
        rm -rf "$WORK/folder-$turn"
    done
    S3_PORT=11500
    need_venv bench deploy/bench/requirements.txt >&2
    printf '[default]\nregion = us-east-1\ns3 =\n  multipart_chunksize = 16MB\n' >"$WORK/aws.ini"
    for turn in 1 2; do
        fresh_bucket "aws-$turn"
        row 'aws s3 cp into SeaweedFS, 10 parts at once' by_aws
        fresh_bucket "sluice-$turn"
        serve "bucket-$turn"
        row 'sluice publish into SeaweedFS, verified' "$SLUICE_BIN" publish "$WORK/model" bench/large --gate open
        end "$PORTAL"
    done
    fresh_bucket weed
    row 'weed upload, to its volumes' by_weed_upload
    fresh_bucket curl
    row 'curl to its filer, one stream' by_curl
    fresh_bucket copy
    row 'weed filer.copy, to its volumes, 8 at once' by_weed_copy
    end "$BUCKET"
    BUCKET=
    unset SLUICE_OBJECTS SLUICE_ENGINE_MEMORY_BYTES
    echo
}

redirects() {
    local token
    S3_PORT=11600
    need_bucket "$WORK/signing-store" "$S3_PORT"
    serve signing
    "$SLUICE_BIN" user add ada@university.edu --name Ada >/dev/null 2>&1
    "$SLUICE_BIN" grant add ada@university.edu sluice/opt-verse-6m-gated --reason bench >/dev/null 2>&1
    token=$("$SLUICE_BIN" token add ada@university.edu --scope download 2>/dev/null)
    local revision
    revision=$(curl -fs "$PORTAL_URL/api/models/sluice/opt-verse-6m-gated" | python3 -c 'import json, sys; print(json.load(sys.stdin)["sha"])')
    # On one core, as the clients have the other.
    taskset -acp 0 "$PORTAL" >/dev/null
    echo '| signed redirects of a gated file, one core | half are within | 99 of 100 | the slowest | processor each |'
    echo '|---|---|---|---|---|'
    taskset -c 1 python3 deploy/bench/redirects.py "$PORTAL" "$PORTAL_URL/sluice/opt-verse-6m-gated/resolve/$revision/model.safetensors" "$token"
    end "$PORTAL"
    end "$BUCKET"
    unset SLUICE_OBJECTS
    echo
}

slow() {
    make_model
    serve slow
    "$SLUICE_BIN" publish "$WORK/model" bench/large --gate open >"$WORK/revision" 2>/dev/null
    ulimit -n 20000
    echo '| downloads that hardly move | memory before | with them | each | p99 of a HEAD before | meanwhile |'
    echo '|---|---|---|---|---|---|'
    python3 deploy/bench/slow_clients.py "$PORTAL" "$PORTAL_URL/bench/large/resolve/$(cat "$WORK/revision")/model.safetensors" 2000
    end "$PORTAL"
    echo
}

# Both digests on one core, of the whole and of each chunk, beside what the two take one after the other over the same bytes.
digests() {
    SQLX_OFFLINE=true cargo build --quiet --package tests --bin hash-speed
    local measured
    measured=$("${FIRST[@]}" taskset -c 0 "$TARGET/debug/hash-speed" "${DIGEST_BYTES:-536870912}" "${REPEATS:-7}")
    echo '| digests on one core, in memory | GB/s |'
    echo '|---|---|'
    awk -F '\t' '{ printf "| %s | %s |\n", $1, $2 }' <<< "$measured"
    echo
}

ulimit -n 20000 2>/dev/null || true
if [ $# = 0 ]; then set -- digests publish redirects slow serve pull; fi
for part in "$@"; do
    case $part in
        digests | publish | redirects | slow) "$part" ;;
        serve) SLUICE_BIN=$SLUICE_BIN bash deploy/bench/downloads.sh ;;
        pull) SLUICE_BIN=$SLUICE_BIN bash deploy/bench/pull.sh ;;
        *) fail "there is no part $part: digests, publish, redirects, slow, serve, pull" ;;
    esac
done
