"""The command line of measure.py."""

import argparse
import re
from pathlib import Path

from measuring.results import RESULTS
from measuring.subjects import ROOT

BIN = ROOT / "target/release"
PEERS_BUILD = ROOT / "target/peers"
PEERS = ["all", "main", "none"]


def parser(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="table", metavar="COMMAND", required=True)
    for name, summary in [("build", "build the peers"), ("check", "build the peers, and check the replies of each")]:
        add_selection(commands.add_parser(name, help=summary, description=summary))
    add_all(commands)
    summary = "rewrite the short tables in BENCHMARKING.md from docs/results"
    commands.add_parser("summary", help=summary, description=summary)

    cpu = add_table(commands, "cpu", "CPU for each echo, with the rate and the response times")
    add_load(cpu)
    variant(cpu, "--pipeline", type=positive, default=1, metavar="N", help="outstanding requests of each client")
    variant(cpu, "--rate", type=positive, metavar="R", help="requests per second: an open loop [closed loop]")
    cpu.add_argument("--arrival", choices=["constant", "poisson"], default="poisson", help="with --rate [%(default)s]")
    variant(cpu, "--threads", type=positive, default=1, metavar="N", help="CPUs of the server [%(default)s]")

    add_load(add_table(commands, "churn", "CPU for each connection that makes one echo"))

    idle = add_table(commands, "idle", "CPU for each echo beside idle connections")
    add_load(idle)
    variant(idle, "--idle", type=positive, default=15_000, metavar="N", help="idle connections [%(default)s]")

    memory = add_table(commands, "memory", "memory for each idle connection", rounds=3)
    variant(memory, "--connections", type=positive, default=10_000, metavar="N", help="[%(default)s]")

    limit = add_table(commands, "limit", "connections within an open-files limit", rounds=None)
    variant(limit, "--open-files", type=positive, default=20_000, metavar="N", help="the limit [%(default)s]")

    many = add_table(commands, "many", "100,000 connections to several servers on one port", rounds=None, only=["tokio-task"])
    variant(many, "--connections", type=positive, default=100_000, metavar="N", help="[%(default)s]")
    variant(many, "--servers", type=positive, default=6, metavar="N", help="[%(default)s]")

    add_load(add_table(commands, "loadgen", "the load generators' own CPU for each request"))

    lag = add_table(commands, "lag", "how late loadgen sends its requests in an open loop", rounds=5)
    add_load(lag, seconds=10, size=None)
    lag.add_argument("--before", type=Path, metavar="DIR", help="folder of an earlier build, to compare with")
    variant(lag, "--rate", type=positive, default=20_000, metavar="R", help="requests per second [%(default)s]")

    several = add_table(commands, "parts", "one load from several generators beside one", rounds=3)
    add_load(several, seconds=10, size=None)
    variant(several, "--rate", type=positive, default=2_000, metavar="R", help="requests per second of all [%(default)s]")
    several.add_argument("--parts", type=positives, default=[1, 4, 20, 100], metavar="N,N", help="numbers of generators [1,4,20,100]")

    merge = add_table(commands, "merge", "time and memory of 'loadgen merge' for many large results", rounds=1)
    merge.set_defaults(peers="none")
    merge.add_argument("--seconds", type=positive, default=3_600, metavar="N", help="length of each part [%(default)s]")
    merge.add_argument("--parts", type=positives, default=[10, 100, 200], metavar="A,B", help="numbers of parts [10,100,200]")

    timestamps = add_table(commands, "timestamps", "the cost of loadgen's --kernel-timestamps", rounds=7)
    add_load(timestamps, seconds=3)
    variant(timestamps, "--rate", type=positive, default=20_000, metavar="R", help="of the open loop [%(default)s]")

    stopped = add_table(commands, "stopped", "the times of one run whose server is stopped for 500 ms", rounds=None)
    add_picture(stopped)

    stall = add_table(commands, "stall", "the reports of load generators about one stall", rounds=3)
    add_load(stall, seconds=10, connections=50, size=None)
    variant(stall, "--rate", type=positive, default=5_000, metavar="R", help="requests per second [%(default)s]")
    variant(stall, "--stall", type=positive, default=500, metavar="MS", help="length of the stall [%(default)s]")

    services = add_table(commands, "services", "loadgen beside the load generators of a real service", rounds=3)
    variant(services, "--service", choices=["redis", "memcached", "nginx"], required=True, help="the service")
    add_load(services, seconds=10, connections=50, size=None)
    variant(services, "--rate", type=positive, default=5_000, metavar="R", help="requests per second at the stall [%(default)s]")
    variant(services, "--stall", type=positive, default=300, metavar="MS", help="length of the stall [%(default)s]")

    verdicts = add_table(commands, "verdicts", "false alarms and misses of loadgen's verdict", rounds=20)
    add_load(verdicts, seconds=3, size=None)
    variant(verdicts, "--rate", type=positive, metavar="R", help="requests per second [half of the mode's capacity]")
    variant(verdicts, "--faulty", action="store_true", default=False, help="runs with a known fault instead")

    restarts = add_table(commands, "restarts", "requests lost while each mode is replaced under load", rounds=None)
    restarts.set_defaults(peers="none")
    restarts.add_argument("--restarts", type=positive, default=50, metavar="N", help="in each way [%(default)s]")
    variant(restarts, "--rate", type=positive, default=4_000, metavar="R", help="new connections per second [%(default)s]")

    add_table(commands, "truth", "reported and true response times, from the truth tests", rounds=None)

    networks = add_table(commands, "networks", "what a network injects, and what loadgen reports of it", rounds=3)
    networks.add_argument("--seconds", type=positive, default=3, metavar="N", help="length of each run [%(default)s]")

    sweep = add_table(commands, "sweep", "load curve and capacity of each mode", rounds=3)
    sweep.add_argument("--seconds", type=positive, default=2, metavar="N", help="length of each run [%(default)s]")
    variant(sweep, "--work", required=True, metavar="KIND:TIME", help="work of each request: sleep:1ms, cpu:50us")
    sweep.add_argument("--slo", default="p99<20ms", help="[%(default)s]")
    sweep.add_argument("--rates", default="500..", metavar="LEVELS", help="[%(default)s]")
    sweep.add_argument("--factor", type=float, default=1.414, metavar="F", help="step of the rates [%(default)s]")
    add_picture(sweep)

    soak = add_table(commands, "soak", "an hour of each mode, and of loadgen: memory, descriptors, threads, tail", rounds=None)
    soak.set_defaults(peers="none")
    add_load(soak, seconds=3_600, connections=200, size=None)
    soak.add_argument("--rate", type=positive, metavar="R", help="requests per second of each part [half of its capacity]")
    soak.add_argument("--at-once", action="store_true", help="all parts at the same time, with a share of the load each")
    return parser


