#!/usr/bin/env bash
# The serving of files on this machine, in the release profile. The engine's own benchmarks come with its fast path.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
exec bash deploy/bench/downloads.sh
