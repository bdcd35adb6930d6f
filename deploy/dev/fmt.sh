#!/usr/bin/env bash
# Formats the sources, as the lint wants them.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
cargo fmt --all
cargo fmt --manifest-path inference/fuzz/Cargo.toml
