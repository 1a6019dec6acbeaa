"""The table of one stall: the percentiles that load generators report, and the exact ones."""

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass

from measuring.failure import Failure
from measuring.loadgen import INVALID, VALID, divide_cpus, in_ms
from measuring.measurement import Measurement
from measuring.processes import Server, read_line, run_measured
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import HTTP, build_peer, select
from measuring.table import Code, Table, number

FIGURES = ["p50", "p99", "p99.9", "max"]
SLACK_SECONDS = 30
# wrk2 calibrates itself during this time, and discards its samples.
WRK2_CALIBRATION_SECONDS = 10


@dataclass(frozen=True)
class Generator:
    """A load generator. `flags` makes its arguments from the load. `read` makes figures in ms from its output; a missing
    figure is one that it does not report. `version` is a command that prints its version."""

    name: str
    title: str
    program: str
    version: list
    flags: object
    read: object
    before_s: int = 0  # length of the load before its measurement


@dataclass(frozen=True)
class Load:
    """The load that each generator is asked for, as far as its options permit."""

    url: str
    address: str
    message: str
    connections: int
    rate: int
    seconds: int


def stall(options):
    """The report of each generator about the same stall in the middle of its run."""
    server_cpus, load_cpus, shared = divide_cpus(1)
    responder = build_peer(HTTP, options.build).command[0]
    wanted = select([generator.name for generator in GENERATORS], options)
    chosen = {generator.name: generator for generator in GENERATORS if generator.name in wanted}
    subjects = {name: generator for name, generator in chosen.items() if is_installed(generator, options)}
    if not subjects:
        raise Failure("there is no subject to measure")
    commands = {}

    def measure(generator):
        after_ms = (generator.before_s + options.seconds / 2) * 1000
        with Server([responder, "0", str(int(after_ms)), str(options.stall)], server_cpus) as server:
            with tempfile.NamedTemporaryFile() as message:
                load = load_for(options, server.port, message)
                arguments = [str(argument) for argument in generator.flags(load)]
                seconds_max = generator.before_s + options.seconds + SLACK_SECONDS
                command = [program(generator, options), *arguments]
                out, log, code, _ = run_measured(command, load_cpus, seconds_max)
                if code != 0 and not (generator.program == "loadgen" and code in (VALID, INVALID)):
                    raise Failure(f"the generator ended with {code}: {(log or out)[-300:]}")
                commands[generator.name] = shown(generator, arguments, load)
            figures = generator.read(out)
            figures["stalled_ms"] = measured_stall_ms(server)
        return figures

    samples = in_turn(subjects, measure, options.rounds)
    rows = [["exact response times", None, None, *exact_ms(options), None, "computed"]]
    for name, generator in subjects.items():
        row = [generator.title, version_of(generator, options), Code(commands.get(name, ""))]
        row += [number(figure and figure.median, 1) for figure in (spread(samples[name], key) for key in FIGURES)]
        verdicts = sorted({sample["verdict"] for sample in samples[name] if sample.get("verdict")})
        rows.append([*row, "; ".join(verdicts) or None, "; ".join(failures(samples[name]))])
    conditions = f"a stall of {options.stall} ms in the middle of {options.seconds} s, {options.connections} connections, "
    conditions += f"{options.rate:,} requests/s if the generator has an option for it; medians of {rounds_of(options)}"
    conditions += "; server and load on the same CPU" if shared else ""
    headers = ["generator", "version", "command", *(f"{name} ms" for name in FIGURES), "verdict", "remarks"]
    return Measurement(samples, Table(conditions, headers, rows), ("cc",))


def exact_ms(options):
    """Exact percentiles of requests that are due at even intervals. The share `stall / window` of them is due during the
    stall, and each waits for its end. The time to serve the backlog afterwards is neglected."""
    window_ms = options.seconds * 1000
    slowest_ms = [options.stall - beyond * window_ms for beyond in (0.5, 0.01, 0.001, 0)]
    return [number(max(wait_ms, 0), 1) for wait_ms in slowest_ms]


def load_for(options, port, message):
    """loadgen knows no HTTP: a reply is as long as its request. So its request is as long as the response."""
    address = f"127.0.0.1:{port}"
    head = f"GET / HTTP/1.1\r\nHost: {address}\r\nX: "
    fill = response_bytes(port, head + "\r\n\r\n") - len(head) - 4
    if fill < 0:
        raise Failure("the response is shorter than the shortest request")
    message.write(f"{head}{'x' * fill}\r\n\r\n".encode())
    message.flush()
    load = {"connections": options.connections, "rate": options.rate, "seconds": options.seconds}
    return Load(f"http://{address}/", address, message.name, **load)


