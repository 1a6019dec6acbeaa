"""The tables of connections: memory for each idle connection, and the largest number of connections."""

import resource
import time
from contextlib import ExitStack

from measuring.failure import Failure
from measuring.idle_connections import IdleConnections
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import choose, tools_of
from measuring.table import Table, name_of, number, three

# By then, a server has finished its work after an echo, such as freeing memory.
SETTLE_SECONDS = 1
END_SECONDS = 2
# When an idle connection makes its echo: hold_connections.py.
WAYS = ["at-once", "afterwards"]
# Descriptors that a process needs beside its connections, at most.
OTHER_FILES = 100


def memory(options):
    """Growth of the server's proportional set size for each idle connection, for both moments of its echo."""
    subjects = choose(options)

    def measure(subject):
        sample = {}
        for way in WAYS:
            with Server(subject.command) as server:
                with IdleConnections(server.port, 1).expect_all():
                    time.sleep(SETTLE_SECONDS)
                    before = server.pss_bytes()
                    with IdleConnections(server.port, options.connections, when=way).expect_all():
                        time.sleep(SETTLE_SECONDS)
                        after = server.pss_bytes()
            sample |= {way: (after - before) / options.connections, "empty_mib": before / (1 << 20)}
        return sample

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["server", *[header for way in WAYS for header in (way, "min", "max")], "MiB before", "remarks"]
    rows = []
    for name, subject in subjects.items():
        empty = spread(samples[name], "empty_mib")
        figures = [figure for way in WAYS for figure in three(spread(samples[name], way), 0)]
        row = [name_of(subject), *figures]
        rows.append([*row, number(empty and empty.median, 1), "; ".join(failures(samples[name]))])
    conditions = (
        f"bytes for each of {options.connections:,} connections; at-once: each makes an echo of 64 bytes as soon as it is "
        f"connected; afterwards: all connect, and then each makes an echo of one byte; {rounds_of(options)}"
    )
    return Measurement(samples, Table(conditions, headers, rows), tools_of(subjects))


def limit(options):
    """Connections that are served with a low open-files limit."""
    subjects = choose(options)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = min(options.open_files, hard)

    def measure(subject):
        with Server(subject.command, open_files=files) as server:
            # The limit also applies to each holder, so each holds half.
            with IdleConnections(server.port, files // 2) as first:
                first.wait()
                with IdleConnections(server.port, files - files // 2, source="127.0.0.2") as second:
                    second.wait()
                    held = first.held + second.held
                    error = first.error or second.error
                    # A server that is ending closes its connections before its process has ended.
                    state = f"it ended: {server.end_of_log()}" if server.ends_within(END_SECONDS) else "it keeps running"
        return {"held": held, "then": f"{state}; next connection: {error}" if error else state}

    samples = in_turn(subjects, measure, 1)
    rows = []
    for name, subject in subjects.items():
        held = spread(samples[name], "held")
        then = [sample["then"] for sample in samples[name] if "then" in sample] + failures(samples[name])
        rows.append([name_of(subject), number(held and held.median, 0), "; ".join(then)])
    table = Table(f"the server may open {files:,} files", ["server", "connections", "remarks"], rows)
    return Measurement(samples, table, tools_of(subjects))


def many(options):
    """Many connections, shared by several server processes on one port. Each connection makes an echo when it is opened,
    and another one when all are open."""
    subjects = choose(options)
    if not all(subject.ours for subject in subjects.values()):
        raise Failure("peers cannot share their port: use --only with modes of our server")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if options.connections / options.servers > hard - OTHER_FILES:
        raise Failure(f"each server may open {hard:,} files: use more than {options.servers} --servers")

    def measure(subject):
        with ExitStack() as stack:
            servers = start_on_one_port(subject.command, options.servers, stack)
            before = pss_of(servers)
            started = time.monotonic()
            shares = enumerate(shares_of(options.connections, options.servers), start=1)
            holders = [IdleConnections(servers[0].port, share, source=f"127.0.1.{number}") for number, share in shares]
            for holder in holders:
                stack.enter_context(holder)
            for holder in holders:
                holder.expect_all()
            connected_s = time.monotonic() - started
            time.sleep(SETTLE_SECONDS)
            after = pss_of(servers)
            for holder in holders:
                holder.request_echoes()
            return {
                "held": sum(holder.held for holder in holders),
                "connected_s": connected_s,
                "echoed": sum(holder.echoed() for holder in holders),
                "pss_mib": (after - before) / (1 << 20),
            }

    samples = in_turn(subjects, measure, 1)
    headers = ["server", "connections", "opened in s", "second echoes", "MiB", "remarks"]
    rows = []
    for name, subject in subjects.items():
        sample = samples[name][0]
        figures = [number(sample.get(key), digits) for key, digits in FIGURES]
        rows.append([name_of(subject), *figures, sample.get("failure", "")])
    conditions = f"{options.servers} server processes on one port; {options.servers} client processes"
    return Measurement(samples, Table(conditions, headers, rows))


FIGURES = [("held", 0), ("connected_s", 1), ("echoed", 0), ("pss_mib", 0)]


def start_on_one_port(command, count, stack):
    """The first server chooses a free port, and the others listen on the same one."""
    first = stack.enter_context(Server([*command, "--reuse-port"]))
    again = [f"127.0.0.1:{first.port}" if word == "127.0.0.1:0" else word for word in command]
    others = [stack.enter_context(Server([*again, "--reuse-port"])) for _ in range(count - 1)]
    return [first, *others]


def pss_of(servers):
    return sum(server.pss_bytes() for server in servers)


def shares_of(total, parts):
    return [total // parts + (number < total % parts) for number in range(parts)]
