#!/usr/bin/env python3
"""Measures the server's modes beside the servers of this directory, and loadgen beside other clients.

Each command below makes one table. What is compared is run in turn, round after round, beginning with another one in
each round; printed are the median, the least and the most of the rounds, and the ratio of the medians to the first row.
Server and load are pinned to different CPUs where there are enough. CPU time is user and system time of the whole
process from before the load connects to after its last reply, divided by the replies that the load has checked: no
warm-up is taken off, and accepting the clients is counted in.

Build once, then measure in a network namespace of its own, since a container engine's packet rules cost loopback a
tenth and more:

    cargo build --release && tests/peers/measure.py build
    sudo unshare -n tests/peers/measure.py cpu --markdown

What cannot be had here (no Go, no uvloop, ...) is named on stderr and left out.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path

from measuring import calm, check, echoes, generators, room, stall
from measuring.failure import Failure
from measuring.rounds import write_json
from measuring.subjects import ROOT

TABLES = {
    "cpu": echoes.cpu,
    "churn": echoes.churn,
    "idle": echoes.idle,
    "memory": room.memory,
    "limit": room.limit,
    "many": room.many,
    "loadgen": generators.generators,
    "stall": stall.stall,
    "calm": calm.calm,
}


def main():
    try:
        return act(arguments())
    except KeyboardInterrupt:
        return 130


def act(options):
    # The servers inherit it; most do not raise it by themselves.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # In a namespace of its own, loopback is down at first. Elsewhere it is up, and this is not allowed.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, stderr=subprocess.DEVNULL)
    if options.what == "build":
        return 0 if check.build(options) else 1
    if options.what == "check":
        return 0 if check.check(options) else 1
    try:
        samples, table = TABLES[options.what](options)
    except Failure as failure:
        print(f"measure.py: {failure}", file=sys.stderr)
        return 1
    print(table.text(options.markdown))
    if options.json:
        write_json(options.json, options.what, options, samples)
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", metavar="COMMAND", required=True)
    for name, summary in [("build", "build the peers"), ("check", "build the peers, and talk with each")]:
        add_choice(commands.add_parser(name, help=summary))

    cpu = table(commands, "cpu", "CPU for each echo, and what the clients saw")
    load(cpu)
    cpu.add_argument("--pipeline", type=positive, default=1, metavar="N", help="outstanding requests of a client")
    cpu.add_argument("--rate", type=positive, metavar="R", help="requests a second: an open loop [closed loop]")
    cpu.add_argument("--arrival", choices=["constant", "poisson"], default="poisson", help="of --rate [%(default)s]")
    cpu.add_argument("--threads", type=positive, default=1, metavar="N", help="CPUs of the server [%(default)s]")

    load(table(commands, "churn", "CPU for each connection that does one echo"))

    idle = table(commands, "idle", "CPU for each echo beside idle connections")
    load(idle)
    idle.add_argument("--idle", type=positive, default=15_000, metavar="N", help="idle ones [%(default)s]")

    memory = table(commands, "memory", "memory for each idle connection", rounds=3)
    memory.add_argument("--connections", type=positive, default=10_000, metavar="N", help="[%(default)s]")

    limit = table(commands, "limit", "connections that the open-files limit allows")
    limit.add_argument("--open-files", type=positive, default=20_000, metavar="N", help="the limit [%(default)s]")

    many = table(commands, "many", "100,000 connections by several servers on one port [--only tokio-task]")
    many.set_defaults(only=["tokio-task"])
    many.add_argument("--connections", type=positive, default=100_000, metavar="N", help="[%(default)s]")
    many.add_argument("--servers", type=positive, default=6, metavar="N", help="[%(default)s]")

    load(table(commands, "loadgen", "the load generators' own CPU for each request"))

    still = table(commands, "stall", "what load generators report of a server that stands still once", rounds=3)
    still.add_argument("--seconds", type=positive, default=10, metavar="N", help="of a run [%(default)s]")
    still.add_argument("--connections", type=positive, default=50, metavar="N", help="[%(default)s]")
    still.add_argument("--rate", type=positive, default=5_000, metavar="R", help="requests a second [%(default)s]")
    still.add_argument("--stall", type=positive, default=500, metavar="MS", help="how long it stands [%(default)s]")

    quiet = table(commands, "calm", "whether loadgen's verdict names what is wrong, and nothing else", rounds=20)
    quiet.add_argument("--seconds", type=positive, default=3, metavar="N", help="of a run [%(default)s]")
    quiet.add_argument("--connections", type=positive, default=500, metavar="N", help="busy clients [%(default)s]")
    quiet.add_argument("--rate", type=positive, metavar="R", help="requests a second [half of what the mode does]")
    quiet.add_argument("--bad", action="store_true", help="runs that something is wrong with, instead of calm ones")
    return parser.parse_args()


def table(commands, name, summary, rounds=5):
    parser = commands.add_parser(name, help=summary, description=summary)
    add_choice(parser)
    parser.add_argument("--bin", type=Path, default=ROOT / "target/release", help="where our programs are")
    parser.add_argument("--rounds", type=positive, default=rounds, metavar="N", help="[%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser


def load(parser):
    parser.add_argument("--seconds", type=positive, default=4, metavar="N", help="of a round [%(default)s]")
    parser.add_argument("--connections", type=positive, default=500, metavar="N", help="busy clients [%(default)s]")
    parser.add_argument("--size", type=positive, default=64, metavar="N", help="bytes of a message [%(default)s]")


def add_choice(parser):
    parser.add_argument("--only", type=names, metavar="A,B", help="only these subjects")
    parser.add_argument("--without", type=names, default=[], metavar="A,B", help="all but these")
    parser.add_argument("--build", type=Path, default=ROOT / "target/peers", metavar="DIR", help="for what is compiled")


def names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


if __name__ == "__main__":
    sys.exit(main())
