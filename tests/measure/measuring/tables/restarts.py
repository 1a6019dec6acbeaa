"""Requests that are lost while the server is replaced under load."""

import json
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from measuring.failure import Failure
from measuring.loadgen import INVALID, VALID
from measuring.measurement import Measurement
from measuring.processes import END_SECONDS_MAX, Server
from measuring.rounds import in_turn
from measuring.slow_clients import SlowClients
from measuring.subjects import choose
from measuring.table import Code, Table, number

# Between two restarts.
SETTLE_SECONDS = 0.5
CHURN_CONNECTIONS, STEADY_CONNECTIONS, STEADY_RATE, SLOW_CLIENTS = 200, 50, 1_000, 10


def restarts(options):
    """Each mode is replaced in both ways: by --takeover, and with a socket that outlives the process, as under systemd."""
    modes = choose(options, threads=2)
    subjects = {
        f"{name} {way}": (subject, way) for name, subject in modes.items() for way in ("takeover", "socket")
    }

    def measure(subject):
        return replace_under_load(options, *subject)

    samples = in_turn(subjects, measure, 1)
    headers = ["mode", "way", "restarts", "requests", "lost", "never sent", "longest response (ms)", "remarks"]
    rows = []
    for key, (subject, way) in subjects.items():
        (sample,) = samples[key]
        row = [Code(subject.title), way]
        if "failure" in sample:
            rows.append([*row, None, None, None, None, None, sample["failure"]])
            continue
        figures = [number(sample[name], 0) for name in ("restarts", "requests", "lost", "unsent", "slowest_ms")]
        rows.append([*row, *figures, "; ".join(sample["remarks"])])
    conditions = (
        f"{CHURN_CONNECTIONS} clients that each ask once per connection ({options.rate:,}/s together), {STEADY_CONNECTIONS} "
        f"clients that keep their connections ({STEADY_RATE:,}/s together), and {SLOW_CLIENTS} slow readers of 65 kB, at once"
    )
    return Measurement(samples, Table(conditions, headers, rows))


def replace_under_load(options, subject, way):
    with tempfile.TemporaryDirectory() as folder, Servers(subject.command, way, Path(folder)) as servers:
        churn = ["--connections", CHURN_CONNECTIONS, "--rate", options.rate, "--requests-per-connection", 1]
        steady = ["--connections", STEADY_CONNECTIONS, "--rate", STEADY_RATE]
        with SlowClients(servers.port, SLOW_CLIENTS) as slow:
            loads = [Load(options, servers.port, flags) for flags in (churn, steady)]
            for _ in range(options.restarts):
                time.sleep(SETTLE_SECONDS)
                servers.replace()
            time.sleep(SETTLE_SECONDS)
            churned, steadied = [load.report() for load in loads]
    requests = [report["requests"] for report in (churned, steadied)]
    remarks = sorted(slow.faults)
    # The server half-closes a connection between two requests, which is an error of the connection but loses no request.
    for report in (churned, steadied):
        remarks += [f"{kind}: {count}" for kind, count in report["errors"].items() if count and kind not in ("closed", "unsent")]
    return {
        "restarts": options.restarts,
        "requests": sum(each["completed"] for each in requests) + slow.served,
        "lost": sum(each["failed"] - each["unsent"] for each in requests) + slow.lost,
        # Due while every client waited for the next server, and too late when a client was free.
        "unsent": sum(each["unsent"] for each in requests),
        "slowest_ms": churned["latency_ns"]["response"]["max"] / 1e6 if churned["latency_ns"]["response"]["max"] else None,
        "remarks": remarks,
    }


class Load:
    """A run of loadgen that is ended by a signal."""

    def __init__(self, options, port, flags):
        command = [options.bin / "loadgen", "run", f"127.0.0.1:{port}", "--format", "json", "--quiet"]
        command += ["--warmup", "0s", "--duration", "1h", "--timeout", "20s", "--fail-on", "never", *flags]
        self.out, self.log = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.out, "stderr": self.log}
        self.process = subprocess.Popen([str(word) for word in command], **streams)

    def report(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(END_SECONDS_MAX + 20)
        self.out.seek(0)
        self.log.seek(0)
        if code not in (VALID, INVALID, 128 + signal.SIGINT):
            raise Failure(f"loadgen ended with {code}: {self.log.read()[-300:]}")
        return json.load(self.out)


class Servers:
    """A server that is replaced again and again. `port` stays the same."""

    def __init__(self, command, way, folder):
        self.way, self.ending = way, []
        if way == "takeover":
            # The new process asks for a free port, too, and gets the old one's listener.
            self.command = [*command, "--takeover", str(folder / "takeover")]
            self.listener = None
        else:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
            self.command = command
        self.current = self.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in [*self.ending, self.current]:
            server.end()
        if self.listener:
            self.listener.close()

    @property
    def port(self):
        return self.current.port

    def start(self):
        if self.way == "takeover":
            return Server(self.command)
        return PassedServer(self.command, self.listener)

    def replace(self):
        if self.way == "takeover":
            self.ending = [server for server in self.ending if server.is_alive()]
            before, self.current = self.current, self.start()
            self.ending.append(before)
        else:
            # As `systemctl restart`: the new process starts when the old one has ended.
            self.current.end()
            self.current = self.start()
        if self.current.process.poll() is not None:
            raise Failure(f"the new server has ended: {self.current.end_of_log()}")


class PassedServer(Server):
    """A server that gets a listening socket, as from systemd."""

    def __init__(self, command, listener):
        script = f"exec 3<&{listener.fileno()}; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\""
        descriptors = (listener.fileno(),)
        super().__init__(["sh", "-c", script, "sh", *without_listen(command)], descriptors=descriptors)


def without_listen(command):
    """The command without its address."""
    at = command.index("-l")
    return command[:at] + command[at + 2 :]