def response_bytes(port, request):
    """Length of a response. This is the server's first request, so the time to its stall starts here."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        return len(connection.recv(4096))


def measured_stall_ms(server):
    line = read_line(server.process.stdout, 1)
    stall = re.fullmatch(r"stalled for ([\d.]+) ms", line)
    if not stall:
        raise Failure(f"the server printed '{line}' instead of the length of its stall")
    return float(stall.group(1))


def is_installed(generator, options):
    installed = shutil.which(program(generator, options)) is not None
    if not installed:
        print(f"left out: {generator.name}: '{generator.program}' is not installed", file=sys.stderr)
    return installed


def program(generator, options):
    return str(options.bin / "loadgen") if generator.program == "loadgen" else generator.program


def version_of(generator, options):
    command = [program(generator, options), *generator.version[1:]]
    if generator.version[0] != generator.program:
        command = generator.version
    if shutil.which(command[0]) is None:
        return None
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    found = re.search(r"\d+(\.\d+)+", result.stdout)
    return found and found.group()


def shown(generator, arguments, load):
    text = " ".join([generator.program, *arguments])
    for value, name in [(load.url, "URL"), (load.address, "ADDR"), (load.message, "REQUEST")]:
        text = text.replace(value, name)
    return text


def oha(load):
    flags = ["-z", f"{load.seconds}s", "-c", load.connections, "-q", load.rate]
    return [*flags, "--no-tui", "--output-format", "json", load.url]


def loadgen_open(load):
    return [*loadgen_closed(load), "-r", load.rate]


def loadgen_closed(load):
    flags = ["-c", load.connections, "-t", 1, "-w", "0s", "-d", f"{load.seconds}s", "-q", "--format", "json"]
    return ["run", load.address, *flags, "--message", f"@{load.message}", "--expect", "none"]


def read_loadgen(out):
    report = json.loads(out)
    response, verdict = report["latency_ns"]["response"], report["verdict"]
    figures = {name: in_ms(response[name.replace(".", "_")]) for name in FIGURES}
    codes = [reason["code"] for reason in verdict["reasons"]]
    return {**figures, "verdict": ", ".join([verdict["status"], *codes])}


def read_wrk(out):
    """Each percentile has its own line. The maximum is in the line of the thread's latency."""
    percentiles = {share: in_ms_of(*time) for share, *time in re.findall(r"^ +([\d.]+)% +([\d.]+)(us|ms|s|m)\b", out, re.M)}
    longest = re.search(r"Latency +\S+ +\S+ +([\d.]+)(us|ms|s|m)\b", out)
    figures = {f"p{float(share):g}": ms for share, ms in percentiles.items()}
    return expect({**figures, "max": figures.get("p100") or longest and in_ms_of(*longest.groups())})


def read_ab(out):
    figures = {f"p{share}": float(ms) for share, ms in re.findall(r"^ +(\d+)% +(\d+)", out, re.M)}
    return expect({**figures, "max": figures.get("p100")})


def read_hey(out):
    figures = {f"p{share}": float(s) * 1e3 for share, s in re.findall(r"^ +(\d+)%+ in ([\d.]+) secs", out, re.M)}
    longest = re.search(r"Slowest:\s+([\d.]+) secs", out)
    return expect({**figures, "max": longest and float(longest.group(1)) * 1e3})


def read_oha(out):
    report = json.loads(out)
    figures = {name: s * 1e3 for name, s in report["latencyPercentiles"].items() if s is not None}
    return expect({**figures, "max": report["summary"]["slowest"] * 1e3})


def read_h2load(out):
    """It prints the minimum, the maximum, the mean and the standard deviation."""
    longest = re.search(r"time for request: +[\d.]+(?:us|ms|s) +([\d.]+)(us|ms|s)", out)
    return expect({"max": longest and in_ms_of(*longest.groups())})


def in_ms_of(value, unit):
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 60e3}[unit]


def expect(figures):
    if figures.get("max") is None:
        raise Failure("the generator did not print the longest response time")
    return {name: figures.get(name) for name in FIGURES}


OUR_VERSION = ["loadgen", "--version"]
# wrk2 installs itself as `wrk`; rename it to `wrk2`. vegeta, fortio and k6 are absent, because they are not packaged in
# Debian, crates.io or PyPI.
GENERATORS = [
    Generator("loadgen", "loadgen, open loop", "loadgen", OUR_VERSION, loadgen_open, read_loadgen),
    Generator("loadgen-closed", "loadgen, closed loop", "loadgen", OUR_VERSION, loadgen_closed, read_loadgen),
    Generator(
        "wrk2",
        "wrk2",
        "wrk2",
        ["wrk2", "-v"],
        lambda load: ["-t", 1, "-c", load.connections, "-R", load.rate, "--latency"]
        + ["-d", f"{load.seconds + WRK2_CALIBRATION_SECONDS}s", load.url],
        read_wrk,
        WRK2_CALIBRATION_SECONDS,
    ),
    Generator(
        "oha-corrected",
        "oha --latency-correction",
        "oha",
        ["oha", "--version"],
        lambda load: ["--latency-correction", *oha(load)],
        read_oha,
    ),
    Generator("oha", "oha", "oha", ["oha", "--version"], oha, read_oha),
    Generator(
        "hey",
        "hey",
        "hey",
        # hey does not print its version.
        ["dpkg-query", "-W", "hey"],
        lambda load: ["-z", f"{load.seconds}s", "-c", load.connections, "-q", load.rate // load.connections, load.url],
        read_hey,
    ),
    Generator(
        "h2load",
        "h2load",
        "h2load",
        ["h2load", "--version"],
        lambda load: ["--h1", "-t", 1, "-c", load.connections, "-D", load.seconds]
        + ["--rps", load.rate // load.connections, load.url],
        read_h2load,
    ),
    Generator(
        "wrk",
        "wrk",
        "wrk",
        ["wrk", "-v"],
        lambda load: ["-t", 1, "-c", load.connections, "-d", f"{load.seconds}s", "--latency", load.url],
        read_wrk,
    ),
    Generator(
        "ab",
        "ab",
        "ab",
        ["ab", "-V"],
        # -t also limits the run to 50,000 requests, unless -n follows it.
        lambda load: ["-q", "-k", "-c", load.connections, "-t", load.seconds, "-n", 10_000_000, load.url],
        read_ab,
    ),
]
