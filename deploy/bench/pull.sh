#!/usr/bin/env bash
# Pulling 4 GiB from the folder store through the portal, verified, beside curl, aria2c and hf, which verify nothing.
# Into memory (/dev/shm), so that it is not the disk that is measured. Prints a table for BENCHMARKS.md. SLUICE_BIN names the program.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

need_python
need_postgres
if ! have curl || ! have aria2c; then fail "This measurement needs curl and aria2c: install them as your system does"; fi
need_venv clients tests/clients/requirements.txt

SLUICE_BIN=${SLUICE_BIN:-$TARGET/release/sluice}
if [ ! -x "$SLUICE_BIN" ]; then
    need_rust
    step "Building for speed"
    SQLX_OFFLINE=true cargo build --release --package server --bin sluice
fi

WORK=$(mktemp -d /var/tmp/sluice-pull-XXXXXX)
INTO=$(mktemp -d /dev/shm/sluice-pull-XXXXXX)
chmod 711 "$WORK"
finish() {
    kill "$PORTAL" 2>/dev/null && wait "$PORTAL" 2>/dev/null
    rm -rf "$WORK" "$INTO"
}
trap finish EXIT

PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export SLUICE_DATA_DIR=$WORK/data SLUICE_LISTEN=127.0.0.1:$PORT SLUICE_LOG=warn
unset DATABASE_URL SLUICE_TOKEN
step "Making and publishing a model of 4 GiB"
python3 deploy/bench/large_model.py "$WORK/model"
REVISION=$("$SLUICE_BIN" publish "$WORK/model" bench/large --gate open)
rm -rf "$WORK/model"
"$SLUICE_BIN" serve >"$WORK/portal.log" 2>&1 &
PORTAL=$!
BASE=http://127.0.0.1:$PORT
until curl -fs "$BASE/readyz" >/dev/null; do
    kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/portal.log")"
    sleep 0.1
done
export SLUICE_ENDPOINT=$BASE HF_ENDPOINT=$BASE HF_HUB_DISABLE_TELEMETRY=1 HOME=$WORK XDG_CONFIG_HOME=$WORK/config HF_HOME=$INTO/hf
URL=$BASE/bench/large/resolve/$REVISION/model.safetensors
SIZE=$(curl -fsI "$URL" | tr -d '\r' | awk 'tolower($1) == "content-length:" { print $2 }')

# row NAME COMMAND…: the best of three, and what the client's own processor time was.
row() {
    local name=$1 best=0 took client
    shift
    for _ in 1 2 3; do
        rm -rf "${INTO:?}"/*
        TIMEFORMAT='%3R %3U %3S'
        took=$( { time "$@" >/dev/null 2>"$WORK/err"; } 2>&1) || fail "$name: $(cat "$WORK/err")"
        read -r took user sys <<< "$took"
        if [ "$best" = 0 ] || awk "BEGIN { exit !($took < $best) }"; then
            best=$took
            client=$(awk "BEGIN { printf \"%.2f\", $user + $sys }")
        fi
    done
    awk -v name="$name" -v took="$best" -v client="$client" -v size="$SIZE" \
        'BEGIN { printf "| %s | %.2f s | %.0f MB/s | %s s |\n", name, took, size / took / 1e6, client }'
    rm -rf "${INTO:?}"/*
}

step "Fetching $SIZE bytes, the best of three"
echo '| client | takes | rate | its processor time |'
echo '|---|---|---|---|'
row 'curl, one stream, unverified' curl -fsS -o "$INTO/model.safetensors" "$URL"
row 'aria2c -x16 -s16, unverified' aria2c -q -x16 -s16 -k1M --file-allocation=none --header='Want-Digest: none' -d "$INTO" -o model.safetensors "$URL"
row 'hf download, unverified' "$TOOLS/clients/bin/hf" download bench/large --revision "$REVISION" --local-dir "$INTO/hf-model"
row 'sluice pull, verified' "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$REVISION"
row 'sluice pull --jobs 16, verified' "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$REVISION" --jobs 16
"$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$REVISION" >/dev/null 2>&1
TIMEFORMAT='%3R'
took=$( { time "$SLUICE_BIN" verify "$INTO/model" >/dev/null 2>&1; } 2>&1)
awk -v took="$took" -v size="$SIZE" 'BEGIN { printf "\nsluice verify: %.2f s, %.0f MB/s on all cores\n", took, size / took / 1e6 }'
took=$( { time "$SLUICE_BIN" pull bench/large "$INTO/model" --revision "$REVISION" >/dev/null 2>&1; } 2>&1)
echo "sluice pull again, nothing to do: $took s"
