#!/usr/bin/env python3
"""CPU for each echo, measured beside the plain epoll programs in C of this directory.

    tests/peers/measure.py server     our modes and the C server, all loaded by the C client
    tests/peers/measure.py loadgen    our load generator and the C client, both against the C server

Server and load are pinned to different CPUs, and all are run in turn, round after round. What is printed is user and
system time of the measured process divided by its requests: median, least and most of the rounds, and the ratio of
the medians to the C program's. Run it in a network namespace of its own, since a container engine's packet rules cost
loopback a tenth and more:

    cargo build --release && sudo unshare -n tests/peers/measure.py server
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SERVER_CPU, LOAD_CPU = 0, 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["server", "loadgen"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--bin", type=Path, default=ROOT / "target/release", help="where our programs are")
    options = parser.parse_args()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, stderr=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as build:
        peers = {name: compile_peer(name, Path(build)) for name in ["epoll_server", "epoll_client"]}
        subjects = {"server": servers, "loadgen": loads}[options.what](options, peers)
        samples = {name: [] for name in subjects}
        for number in range(options.rounds):
            for name, measure in subjects.items():
                samples[name].append(measure())
                print(f"round {number + 1} {name}: {samples[name][-1] / 1000:.2f} us", file=sys.stderr)
    reference = statistics.median(next(iter(samples.values())))
    print(f"{'us of CPU per request':<28}{'median':>8}{'least':>8}{'most':>8}{'ratio':>8}")
    for name, values in samples.items():
        median = statistics.median(values)
        figures = [f"{value / 1000:8.2f}" for value in (median, min(values), max(values))]
        print(f"{name:<28}{''.join(figures)}{median / reference:8.2f}")


def compile_peer(name, build):
    # -O3, so that the upper-casing is vectorised as ours is.
    subprocess.run(["cc", "-O3", "-o", build / name, HERE / f"{name}.c"], check=True)
    return build / name


def servers(options, peers):
    """The C server first, then each of our modes with one thread: all have one CPU."""
    modes = re.search(r"--mode.*?\[env", help_of(options.bin / "server"), re.DOTALL).group()
    modes = re.findall(r"^ +- ([a-z-]+):", modes, re.MULTILINE)
    ours = [[options.bin / "server", "-l", "127.0.0.1:0", "-t", "1", "-m", mode] for mode in modes]
    commands = {"C epoll": [peers["epoll_server"], "0"]} | dict(zip(modes, ours))
    client = [peers["epoll_client"], "127.0.0.1"]
    tail = [str(options.connections), str(options.size), str(options.seconds)]

    def measure(command):
        with Server(command) as server:
            before = server.cpu_ns()
            load = run(LOAD_CPU, client + [server.port] + tail)
            return (server.cpu_ns() - before) / json.loads(load)["requests"]

    return {name: lambda command=command: measure(command) for name, command in commands.items()}


def loads(options, peers):
    """The C client first, then our load generator with everything switched on."""
    count, size, seconds = str(options.connections), str(options.size), str(options.seconds)

    def c_client(port):
        return json.loads(run(LOAD_CPU, [peers["epoll_client"], "127.0.0.1", port, count, size, seconds]))["cpu_ns_per_request"]

    def ours(port):
        flags = ["-t", "1", "-c", count, "-s", size, "-d", f"{seconds}s", "--format", "json", "--quiet"]
        report = run(LOAD_CPU, [options.bin / "loadgen", "run", f"127.0.0.1:{port}"] + flags)
        return json.loads(report)["generator"]["cpu_ns_per_request"]

    def measure(load):
        with Server([peers["epoll_server"], "0"]) as server:
            return load(server.port)

    return {"C epoll client": lambda: measure(c_client), "loadgen": lambda: measure(ours)}


class Server:
    """A server on a CPU of its own, on a free port that it prints."""

    def __init__(self, command):
        command = ["taskset", "-c", str(SERVER_CPU)] + [str(word) for word in command]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = self.process.stdout.readline().strip().rsplit(":", 1)[1]

    def cpu_ns(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def run(cpu, command):
    command = ["taskset", "-c", str(cpu)] + [str(word) for word in command]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def help_of(program):
    return subprocess.run([program, "--help"], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
