"""The tables of room: memory for each idle connection, and how many connections there can be."""

import resource
import time
from contextlib import ExitStack

from measuring.failure import Failure
from measuring.idle import Idle
from measuring.processes import Server
from measuring.rounds import failures, in_turn, spread
from measuring.subjects import choose
from measuring.table import Table, name_of, number, three

# What a server does after an echo, such as giving memory back, is over by then.
SETTLE_SECONDS = 1
END_SECONDS = 2
# A holder needs a few descriptors for itself.
OWN_FILES = 100


def memory(options):
    """Growth of the server's proportional set size for each idle connection."""
    subjects = choose(options)

    def measure(subject):
        with Server(subject.command) as server:
            with Idle(server.port, 1).expect_all():
                time.sleep(SETTLE_SECONDS)
                before = server.pss_bytes()
                with Idle(server.port, options.connections).expect_all():
                    time.sleep(SETTLE_SECONDS)
                    after = server.pss_bytes()
        return {"bytes": (after - before) / options.connections, "empty_mib": before / (1 << 20)}

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["server", "bytes per idle connection", "least", "most", "MiB without", "remarks"]
    rows = []
    for name, subject in subjects.items():
        empty = spread(samples[name], "empty_mib")
        row = [name_of(subject, options.markdown), *three(spread(samples[name], "bytes"), 0)]
        rows.append([*row, number(empty and empty.median, 1), "; ".join(failures(samples[name]))])
    said = f"{options.connections:,} connections that have each done one echo; {options.rounds} rounds in turn"
    return samples, Table(said, headers, rows)


def limit(options):
    """Connections that are served where the open-files limit is so low."""
    subjects = choose(options)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = min(options.open_files, hard)

    def measure(subject):
        with Server(subject.command, open_files=files) as server:
            # Holders run into the same limit, so each holds half.
            with Idle(server.port, files // 2) as first:
                first.wait()
                with Idle(server.port, files - files // 2, source="127.0.0.2") as second:
                    second.wait()
                    held = first.held + second.held
                    why = first.why or second.why
                    # One that is ending closes its connections before it is gone.
                    state = f"it ended: {server.last_words()}" if server.ends_within(END_SECONDS) else "it lives on"
        return {"held": held, "then": f"{state}; the next one: {why}" if why else state}

    samples = in_turn(subjects, measure, 1)
    rows = []
    for name, subject in subjects.items():
        held = spread(samples[name], "held")
        then = [sample["then"] for sample in samples[name] if "then" in sample] + failures(samples[name])
        rows.append([name_of(subject, options.markdown), number(held and held.median, 0), "; ".join(then)])
    said = f"open files: {files:,} for the server"
    return samples, Table(said, ["server", "connections", "remarks"], rows)


def many(options):
    """Many connections, by several servers on one port; each connection does an echo when it is opened, and another
    one when all are there."""
    subjects = choose(options)
    if not all(subject.ours for subject in subjects.values()):
        raise Failure("only our own server can share its port with others of its kind: use --only with its modes")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if options.connections / options.servers > hard - OWN_FILES:
        raise Failure(f"{options.servers} servers are too few, each may open {hard:,} files: use more --servers")

    def measure(subject):
        with ExitStack() as stack:
            servers = start_on_one_port(subject.command, options.servers, stack)
            before = pss_of(servers)
            started = time.monotonic()
            shares = enumerate(shares_of(options.connections, options.servers), start=1)
            holders = [Idle(servers[0].port, share, source=f"127.0.1.{number}") for number, share in shares]
            for holder in holders:
                stack.enter_context(holder)
            for holder in holders:
                holder.expect_all()
            connected_s = time.monotonic() - started
            time.sleep(SETTLE_SECONDS)
            after = pss_of(servers)
            for holder in holders:
                holder.ask_for_echoes()
            return {
                "held": sum(holder.held for holder in holders),
                "connected_s": connected_s,
                "echoed": sum(holder.echoed() for holder in holders),
                "pss_mib": (after - before) / (1 << 20),
            }

    samples = in_turn(subjects, measure, 1)
    headers = ["server", "connections", "in s", "echoed again", "MiB of memory", "remarks"]
    rows = []
    for name, subject in subjects.items():
        sample = samples[name][0]
        figures = [number(sample.get(key), digits) for key, digits in FIGURES]
        rows.append([name_of(subject, options.markdown), *figures, sample.get("failure", "")])
    said = f"{options.servers} processes on one port, {options.servers} that hold the connections"
    return samples, Table(said, headers, rows)


FIGURES = [("held", 0), ("connected_s", 1), ("echoed", 0), ("pss_mib", 0)]


def start_on_one_port(command, count, stack):
    """The first takes a free port, the others the same one."""
    first = stack.enter_context(Server([*command, "--reuse-port"]))
    again = [f"127.0.0.1:{first.port}" if word == "127.0.0.1:0" else word for word in command]
    others = [stack.enter_context(Server([*again, "--reuse-port"])) for _ in range(count - 1)]
    return [first, *others]


def pss_of(servers):
    return sum(server.pss_bytes() for server in servers)


def shares_of(total, parts):
    return [total // parts + (number < total % parts) for number in range(parts)]
