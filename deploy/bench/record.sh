#!/usr/bin/env bash
# The audit log: events recorded and given their places, then the whole log proven. Prints a table for BENCHMARKS.md.
# record.sh [EVENTS]: so many, by default 1,000,000. SLUICE_BIN names the program to measure.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

need_postgres
if ! have curl || ! have psql; then fail "This measurement needs curl and psql: install them as your system does"; fi
EVENTS=${1:-1000000}
need_release

WORK=$(mktemp -d /var/tmp/sluice-record-XXXXXX)
chmod 711 "$WORK"
PORTAL=
finish() {
    [ -z "$PORTAL" ] || { kill "$PORTAL" 2>/dev/null && wait "$PORTAL" 2>/dev/null; }
    rm -rf "$WORK"
}
trap finish EXIT

PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export SLUICE_DATA_DIR=$WORK/data SLUICE_LISTEN=127.0.0.1:$PORT SLUICE_LOG=warn
unset DATABASE_URL
"$SLUICE_BIN" serve > "$WORK/portal.log" 2>&1 &
PORTAL=$!
until curl -fs "http://$SLUICE_LISTEN/readyz" > /dev/null; do
    kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/portal.log")"
    sleep 0.1
done

sql() { psql -qAt -h "$WORK/data/postgres/sock" -U sluice -d sluice -v ON_ERROR_STOP=1 -c "$1"; }
# Seconds that a command takes.
took() {
    local begun
    begun=$(date +%s.%N)
    "$@" > /dev/null
    date +%s.%N | awk -v begun="$begun" '{ printf "%.2f", $1 - begun }'
}
record() {
    sql "insert into audit_event (at, actor_id, kind, subject, detail)
         select now(), gen_random_uuid(), 'application.approved', 'application_' || n, jsonb_build_object('grant', 'grant_' || n)
         from generate_series(1, $EVENTS) n"
}
signed() { until [ "$(curl -fs "http://$SLUICE_LISTEN/audit/checkpoint" | sed -n 2p)" -ge "$EVENTS" ]; do sleep 0.05; done; }

step "Recording $EVENTS events"
RECORDED=$(took record)
step "Waiting until each has its place"
SIGNED=$(took signed)
sql 'analyze' > /dev/null
step "Proving the log"
VERIFIED=$(took "$SLUICE_BIN" audit verify)

rate() { awk -v events="$EVENTS" -v seconds="$1" 'BEGIN { printf "%d", events / seconds }'; }
printf '| %s events | takes | a second |\n|---|---|---|\n' "$EVENTS"
printf '| recorded, in one transaction | %s s | %s |\n' "$RECORDED" "$(rate "$RECORDED")"
printf '| given their places and signed, after that | %s s | %s |\n' "$SIGNED" "$(rate "$SIGNED")"
printf "| proven by \`sluice audit verify\` | %s s | %s |\n" "$VERIFIED" "$(rate "$VERIFIED")"
