#!/usr/bin/env python3
"""What a load from many generators takes, from the measured cost of one. docs/scale.md explains the figures.

    docs/scale.py                                        1,000 generators, 10 million clients, 5 million requests/s
    docs/scale.py --generators 10 --clients 100000 --rate 100000

Needs nothing but Python. The same seed prints the same table.
"""

import argparse
import random
import statistics

MIB, GIB = 1024**2, 1024**3

# Measured with this project. The source of each figure is in docs/scale.md.
CPU_US_PER_REQUEST = 94.0  # at 5,000 requests/s, where each request wakes the load thread
PROCESS_BYTES = 21 * MIB
CLIENT_BYTES = 430
SOCKET_BYTES = 3_200
RESULT_BYTES, INTERVAL_BYTES = 7_000, 1_900
MERGE_S_PER_INTERVAL = 0.00016
MERGE_BYTES_PER_INTERVAL, MERGE_BYTES_PER_RESULT = 23_000, 96 * 1024

# Defaults of others.
PORTS = 60_999 - 32_768 + 1  # net.ipv4.ip_local_port_range
CONNTRACK_MAX = 262_144  # net.netfilter.nf_conntrack_max with 4 GiB of memory and more
LOG_LIMIT_BYTES = 10 * MIB  # containerLogMaxSize of a kubelet

DRAWS = 2_000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generators", type=int, default=1_000, metavar="N", help="[%(default)s]")
    parser.add_argument("--clients", type=int, default=10_000_000, metavar="N", help="of all generators [%(default)s]")
    parser.add_argument("--rate", type=int, default=5_000_000, metavar="N", help="requests per second of all [%(default)s]")
    parser.add_argument("--seconds", type=int, default=600, metavar="N", help="length of the window [%(default)s]")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="length of an interval [%(default)s]")
    parser.add_argument("--clock-error", type=float, default=0.001, metavar="S", help="of each machine, at most [%(default)s]")
    parser.add_argument("--failure", type=float, default=0.001, metavar="P", help="probability that a part fails [%(default)s]")
    parser.add_argument("--stagger", type=float, default=2.0, metavar="S", help="between the first start and the last [%(default)s]")
    parser.add_argument("--round", type=float, default=60.0, metavar="S", help="of --start-at +D/ROUND [%(default)s]")
    options = parser.parse_args()
    rows = table(options)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def table(options):
    count = options.generators
    clients, rate = options.clients / count, options.rate / count
    intervals = options.seconds / options.interval
    cpus = rate * CPU_US_PER_REQUEST / 1e6
    memory = PROCESS_BYTES + clients * (CLIENT_BYTES + SOCKET_BYTES)
    result = RESULT_BYTES + intervals * INTERVAL_BYTES
    merge_s = count * intervals * MERGE_S_PER_INTERVAL
    merge_bytes = count * MERGE_BYTES_PER_RESULT + intervals * MERGE_BYTES_PER_INTERVAL
    complete = (1 - options.failure) ** count
    boundary = min(options.stagger / options.round, 1)
    rows = [["what", "each generator", "all of them", "limit", "used"]]

    def add(what, each, everyone, limit, share):
        used = "" if share is None else f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"
        rows.append([what, each, everyone, limit, used])

    add("clients", f"{clients:,.0f}", f"{options.clients:,}", f"{PORTS:,} ports for each source address and target", clients / PORTS)
    add("connections tracked where the server is", "", f"{options.clients:,}", f"{CONNTRACK_MAX:,} by default", options.clients / CONNTRACK_MAX)
    add("CPUs of the generators", f"{cpus:.2f}", f"{cpus * count:,.0f}", "1 load thread on 1 CPU", cpus)
    add("memory of the generators", size(memory), size(memory * count), "", None)
    add("socket memory where the server is", "", size(options.clients * SOCKET_BYTES), "", None)
    add("results", size(result), size(result * count), f"{size(LOG_LIMIT_BYTES)} of log for each container", result / LOG_LIMIT_BYTES)
    add("memory of the merge", "", size(merge_bytes), "", None)
    add("time of the merge", "", f"{merge_s:,.1f} s", f"{options.seconds} s of load", merge_s / options.seconds)
    spread = start_spread(count, options.clock_error)
    bound = 0.05 * options.seconds
    add("spread of the starts, by clocks", "", f"{spread * 1e3:.2f} ms", f"{bound:.1f} s (windows_apart)", spread / bound)
    add("probability that every part arrives", f"{1 - options.failure:.2%}", f"{complete:.0%}", "", None)
    add("probability that rounded starts differ", "", f"{boundary:.0%}", "0% with a told time", None)
    return rows


def start_spread(count, error_s):
    """The median distance between the first clock and the last, if each is off by at most `error_s` (uniform)."""
    chance = random.Random(1)
    spreads = []
    for _ in range(max(DRAWS * 100 // max(count, 100), 20)):
        offsets = [chance.uniform(-error_s, error_s) for _ in range(count)]
        spreads.append(max(offsets) - min(offsets))
    return statistics.median(spreads)


def size(count):
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if count >= factor:
            return f"{count / factor:,.1f} {unit}"
    return f"{count:,.0f} B"


if __name__ == "__main__":
    main()
