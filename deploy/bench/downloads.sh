#!/usr/bin/env bash
# Serving one file of 4 GiB: throughput, CPU and memory of the portal, beside nginx (sendfile) on the same file in the same run.
# Prints a table for BENCHMARKS.md. SLUICE_BIN names the program to measure (default: the release build, made anew if it is old).
# shellcheck source=deploy/dev/steps.sh
. "$(dirname "$0")/../dev/steps.sh"
. deploy/dev/install.sh

need_python
have curl && have nginx || { can_apt && debian curl nginx-light; } || fail "This measurement needs curl and nginx: install them as your system does"
need_postgres

need_release

WORK=$(mktemp -d /var/tmp/sluice-bench-XXXXXX)
chmod 711 "$WORK"
PIDS=()
finish() {
    for pid in "${PIDS[@]}"; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null; done
    rm -rf "$WORK"
}
trap finish EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

PORT=$(free_port)
export SLUICE_DATA_DIR=$WORK/data SLUICE_LISTEN=127.0.0.1:$PORT SLUICE_LOG=warn
unset DATABASE_URL

step "Making and publishing a model of 4 GiB"
python3 deploy/bench/large_model.py "$WORK/model"
"$SLUICE_BIN" publish "$WORK/model" bench/large --gate open >"$WORK/revision"
REVISION=$(cat "$WORK/revision")
rm -rf "$WORK/model"

step "Starting both servers"
"$SLUICE_BIN" serve >"$WORK/portal.log" 2>&1 &
PORTAL=$!
PIDS+=("$PORTAL")
until curl -fs "http://127.0.0.1:$PORT/readyz" >/dev/null; do
    kill -0 "$PORTAL" || fail "the portal did not start: $(cat "$WORK/portal.log")"
    sleep 0.1
done
OBJECT=$(find "$WORK/data/objects" -type f -size +4000M | head -n 1)
SIZE=$(stat -c %s "$OBJECT")

NGINX_PORT=$(free_port)
cat >"$WORK/nginx.conf" <<CONF
daemon off;
pid $WORK/nginx.pid;
error_log $WORK/nginx.log;
worker_processes $(nproc);
user $(id -un);
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    sendfile_max_chunk 2m;
    tcp_nopush on;
    client_body_temp_path $WORK/nginx-body;
    proxy_temp_path $WORK/nginx-proxy;
    fastcgi_temp_path $WORK/nginx-fastcgi;
    uwsgi_temp_path $WORK/nginx-uwsgi;
    scgi_temp_path $WORK/nginx-scgi;
    server { listen 127.0.0.1:$NGINX_PORT; location / { root $(dirname "$OBJECT"); } }
}
CONF
nginx -c "$WORK/nginx.conf" 2>>"$WORK/nginx.log" &
NGINX=$!
PIDS+=("$NGINX")
NGINX_URL=http://127.0.0.1:$NGINX_PORT/$(basename "$OBJECT")
PORTAL_URL=http://127.0.0.1:$PORT/bench/large/resolve/$REVISION/model.safetensors
until curl -fsI "$NGINX_URL" >/dev/null; do sleep 0.1; done

# The processes of a server: nginx has its workers as children, the portal has its database, which takes no part.
processes() {
    if [ "$1" = "$NGINX" ]; then echo "$1"; pgrep -P "$1"; else echo "$1"; fi
}
sum() { # FIELD PID: of /proc/PID/status, in MiB over all processes of the server
    local pid total=0
    for pid in $(processes "$2"); do total=$((total + $(awk -v field="$1:" '$1 == field { print $2 }' "/proc/$pid/status"))); done
    echo $((total / 1024))
}
cpu_ticks() {
    local pid total=0
    for pid in $(processes "$1"); do total=$((total + $(awk '{ print $14 + $15 }' "/proc/$pid/stat"))); done
    echo "$total"
}
forget_peak() {
    local pid
    for pid in $(processes "$1"); do echo 5 >"/proc/$pid/clear_refs"; done
}
fetch() { # URL STREAMS: the file once, in so many ranges at once
    local part=$((SIZE / $2)) stream running=()
    for ((stream = 0; stream < $2; stream++)); do
        curl -fsS -o /dev/null -r "$((stream * part))-$((stream + 1 == $2 ? SIZE - 1 : (stream + 1) * part - 1))" "$1" &
        running+=($!)
    done
    wait "${running[@]}"
}
measure() { # NAME PID URL STREAMS
    local before begun took ticks best=
    before=$(sum VmRSS "$2")
    forget_peak "$2"
    ticks=$(cpu_ticks "$2")
    for _ in 1 2 3; do
        begun=$(date +%s%N)
        fetch "$3" "$4"
        took=$((($(date +%s%N) - begun) / 1000000))
        [ -n "$best" ] && [ "$best" -le "$took" ] || best=$took
    done
    ticks=$((($(cpu_ticks "$2") - ticks) * 1000 / $(getconf CLK_TCK) / 3))
    printf '| %s | %s | %s MB/s | %s ms | %s MiB | %s MiB |\n' "$1" "$4" "$((SIZE / 1000 / best))" \
        "$((ticks * 1000 / (SIZE / 1000000)))" "$before" "$(sum VmHWM "$2")"
}
hold() { # NAME PID URL CLIENTS: slow clients, all at once
    local before client running=()
    before=$(sum VmRSS "$2")
    forget_peak "$2"
    for ((client = 0; client < $4; client++)); do
        curl -fs -o /dev/null --limit-rate 50k --max-time 12 "$3" &
        running+=($!)
    done
    sleep 10
    printf '| %s | %s | %s MiB | %s MiB |\n' "$1" "$4" "$before" "$(sum VmHWM "$2")"
    wait "${running[@]}" || true
}

step "Measuring (warming the page cache first)"
fetch "$NGINX_URL" 1
echo "$SIZE bytes, $(nproc) CPUs ($(awk -F ': ' '/model name/ { print $2; exit }' /proc/cpuinfo)), page cache warm, clients on the same CPUs, best of three"
echo
echo '| server | streams | throughput | CPU per GB sent | memory before | memory at most |'
echo '|---|---|---|---|---|---|'
for streams in 1 16; do
    measure Sluice "$PORTAL" "$PORTAL_URL" "$streams"
    measure nginx "$NGINX" "$NGINX_URL" "$streams"
done
echo
echo '| server | slow clients (50 kB/s) | memory before | memory at most |'
echo '|---|---|---|---|'
for clients in 100 400; do
    hold Sluice "$PORTAL" "$PORTAL_URL" "$clients"
    hold nginx "$NGINX" "$NGINX_URL" "$clients"
done
