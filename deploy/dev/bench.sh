#!/usr/bin/env bash
# What BENCHMARKS.md tells of this machine: the serving of files and the engine, in the release profile.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"

bash deploy/bench/downloads.sh
bash deploy/bench/engine.sh
bash deploy/bench/http.sh
