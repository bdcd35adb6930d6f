# shellcheck shell=bash
# How the scripts of this folder talk, and remember what they have installed. Sourced, never run.

set -Eeuo pipefail
trap 'printf "\n!! stopped at %s:%s: %s\n" "$0" "$LINENO" "$BASH_COMMAND" >&2' ERR
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

ROOT=$PWD
TOOLS=$ROOT/.tools
export TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
export PATH="$TOOLS/dev/bin:$PATH:$HOME/.cargo/bin"

step() { printf '\n== %s\n' "$*" >&2; }

# fail MESSAGE: what is missing, and what to type.
fail() { printf '\n!! %s\n' "$*" >&2; exit 1; }

# By -x, since bash also names a file that it could not run.
have() { [ -x "$(command -v "$1")" ]; }

is_root() { [ "$(id -u)" = 0 ]; }

# fresh NAME FILE…: whether what was installed from these files is what they say now.
fresh() {
    local stamp=$TOOLS/stamps/$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(sha256sum "$@")" ]
}

# installed NAME FILE…: remembers it, once everything is in place; a killed installation is begun again.
installed() {
    local stamp=$TOOLS/stamps/$1
    shift
    mkdir -p "$TOOLS/stamps"
    sha256sum "$@" > "$stamp.new"
    mv "$stamp.new" "$stamp"
}

# The account that runs PostgreSQL when we are root (server/src/postgres/account.rs) passes through this folder.
reachable() {
    is_root || return 0
    local account=postgres
    getent passwd "$account" >/dev/null || account=nobody
    setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups test -x "$1"
}
