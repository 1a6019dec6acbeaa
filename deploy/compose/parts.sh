# What the containers of many.yml run.
#
#   parts.sh load                  one part of the load
#   parts.sh merge [ARGUMENT...]   waits for the parts, and merges their results
#
# Compose gives the containers of a service no number. Each takes the first free one: mkdir succeeds for one of them only.
set -eu
cd /parts

load() {
    part=0
    until mkdir "$part" 2>/dev/null; do part=$((part + 1)); done
    hostname >"$part/host"
    # Part 0 decides when the load starts, and, shortly before that, how many parts there are.
    if [ "$part" = 0 ]; then
        start=$(($(date +%s) + LEAD))
        sleep "$((LEAD > 5 ? LEAD - 5 : 1))"
        echo "$(ls -d [0-9]* | wc -l) $start" >told.new
        mv told.new told
    fi
    # Part 0 may have died.
    for _ in $(seq $(((LEAD + 60) * 10))); do
        [ ! -e told ] || break
        sleep 0.1
    done
    [ -e told ] || { echo "part $part: part 0 has not told the start time" >&2; exit 1; }
    read -r parts start <told
    [ "$part" -lt "$parts" ] || { echo "part $part is too late: the load has $parts parts" >&2; exit 1; }
    eval "set -- $LOAD"
    # The merged report has the verdict.
    loadgen run "$TARGET" "$@" --part "$part/$parts" --start-at "@$start" --wait-for-server 5s \
        --quiet --format jsonl --fail-on never --output "$part/result.jsonl" || status=$?
    touch "$part/over"
    exit "${status:-0}"
}

# Whether a part has ended. A container that was killed has a name no longer.
over() { [ -e "$1/over" ] || ! getent hosts "$(cat "$1/host")" >/dev/null; }

merge() {
    for _ in $(seq 600); do
        [ ! -e told ] || break
        sleep 0.2
    done
    [ -e told ] || { echo "no part has started within two minutes" >&2; exit 1; }
    read -r parts start <told
    part=0
    while [ "$part" -lt "$parts" ]; do
        until over "$part"; do sleep 0.2; done
        part=$((part + 1))
    done
    cat /dev/null [0-9]*/result.jsonl 2>/dev/null | loadgen merge --expect-parts "$parts" "$@"
}

"$@"
