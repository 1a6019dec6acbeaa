#!/bin/sh
# An open loop of 5,000 requests per second for ten seconds. The server is stopped for 500 ms in the middle.
# Prints the JSON report. Needs the release build, or the folder of another one in BIN.
set -eu
bin=${BIN:-$(dirname "$0")/../target/release}
[ -x "$bin/server" ] && [ -x "$bin/loadgen" ] || { echo "run 'cargo build --release' first" >&2; exit 1; }
ready=$(mktemp)
"$bin/server" --listen 127.0.0.1:0 --mode "${MODE:-thread-pool}" >"$ready" 2>/dev/null &
server=$!
trap 'kill "$server"; rm -f "$ready"' EXIT
until grep -q listening "$ready"; do kill -0 "$server" && sleep 0.1; done
"$bin/loadgen" run "$(sed 's/listening on //' "$ready")" --connections 50 --rate 5k --duration 10s --quiet --format json &
load=$!
sleep 6 # the warm-up is one second
kill -STOP "$server"
sleep 0.5
kill -CONT "$server"
wait "$load"
