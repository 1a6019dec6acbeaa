"""loadgen beside the other load generators of a service: their CPU time, their highest rate, and what they report of a
stopped server."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from measuring.failure import Failure
from measuring.loadgen import INVALID, VALID, divide_cpus, in_ms
from measuring.measurement import Measurement
from measuring.processes import Server, run_measured
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import PEERS, compile_with, select
from measuring.table import Code, Table, number, ratio

SLACK_SECONDS = 30
VALUE_BYTES = 64


@dataclass(frozen=True)
class Service:
    """A real server. `command` makes its command from a port and a folder; `prepare` fills it with data."""

    title: str
    request: str
    command: object
    prepare: object
    # The bytes of a request and how its reply ends, for the minimum.
    message: str
    reply_end: str


@dataclass(frozen=True)
class Run:
    """What a generator is asked for. Without a rate, it sends as fast as it can. A generator that takes a number of requests
    instead of a time gets `requests`."""

    service: Service
    port: int
    connections: int
    seconds: int
    rate: int
    requests: int


@dataclass(frozen=True)
class Generator:
    """A load generator. `flags` makes its arguments. `read` returns its requests and the percentiles that it reports in ms.
    `has_rate`: it can send at a rate."""

    name: str
    title: str
    program: str
    version: list
    flags: object
    read: object
    has_rate: bool = False


def services(options):
    """The generators of one service, each in a closed loop, and then with a server that is stopped once."""
    service = SERVICES[options.service]
    server_cpus, load_cpus, shared = divide_cpus(1)
    known = {generator.name: generator for generator in GENERATORS[options.service]}
    wanted = select(list(known), options)
    subjects = {name: known[name] for name in wanted if is_installed(known[name], options)}
    commands = {}

    def measure(generator):
        closed, cpu_s = run(generator, service, options, server_cpus, load_cpus, requests=options.rate * options.seconds)
        rate = closed["requests"] / closed.get("seconds", options.seconds)
        figures = {"cpu_us": cpu_s * 1e6 / closed["requests"], "rate_per_s": rate}
        requests = int((options.rate if generator.has_rate else rate) * options.seconds)
        arguments = {"requests": requests, "rate": options.rate if generator.has_rate else 0, "stop_ms": options.stall}
        stalled, _ = run(generator, service, options, server_cpus, load_cpus, commands=commands, **arguments)
        figures |= {f"stall_{name}": stalled.get(name) for name in FIGURES}
        figures["verdict"] = stalled.get("verdict")
        return figures

    samples = in_turn(subjects, measure, options.rounds)
    reference = spread(samples[next(iter(subjects))], "cpu_us")
    exact = [number(max(options.stall - beyond * options.seconds * 1000, 0), 1) for beyond in (0.01, 0.001, 0)]
    rows = [["exact response times of an open loop", None, None, None, None, None, *exact, None, "computed"]]
    for name, generator in subjects.items():
        cpu_us, rate = spread(samples[name], "cpu_us"), spread(samples[name], "rate_per_s")
        row = [generator.title, version_of(generator, options), Code(commands.get(name, ""))]
        row += [number(cpu_us and cpu_us.median, 2), ratio(cpu_us, reference), number(rate and rate.median, 0)]
        stalls = [spread(samples[name], f"stall_{figure}") for figure in FIGURES]
        verdicts = sorted({sample["verdict"] for sample in samples[name] if sample.get("verdict")})
        row += [number(stall and stall.median, 1) for stall in stalls]
        rows.append([*row, "; ".join(verdicts) or None, "; ".join(failures(samples[name]))])
    conditions = f"{service.title}: {service.request}; {options.connections} connections, one load thread; CPU time and rate in a "
    conditions += f"closed loop; then the server is stopped (SIGSTOP) for {options.stall} ms in the middle of {options.seconds} s, at "
    conditions += f"{options.rate:,} requests/s if the generator has an option for it; medians of {rounds_of(options)}"
    conditions += "; server and load on the same CPU" if shared else ""
    headers = ["generator", "version", "command", "µs of CPU per request", "ratio", "per s", *(f"stall: {name} ms" for name in FIGURES)]
    return Measurement(samples, Table(conditions, [*headers, "verdict", "remarks"], rows), ())


FIGURES = ["p99", "p99.9", "max"]


def run(generator, service, options, server_cpus, load_cpus, requests, rate=0, stop_ms=0, commands=None):
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        with Server(service.command(port, Path(folder)), server_cpus, port=port) as server:
            service.prepare(port)
            asked = Run(service, port, options.connections, options.seconds, rate, requests)
            arguments = [str(argument) for argument in generator.flags(asked)]
            stop = threading.Timer(options.seconds / 2, stop_for, [server.process.pid, stop_ms])
            if stop_ms:
                stop.start()
            try:
                command = [program(generator, options), *arguments]
                out, log, code, cpu_s = run_measured(command, load_cpus, 3 * options.seconds + SLACK_SECONDS)
            finally:
                stop.cancel()
            if code != 0 and not (generator.program == "loadgen" and code in (VALID, INVALID)):
                raise Failure(f"the generator ended with {code}: {(log or out)[-300:]}")
            if commands is not None:
                text = " ".join([generator.program, *arguments])
                commands[generator.name] = text.replace(str(port), "PORT")
            figures = generator.read(out)
            if not figures.get("requests"):
                raise Failure("no request got a reply")
            return figures, cpu_s


def stop_for(pid, milliseconds):
    os.kill(pid, signal.SIGSTOP)
    threading.Event().wait(milliseconds / 1000)
    os.kill(pid, signal.SIGCONT)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def ask(port, request, end):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request.encode())
        reply = b""
        while not reply.endswith(end.encode()):
            part = connection.recv(4096)
            if not part:
                raise Failure(f"the service closed the connection after {reply!r}")
            reply += part
        return len(reply)


def redis_command(port, folder):
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]


def memcached_command(port, _folder):
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "1", "-u", "nobody"]


def nginx_command(port, folder):
    (folder / "html").mkdir()
    (folder / "html/index.html").write_text("x" * VALUE_BYTES)
    paths = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\nevents {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths}\n"
        f"server {{ listen 127.0.0.1:{port}; root {folder}/html; }} }}\n"
    )
    return ["nginx", "-c", str(folder / "nginx.conf"), "-e", "stderr"]


VALUE = "x" * VALUE_BYTES
SERVICES = {
    "redis": Service(
        "redis-server",
        f"GET of {VALUE_BYTES} bytes",
        redis_command,
        lambda port: ask(port, f"SET key {VALUE}\r\n", "+OK\r\n"),
        "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n",
        f"{VALUE}\r\n",
    ),
    "memcached": Service(
        "memcached",
        f"get of {VALUE_BYTES} bytes",
        memcached_command,
        lambda port: ask(port, f"set key 0 0 {VALUE_BYTES}\r\n{VALUE}\r\n", "STORED\r\n"),
        "get key\r\n",
        "END\r\n",
    ),
    "nginx": Service(
        "nginx",
        f"GET of {VALUE_BYTES} bytes over kept connections",
        nginx_command,
        lambda port: None,
        "GET /index.html HTTP/1.1\r\nHost: localhost\r\n\r\n",
        VALUE,
    ),
}


def minimum(run):
    service = run.service
    reply_bytes = ask(run.port, service.message, service.reply_end)
    request = service.message.replace("\r", "\\r").replace("\n", "\\n")
    return ["127.0.0.1", run.port, run.connections, reply_bytes, run.seconds, request]


def ours(protocol, message):
    def flags(run):
        rate = ["-r", run.rate] if run.rate else []
        flags = ["-c", run.connections, "-t", 1, "-w", "0s", "-d", f"{run.seconds}s", "-q", "--format", "json", *rate]
        return ["run", f"127.0.0.1:{run.port}", "--protocol", protocol, "--message", message, *flags]

    return Generator("loadgen", "loadgen", "loadgen", ["loadgen", "--version"], flags, read_loadgen, has_rate=True)


def read_loadgen(out):
    report = json.loads(out)
    response, verdict = report["latency_ns"]["response"], report["verdict"]
    figures = {name: in_ms(response[name.replace(".", "_")]) for name in FIGURES}
    codes = [reason["code"] for reason in verdict["reasons"]]
    if report["requests"]["failed"]:
        raise Failure(f"{report['requests']['failed']} requests failed")
    return {**figures, "requests": report["requests"]["completed"], "verdict": ", ".join([verdict["status"], *codes])}


def redis_benchmark(run):
    flags = ["-p", run.port, "-c", run.connections, "-n", max(run.requests, run.connections), "--precision", 3]
    return [*flags, "GET", "key"]


def read_redis_benchmark(out):
    """It lists the share of requests for each time that occurred."""
    done = re.search(r"([\d.]+) requests completed in ([\d.]+) seconds", out)
    shares = [(float(share), float(ms)) for share, ms in re.findall(r"^([\d.]+)% <= ([\d.]+) milliseconds", out, re.M)]
    summary = re.search(r"^ +avg +min +p50 +p95 +p99 +max\n +(.*)$", out, re.M)
    times = [float(word) for word in summary.group(1).split()] if summary else [None] * 6
    above = [ms for share, ms in shares if share >= 99.9]
    figures = {"p99": times[4], "p99.9": min(above, default=None), "max": times[5]}
    return {**figures, "requests": int(float(done.group(1))), "seconds": float(done.group(2))} if done else {}


def memcaslap(run):
    configuration = Path(tempfile.gettempdir()) / f"memcaslap-{os.getuid()}.cnf"
    configuration.write_text("key\n16 16 1\nvalue\n64 64 1\ncmd\n0 0\n1 1\n")
    return ["-s", f"127.0.0.1:{run.port}", "-T", 1, "-c", run.connections, "-t", f"{run.seconds}s", "-F", configuration]


def read_memcaslap(out):
    """Its percentiles are powers of two of microseconds, so they are left out; the maximum is in microseconds."""
    done = re.search(r"Run time: ([\d.]+)s Ops: (\d+)", out)
    longest = re.search(r"Total Statistics \(\d+ events\)\s+Min:\s+\d+\s+Max:\s+(\d+)", out)
    figures = {"max": int(longest.group(1)) / 1e3 if longest else None}
    return {**figures, "requests": int(done.group(2)), "seconds": float(done.group(1))} if done else {}


def url(run):
    return f"http://127.0.0.1:{run.port}/index.html"


def wrk(run):
    return ["-t", 1, "-c", run.connections, "-d", f"{run.seconds}s", "--latency", url(run)]


def read_wrk(out):
    done = re.search(r"(\d+) requests in ([\d.]+)s", out)
    percentiles = {f"p{float(share):g}": in_ms_of(*time) for share, *time in re.findall(r"^ +([\d.]+)% +([\d.]+)(us|ms|s)\b", out, re.M)}
    longest = re.search(r"Latency +\S+ +\S+ +([\d.]+)(us|ms|s)\b", out)
    percentiles["max"] = in_ms_of(*longest.groups()) if longest else None
    return {**percentiles, "requests": int(done.group(1)), "seconds": float(done.group(2))} if done else {}


def ab(run):
    # -t also limits the run to 50,000 requests, unless -n follows it.
    return ["-q", "-k", "-c", run.connections, "-t", run.seconds, "-n", 100_000_000, url(run)]


def read_ab(out):
    done = re.search(r"Complete requests: +(\d+)", out)
    figures = {f"p{share}": float(ms) for share, ms in re.findall(r"^ +(\d+)% +(\d+)", out, re.M)}
    figures["max"] = figures.get("p100")
    return {**figures, "requests": int(done.group(1))} if done else {}


def hey(run):
    rate = ["-q", run.rate // run.connections] if run.rate else []
    return ["-z", f"{run.seconds}s", "-c", run.connections, *rate, url(run)]


def read_hey(out):
    done = re.search(r"\[200\]\s+(\d+) responses", out)
    figures = {f"p{share}": float(s) * 1e3 for share, s in re.findall(r"^ +(\d+)%+ in ([\d.]+) secs", out, re.M)}
    longest = re.search(r"Slowest:\s+([\d.]+) secs", out)
    figures["max"] = float(longest.group(1)) * 1e3 if longest else None
    return {**figures, "requests": int(done.group(1))} if done else {}


def oha(run):
    rate = ["-q", run.rate, "--latency-correction"] if run.rate else []
    return ["-z", f"{run.seconds}s", "-c", run.connections, *rate, "--no-tui", "--output-format", "json", url(run)]


def read_oha(out):
    report = json.loads(out)
    figures = {name: s * 1e3 for name, s in report["latencyPercentiles"].items() if s is not None}
    figures["max"] = report["summary"]["slowest"] * 1e3
    return {**figures, "requests": sum(report["statusCodeDistribution"].values())}


def h2load(run):
    rate = ["--rps", run.rate // run.connections] if run.rate else []
    return ["--h1", "-t", 1, "-c", run.connections, "-D", run.seconds, *rate, url(run)]


def read_h2load(out):
    """It prints the minimum, the maximum, the mean and the standard deviation."""
    done = re.search(r"requests: .*?(\d+) succeeded", out)
    longest = re.search(r"time for request: +[\d.]+(?:us|ms|s) +([\d.]+)(us|ms|s)", out)
    figures = {"max": in_ms_of(*longest.groups()) if longest else None}
    return {**figures, "requests": int(done.group(1))} if done else {}


def in_ms_of(value, unit):
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


# One write and one read for each request, and nothing measured: no generator of this kind can need less.
MINIMUM = Generator("minimum", "C epoll, nothing measured", "epoll_client", ["cc", "--version"], minimum, json.loads)

# memtier_benchmark, vegeta, fortio and k6 are absent, because they are not packaged in Debian 12, crates.io or PyPI. memcslap is
# absent, because it reports no response times.
GENERATORS = {
    "redis": [
        ours("resp", "GET key"),
        Generator(
            "redis-benchmark",
            "redis-benchmark",
            "redis-benchmark",
            ["redis-benchmark", "--version"],
            redis_benchmark,
            read_redis_benchmark,
        ),
        MINIMUM,
    ],
    "memcached": [
        ours("memcached", "get key"),
        Generator("memcaslap", "memcaslap", "memcaslap", ["memcaslap", "-V"], memcaslap, read_memcaslap),
        MINIMUM,
    ],
    "nginx": [
        ours("http", "GET /index.html"),
        Generator("wrk", "wrk", "wrk", ["wrk", "-v"], wrk, read_wrk),
        Generator("ab", "ab", "ab", ["ab", "-V"], ab, read_ab),
        Generator("h2load", "h2load", "h2load", ["h2load", "--version"], h2load, read_h2load, has_rate=True),
        Generator("oha", "oha", "oha", ["oha", "--version"], oha, read_oha, has_rate=True),
        Generator("hey", "hey", "hey", ["dpkg-query", "-W", "hey"], hey, read_hey, has_rate=True),
        MINIMUM,
    ],
}


def program(generator, options):
    if generator is MINIMUM:
        options.build.mkdir(parents=True, exist_ok=True)
        binary, source = options.build / "epoll_client", PEERS / "epoll_client.c"
        compile_with("cc", binary, [source], ["cc", "-O3", "-Wall", "-Wextra", "-o", binary, source])
        return str(binary)
    return str(options.bin / "loadgen") if generator.program == "loadgen" else generator.program


def is_installed(generator, options):
    installed = shutil.which(program(generator, options)) is not None
    if not installed:
        print(f"left out: {generator.name}: '{generator.program}' is not installed", file=sys.stderr)
    return installed


def version_of(generator, options):
    command = [program(generator, options), *generator.version[1:]]
    if generator.version[0] != generator.program:
        command = generator.version
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
    found = re.search(r"\d+(\.\d+)+", result.stdout)
    return found and found.group()
