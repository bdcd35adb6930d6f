#!/usr/bin/env bash
# Builds the portal and starts it with nothing configured.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
[ -n "${DATABASE_URL:-}" ] || need_postgres

step "Building (a first time takes some minutes)"
SQLX_OFFLINE=true cargo build --package server --bin sluice

if [ -z "${SLUICE_DATA_DIR:-}" ] && [ -z "${DATABASE_URL:-}" ] && ! reachable "$ROOT"; then
    export SLUICE_DATA_DIR=/var/lib/sluice
    step "PostgreSQL does not run as root, and its account cannot pass through $ROOT: keeping the data in $SLUICE_DATA_DIR"
    step "In other terminals: export SLUICE_DATA_DIR=$SLUICE_DATA_DIR"
fi
step "Starting"
exec "$TARGET/debug/sluice" serve