def result_name(options):
    """The name of the table's file in docs/results: the command, and each option that makes another table."""
    if options.name:
        return options.name
    parts = [options.table]
    for name, default in options.variants:
        value = getattr(options, name)
        if value != default:
            parts.append(name if value is True else f"{name}-{value}")
    if options.only != options.only_default or options.without:
        parts.append("subset")
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower())


def add_table(commands, name, summary, rounds=5, only=None):
    parser = commands.add_parser(name, help=summary, description=summary)
    add_selection(parser)
    parser.set_defaults(summary=summary, variants=[], only=only, only_default=only)
    parser.add_argument("--peers", choices=PEERS, default="all", help="which peers to measure, too [%(default)s]")
    parser.add_argument("--bin", type=Path, default=BIN, metavar="DIR", help="folder of our programs [target/release]")
    if rounds:
        parser.add_argument("--rounds", type=positive, default=rounds, metavar="N", help="[%(default)s]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to this file")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--save", action="store_true", help="write the table to the results folder")
    parser.add_argument("--results", type=Path, metavar="DIR", help="the results folder; implies --save [docs/results]")
    parser.add_argument("--name", metavar="NAME", help="file name in it [from the command and its options]")
    return parser


def add_all(commands):
    summary = "take every table of BENCHMARKING.md, write docs/results, and rewrite BENCHMARKING.md and the pictures"
    parser = commands.add_parser("all", help=summary, description=summary)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--list", action="store_true", help="print the commands, and measure nothing")
    add_selection(parser, "tables")
    parser.add_argument("--results", type=Path, metavar="DIR", help="write here, and leave docs and BENCHMARKING.md as is")
    parser.add_argument("--bin", type=Path, default=BIN, metavar="DIR", help="folder of our programs [target/release]")


def add_load(parser, seconds=4, connections=500, size=64):
    parser.add_argument("--seconds", type=positive, default=seconds, metavar="N", help="length of each run [%(default)s]")
    variant(parser, "--connections", type=positive, default=connections, metavar="N", help="busy clients [%(default)s]")
    if size:
        variant(parser, "--size", type=positive, default=size, metavar="N", help="bytes of a message [%(default)s]")


def add_picture(parser):
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the picture of the table (needs matplotlib)")


def add_selection(parser, of="subjects"):
    parser.add_argument("--only", type=names, metavar="A,B", help=f"only these {of}")
    parser.add_argument("--without", type=names, default=[], metavar="A,B", help=f"all {of} but these")
    parser.add_argument("--build", type=Path, default=PEERS_BUILD, metavar="DIR", help="folder of the built peers")


def variant(parser, flag, **settings):
    """Adds an option whose value is part of the name of the table's file."""
    action = parser.add_argument(flag, **settings)
    parser.get_default("variants").append((action.dest, action.default))


def names(text):
    return [name.strip() for name in text.split(",") if name.strip()]


def positives(text):
    return [positive(number) for number in names(text)]


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number
