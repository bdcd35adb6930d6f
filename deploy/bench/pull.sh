#!/usr/bin/env bash
# Pulling 4 GiB, verified, from the folder store through the portal and from SeaweedFS through its redirects, beside curl, aria2c and hf,
# which verify nothing; and what a release of 1,000 shards and 350 GB costs before the first byte. Into memory (/dev/shm), so that it is
# not the disk that is measured. Prints tables for BENCHMARKS.md. SLUICE_BIN names the program.
# pull.sh [folder] [bucket] [plan]: only these parts.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

need_python
need_postgres
if ! have curl || ! have aria2c; then fail "This measurement needs curl and aria2c: install them as your system does"; fi

need_release

if [ $# = 0 ]; then set -- folder bucket plan; fi
if [[ " $* " = *" plan "* ]]; then
    need_rust
    SQLX_OFFLINE=true cargo build --quiet --package tests --bin large-release
fi

WORK=$(mktemp -d /var/tmp/sluice-pull-XXXXXX)
INTO=$(mktemp -d /dev/shm/sluice-pull-XXXXXX)
chmod 711 "$WORK"
PORTAL=
BUCKET=
finish() {
    if [ -n "$PORTAL" ]; then kill "$PORTAL" && wait "$PORTAL" || true; fi
    if [ -n "$BUCKET" ]; then kill -9 "$BUCKET" && wait "$BUCKET" || true; fi
    rm -rf "$WORK" "$INTO"
} 2>/dev/null
trap finish EXIT

export SLUICE_LOG=warn HF_HUB_DISABLE_TELEMETRY=1 HOME=$WORK XDG_CONFIG_HOME=$WORK/config HF_HOME=$INTO/hf
unset DATABASE_URL SLUICE_TOKEN

# settle NAME: a data folder and a port of its own, for every command from here on.
settle() {
    local port
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    BASE=http://127.0.0.1:$port
    export SLUICE_DATA_DIR=$WORK/$1 SLUICE_LISTEN=127.0.0.1:$port SLUICE_ENDPOINT=$BASE HF_ENDPOINT=$BASE
}

serve() {
    "$SLUICE_BIN" serve >"$WORK/portal.log" 2>&1 &
    PORTAL=$!
    until curl -fs "$BASE/readyz" >/dev/null; do
        kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/portal.log")"
        sleep 0.1
    done
}

end() {
    kill "$PORTAL" && wait "$PORTAL" 2>/dev/null || true
    PORTAL=
}

# best COMMAND…: leaves the best of three in TOOK, and the client's own processor time of it in CLIENT. Each begins with nothing.
best() {
    local took user sys
    TOOK=0
    for _ in 1 2 3; do
        rm -rf "${INTO:?}"/*
        TIMEFORMAT='%3R %3U %3S'
        took=$( { time "$@" >/dev/null 2>"$WORK/err"; } 2>&1) || fail "$*: $(cat "$WORK/err")"
        read -r took user sys <<< "$took"
        if [ "$TOOK" = 0 ] || awk "BEGIN { exit !($took < $TOOK) }"; then
            TOOK=$took
            CLIENT=$(awk "BEGIN { printf \"%.2f\", $user + $sys }")
        fi
    done
    rm -rf "${INTO:?}"/*
}

# row NAME COMMAND…
row() {
    local name=$1
    shift
    best "$@"
    awk -v name="$name" -v took="$TOOK" -v client="$CLIENT" -v size="$SIZE" \
        'BEGIN { printf "| %s | %.2f s | %.0f MB/s | %s s |\n", name, took, size / took / 1e6, client }'
}

# seconds COMMAND…
seconds() {
    TIMEFORMAT='%3R'
    { time "$@" >/dev/null 2>&1; } 2>&1
}

# fetching FROM: publishes 4 GiB into the store of the settings and fetches them by every client.
fetching() {
    need_venv clients tests/clients/requirements.txt
    step "Making and publishing a model of 4 GiB"
    python3 deploy/bench/large_model.py "$WORK/model"
    local revision url took
    revision=$("$SLUICE_BIN" publish "$WORK/model" bench/large --gate open)
    rm -rf "$WORK/model"
    serve
    url=$BASE/bench/large/resolve/$revision/model.safetensors
    SIZE=$(curl -fsI "$url" | tr -d '\r' | awk 'tolower($1) == "content-length:" { print $2 }')
    step "Fetching $SIZE bytes from $1, the best of three"
    echo "| client, from $1 | takes | rate | its processor time |"
    echo '|---|---|---|---|'
    row 'curl, one stream, unverified' curl -fsSL -o "$INTO/model.safetensors" "$url"
    row 'aria2c -x16 -s16, unverified' aria2c -q -x16 -s16 -k1M --file-allocation=none --header='Want-Digest: none' -d "$INTO" -o model.safetensors "$url"
    row 'hf download, unverified' "$TOOLS/clients/bin/hf" download bench/large --revision "$revision" --local-dir "$INTO/hf-model"
    row 'sluice pull, verified' "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$revision"
    row 'sluice pull --jobs 16, verified' "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$revision" --jobs 16
    "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$revision" >/dev/null 2>&1
    took=$(seconds "$SLUICE_BIN" verify "$INTO/model")
    awk -v took="$took" -v size="$SIZE" 'BEGIN { printf "\nsluice verify: %.2f s, %.0f MB/s on all cores\n", took, size / took / 1e6 }'
    echo "sluice pull again, nothing to do: $(seconds "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$revision") s"
    echo
    rm -rf "${INTO:?}"/*
    end
}

folder() {
    settle folder
    fetching 'the folder store'
    rm -rf "$SLUICE_DATA_DIR"
}

bucket() {
    settle bucket
    need_bucket "$WORK" 11700
    fetching 'SeaweedFS'
    kill -9 "$BUCKET" && wait "$BUCKET" 2>/dev/null || true
    BUCKET=
    unset SLUICE_OBJECTS
    rm -rf "$SLUICE_DATA_DIR" "$WORK/store"
}

# Its bytes are nowhere and its files sparse: what is measured is the list, its proof, the plan, and what a journal says.
plan() {
    settle plan
    "$SLUICE_BIN" key list >/dev/null 2>&1
    "$TARGET/debug/large-release" "$SLUICE_DATA_DIR" bench/large "$WORK/partly"
    "$SLUICE_BIN" key rotate >/dev/null 2>&1
    serve
    echo '| 1,000 shards, 350 GB | takes | its processor time |'
    echo '|---|---|---|'
    best "$SLUICE_BIN" pull bench/large "$INTO/nothing" --dry-run
    echo "| list, prove and plan, nothing there | $TOOK s | $CLIENT s |"
    best "$SLUICE_BIN" pull bench/large "$WORK/partly" --dry-run
    echo "| the same, 900 shards complete and 100 half there | $TOOK s | $CLIENT s |"
    echo
    end
}

for part in "$@"; do
    case $part in
        folder | bucket | plan) "$part" ;;
        *) fail "there is no part $part: folder, bucket, plan" ;;
    esac
done
