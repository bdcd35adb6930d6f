# shellcheck shell=bash
# FIRST, to be put before a command: without it, whatever else runs takes a core away in the middle of what is measured. (Not `chrt -f`: the
# kernel stops what runs by that for 50 ms of each second.) Sourced.
FIRST=()
# shellcheck disable=SC2034
if [ "$(nice -n -20 nice 2>/dev/null)" = -20 ]; then FIRST=(nice -n -20); fi
