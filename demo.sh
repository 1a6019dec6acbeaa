#!/bin/sh
# What the containers of docker-compose.yml run.
#
#   demo serve          a server, until the demo is over or the container is stopped
#   demo load HOST...   the load generator against each host in turn; keeps the reports in /reports, prints them
#                       side by side, and ends the demo. Its exit code is 0 if every run was valid.
set -eu

serve() {
    server &
    server=$!
    trap 'kill -TERM "$server"' TERM INT
    # The open waits, without using any CPU, until somebody opens the other end: the demo is over.
    over=/over/$SERVER_MODE
    mkfifo -m 0666 "$over"
    { : <"$over"; kill -TERM "$server"; } &
    wait "$server" && status=0 || status=$?
    # A trapped signal ends the wait before the server has drained.
    [ "$status" -le 128 ] || { wait "$server" && status=0 || status=$?; }
    return "$status"
}

load() {
    status=0
    reports=
    for host in "$@"; do
        printf '\n== %s: %s clients for %s ==\n' "$host" "$CONNECTIONS" "$DURATION"
        report=/reports/$host.json
        rm -f "$report"
        loadgen run "$host:8080" --connections "$CONNECTIONS" --duration "$DURATION" --wait-for-server 10s \
            --format json --output "$report" || status=$?
        # There is none where the server could not be reached: the others go on.
        [ -e "$report" ] || continue
        loadgen show "$report"
        reports="$reports $report"
    done
    printf '\n== side by side ==\n'
    # The names hold no spaces.
    # shellcheck disable=SC2086
    loadgen show $reports
    for host in "$@"; do
        # Nobody waits at the other end if that server has ended already.
        timeout 2 sh -c ': >"$1"' sh "/over/$host" || true
    done
    return "$status"
}

"$@"
