#!/usr/bin/env bash
# The desk at size: pages and commands at 50 a second with so many applications, 30 events each. Prints tables for BENCHMARKS.md.
# Then what Lighthouse says of the pages.
# desk.sh [APPLICATIONS]: by default 100,000. SLUICE_BIN names the program to measure.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

LIGHTHOUSE=12.8.2
need_lighthouse() {
    [ -x "$TOOLS/lighthouse/node_modules/.bin/lighthouse" ] && return
    node_suffices || fail "Lighthouse needs Node 20 or newer with npm"
    step "Installing lighthouse $LIGHTHOUSE into .tools/lighthouse"
    npm install --prefix "$TOOLS/lighthouse" --ignore-scripts --no-audit --no-fund --loglevel=error "lighthouse@$LIGHTHOUSE"
}

need_python
need_postgres
need_browser
need_lighthouse
if ! have curl || ! have psql; then fail "This measurement needs curl and psql: install them as your system does"; fi
APPLICATIONS=${1:-100000}
need_release

WORK=$(mktemp -d /var/tmp/sluice-desk-XXXXXX)
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

step "Making $APPLICATIONS applications and $((APPLICATIONS * 30)) events"
psql -qAt -h "$WORK/data/postgres/sock" -U sluice -d sluice -v ON_ERROR_STOP=1 -v applications="$APPLICATIONS" -f deploy/bench/desk.sql
step "Waiting until each event has its place"
until [ "$(curl -fs "http://$SLUICE_LISTEN/audit/checkpoint" | sed -n 2p)" -ge "$((APPLICATIONS * 30))" ]; do sleep 0.5; done
psql -qAt -h "$WORK/data/postgres/sock" -U sluice -d sluice -c checkpoint
step "Asking, 50 times a second"
python3 deploy/bench/desk.py "http://$SLUICE_LISTEN" "$WORK/data/postgres/sock"
step "Looking with Lighthouse"
CHROME_PATH=$SLUICE_TEST_BROWSER python3 deploy/bench/lighthouse.py "http://$SLUICE_LISTEN" "$WORK/data/postgres/sock" \
    "$TOOLS/lighthouse/node_modules/.bin/lighthouse"
