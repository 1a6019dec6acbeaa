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
    # The open blocks, without CPU time, until another process opens the other end: then the demo is over.
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
        # Without a report, the server could not be reached. The others go on.
        if [ ! -e "$report" ]; then
            printf "no report of %s: 'docker compose logs %s' shows what it said\n" "$host" "$host"
            continue
        fi
        loadgen show "$report"
        reports="$reports $report"
    done
    printf '\n== side by side ==\n'
    # The names hold no spaces.
    # shellcheck disable=SC2086
    loadgen show $reports
    for host in "$@"; do
        # A server that has ended already does not wait at the other end.
        timeout 2 sh -c ': >"$1"' sh "/over/$host" || true
    done
    return "$status"
}

"$@"
