# shellcheck shell=bash
# Debian's packages: installed by root; everybody else unpacks them, and what they need and the machine lacks, into a folder of ours
# where nothing is set up and nothing is run. Sourced by install.sh.

# By release, since libraries of two releases do not mix.
DEBIAN=$TOOLS/debian-$(. /etc/os-release 2>/dev/null && echo "${VERSION_ID:-}" || true)

# Whatever was unpacked is found after what the machine has.
use_debian() {
    local folders
    [ -d "$DEBIAN/usr/bin" ] || return 0
    folders=$(find "$DEBIAN" -path '*-linux-gnu*' -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
    [[ :$PATH: == *:$DEBIAN/usr/bin:* ]] || export PATH="$PATH:$DEBIAN/usr/bin:$DEBIAN/usr/sbin"
    export LD_LIBRARY_PATH="$folders"
    if [ -d "$DEBIAN/etc/fonts" ] && [ ! -e /etc/fonts/fonts.conf ]; then
        export FONTCONFIG_FILE=$DEBIAN/fonts.conf
        printf '<fontconfig><dir>%s</dir><cachedir>%s</cachedir></fontconfig>\n' \
            "$DEBIAN/usr/share/fonts" "$DEBIAN/var/cache/fontconfig" > "$FONTCONFIG_FILE"
    fi
}
use_debian

can_apt() { have apt-get && have dpkg-deb; }

# debian PACKAGE…
debian() {
    if is_root; then
        step "Installing $* (Debian packages)"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return
        apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        step "Unpacking $* into ${DEBIAN#"$ROOT"/} (Debian packages, without root)"
        unpack "$@"
        use_debian
    fi
}

unpack() {
    local apt=$TOOLS/apt deb
    # Our own lists and archives; what is installed already is read from the machine.
    local settings=(-qq -o Debug::NoLocking=true -o Dir::State="$apt" -o Dir::State::status=/var/lib/dpkg/status -o Dir::Cache="$apt")
    mkdir -p "$DEBIAN" "$apt/lists/partial" "$apt/archives/partial"
    apt-get "${settings[@]}" update
    apt-get "${settings[@]}" install -y --download-only --no-install-recommends "$@" >/dev/null
    for deb in "$apt"/archives/*.deb; do dpkg-deb --extract "$deb" "$DEBIAN"; done
    rm -r "$apt"
}
