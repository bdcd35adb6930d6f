#!/usr/bin/env bash
# The engine's speed and the serving of files on this machine, in the release profile.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
step "Building for speed and measuring"
SQLX_OFFLINE=true cargo bench --package inference
exec bash deploy/bench/downloads.sh
