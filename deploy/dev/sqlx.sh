#!/usr/bin/env bash
# Writes .sqlx anew: what the database says about every query, so that a build needs no database.
# It starts PostgreSQL by itself and not with our own binary, which does not build while .sqlx is stale.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
need_postgres

bin=$(postgres_bin)
scratch=$(mktemp -d /tmp/sluice-sqlx-XXXXXX)
as=()
if is_root; then
    account=postgres
    getent passwd "$account" >/dev/null || account=nobody
    chown "$account" "$scratch"
    as=(setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups)
fi
finish() {
    trap - ERR
    (cd / && "${as[@]}" "$bin/pg_ctl" -D "$scratch/data" -m immediate stop >/dev/null 2>&1) || true
    rm -rf "$scratch" .sqlx.new
}
trap finish EXIT

step "Starting a database and applying the migrations"
(cd / && "${as[@]}" "$bin/initdb" -D "$scratch/data" -U sluice --auth=trust --encoding=UTF8 --no-sync >/dev/null &&
    "${as[@]}" "$bin/pg_ctl" -D "$scratch/data" -o "-F -k $scratch -c listen_addresses=" -l "$scratch/log" -w start >/dev/null)
chmod 755 "$scratch"
for file in migrations/*.sql; do
    "$bin/psql" -h "$scratch" -U sluice -d postgres --quiet --single-transaction -v ON_ERROR_STOP=1 -f "$file"
done

step "Asking it about every query"
rm -rf .sqlx.new && mkdir .sqlx.new
# An unchanged crate is not compiled again, and then asks nothing.
touch server/src/lib.rs tests/harness/lib.rs tests/journeys/main.rs
SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$ROOT/.sqlx.new DATABASE_URL="postgres://sluice@localhost/postgres?host=${scratch//\//%2F}" \
    cargo check --workspace --all-targets
compgen -G '.sqlx.new/query-*.json' >/dev/null || fail "No query was written: is there a query! macro left?"
rm -rf .sqlx && mv .sqlx.new .sqlx
step "$(find .sqlx -name 'query-*.json' | wc -l) queries in .sqlx"
