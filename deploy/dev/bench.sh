#!/usr/bin/env bash
# The engine's speed on this machine, in the release profile.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
step "Building for speed and measuring"
SQLX_OFFLINE=true exec cargo bench --package inference
