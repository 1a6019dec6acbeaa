"""The table of the load generators' own CPU time for each request."""

import json
import re
import shutil
import sys
from dataclasses import dataclass

from measuring.failure import Failure
from measuring.loadgen import divide_cpus, run_without_warm_up
from measuring.measurement import Measurement
from measuring.processes import Server, run_measured
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import PEERS, SERVERS, build_peer, compile_with, select
from measuring.table import Code, Table, number, ratio, three

SLACK_SECONDS = 30


@dataclass(frozen=True)
class Generator:
    """A load generator. `run` takes the options, the CPUs and a port. It returns the number of replies and the CPU
    seconds of the whole process. `own_server` is the command of the server that the generator needs, if it cannot load
    any other."""

    name: str
    title: str
    program: str
    run: object
    own_server: list = None


def generator_cpu(options):
    """CPU time of the generator's process for each request. The server is the epoll server in C."""
    server_cpus, load_cpus, _ = divide_cpus(1)
    target = build_peer(SERVERS[0], options.build)
    wanted = select([generator.name for generator in GENERATORS], options)
    subjects = {generator.name: generator for generator in GENERATORS if generator.name in wanted}
    subjects = {name: generator for name, generator in subjects.items() if is_usable(generator, options)}
    if not subjects:
        raise Failure("there is no subject to measure")

    def measure(generator):
        command, port = (generator.own_server, OWN_PORT) if generator.own_server else (target.command, None)
        with Server(command, server_cpus, port=port) as server:
            replies, cpu_s = generator.run(options, load_cpus, server.port)
        if replies == 0:
            raise Failure("no request got a reply")
        return {"cpu_us": cpu_s * 1e6 / replies, "rate_per_s": replies / options.seconds}

    samples = in_turn(subjects, measure, options.rounds)
    reference = spread(samples[next(iter(subjects))], "cpu_us")
    headers = ["client", "µs of CPU per request", "min", "max", "ratio", "per s", "remarks"]
    rows = []
    for name, generator in subjects.items():
        cpu_us, rate = spread(samples[name], "cpu_us"), spread(samples[name], "rate_per_s")
        title = Code(generator.title) if name == "loadgen" else generator.title
        row = [title, *three(cpu_us, 2), ratio(cpu_us, reference), number(rate and rate.median, 0)]
        rows.append([*row, "; ".join(failures(samples[name]))])
    conditions = f"{options.connections:,} clients, {options.size:,} bytes, closed loop, against C epoll"
    conditions += f"; {rounds_of(options)}"
    return Measurement(samples, Table(conditions, headers, rows), ("cc",))


def is_usable(generator, options):
    missing = generator.program and shutil.which(generator.program) is None
    if missing:
        print(f"left out: {generator.name}: '{generator.program}' is not installed", file=sys.stderr)
    elif generator.own_server and options.connections > 1:
        missing = True
        print(f"left out: {generator.name}: it supports only --connections 1", file=sys.stderr)
    return not missing


def c_epoll(options, cpus, port):
    program, source = options.build / "epoll_client", PEERS / "epoll_client.c"
    compile_with("cc", program, [source], ["cc", "-O3", "-Wall", "-Wextra", "-o", program, source])
    count, size, seconds = options.connections, options.size, options.seconds
    out, cpu_s = run(options, cpus, [program, "127.0.0.1", port, count, size, seconds])
    return json.loads(out)["requests"], cpu_s


def ours(options, cpus, port):
    report, cpu_s = run_without_warm_up(options, port, cpus)
    return report["requests"]["completed"], cpu_s


def tcp_echo_benchmark(options, cpus, port):
    flags = ["-a", f"127.0.0.1:{port}", "-c", options.connections, "-l", options.size, "-t", options.seconds]
    out, cpu_s = run(options, cpus, ["tcp-echo-benchmark", *flags])
    return number_in(r"Total: \d+ requests, (\d+) responses", out), cpu_s


def sockperf(options, cpus, port):
    # Its warm-up cannot be switched off, and it does not count the requests of its warm-up.
    flags = ["ping-pong", "--tcp", "-i", "127.0.0.1", "-p", port, "-m", options.size, "-t", options.seconds]
    out, cpu_s = run(options, cpus, ["sockperf", *flags])
    return number_in(r"Total Run\].*ReceivedMessages=(\d+)", out), cpu_s


def iperf(options, cpus, port):
    flags = ["--bounceback", "--bounceback-period", 0, "-l", options.size, "-t", options.seconds]
    out, cpu_s = run(options, cpus, ["iperf", "-c", "127.0.0.1", "-p", port, *flags])
    return number_in(r" (\d+)=[\d.]+/[\d.]+/[\d.]+/[\d.]+ ms", out), cpu_s


def run(options, cpus, command):
    command = [str(word) for word in command]
    out, log, code, cpu_s = run_measured(command, cpus, options.seconds + SLACK_SECONDS)
    if code != 0:
        raise Failure(f"{command[0]} ended with {code}: {log[-300:]}")
    return out, cpu_s


def number_in(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise Failure(f"its output has no number of replies: '{text[-300:]}'")
    return int(found.group(1))


OWN_PORT = 11111
# Ratios are relative to the first one. wrk, ab and hey are absent, because they speak only HTTP; iperf3, nuttcp and
# tcpbench, because they send bulk data without replies.
GENERATORS = [
    Generator("c-epoll-client", "C epoll client", None, c_epoll),
    Generator("loadgen", "loadgen", None, ours),
    Generator("tcp-echo-benchmark", "tcp-echo-benchmark (crates.io)", "tcp-echo-benchmark", tcp_echo_benchmark),
    Generator(
        "sockperf",
        "sockperf ping-pong, its own server",
        "sockperf",
        sockperf,
        ["sockperf", "server", "--tcp", "-i", "127.0.0.1", "-p", str(OWN_PORT)],
    ),
    Generator(
        "iperf",
        "iperf --bounceback, its own server",
        "iperf",
        iperf,
        ["iperf", "-s", "-B", "127.0.0.1", "-p", str(OWN_PORT)],
    ),
]
