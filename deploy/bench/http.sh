#!/usr/bin/env bash
# What the portal's HTTP adds to the engine: the time to the first token, and eight streams at once, beside `sluice bench` on the same
# random weights of OPT 125m in the same run. Prints a table for BENCHMARKS.md. PRECISION (default bf16), ROUNDS and REPEAT change it.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh
. deploy/bench/weights.sh

have curl || { can_apt && debian curl; } || fail "This measurement needs curl: install it as your system does"
need_postgres
need_weights 125m 0.5
PRECISION=${PRECISION:-bf16}

WORK=$(mktemp -d /var/tmp/sluice-bench-XXXXXX)
chmod 711 "$WORK"
finish() {
    kill "$PORTAL" 2>/dev/null && wait "$PORTAL" 2>/dev/null
    rm -rf "$WORK"
}
PORTAL=
trap finish EXIT

PORT=$("$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export SLUICE_DATA_DIR=$WORK/data SLUICE_LISTEN=127.0.0.1:$PORT SLUICE_LOG=warn SLUICE_ENGINE_PRECISION=$PRECISION
unset DATABASE_URL

step "Publishing random weights of OPT 125m"
mkdir "$WORK/model"
cp "$WEIGHTS"/{config.json,model.safetensors} inference/tests/fixtures/opt-tokenizer/{vocab.json,merges.txt,tokenizer_config.json} "$WORK/model/"
"$SLUICE_BIN" publish "$WORK/model" bench/opt-125m --gate open >/dev/null
# An account has only so many answers at once, so eight ask.
for number in 1 2 3 4 5 6 7 8; do
    "$SLUICE_BIN" user add "reader$number@lab.example" >/dev/null
    "$SLUICE_BIN" token add "reader$number@lab.example" --scope api >>"$WORK/tokens"
done
# (Not put first as the engine alone is: its readers would starve.)
"$SLUICE_BIN" serve >"$WORK/portal.log" 2>&1 &
PORTAL=$!
until curl -fs "http://127.0.0.1:$PORT/readyz" >/dev/null; do
    kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/portal.log")"
    sleep 0.1
done

step "Measuring by HTTP and the engine alone, in turn"
# In turn, because what the machine gives changes within minutes.
for _ in $(seq "${ROUNDS:-5}"); do
    "$PYTHON" deploy/bench/http_streams.py "http://127.0.0.1:$PORT" "$WORK/tokens" --repeat "${REPEAT:-6}" >>"$WORK/http"
    "${FIRST[@]}" "$SLUICE_BIN" bench "$WEIGHTS" --json --precision "$PRECISION" --batch 8 --prefill 32 --repeat "${REPEAT:-6}" >>"$WORK/engine"
done
"$PYTHON" deploy/bench/http_streams.py --table "$WORK/http" "$WORK/engine"
