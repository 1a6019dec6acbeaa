"""The processes that are measured: their start on given CPUs, their CPU time and memory, and their end."""

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from measuring.failure import Failure

START_SECONDS_MAX = 20
END_SECONDS_MAX = 15
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Server:
    """A running server. It prints its address, unless its `port` is given. It inherits `descriptors`. It ends with the
    block."""

    def __init__(self, command, cpus=None, open_files=None, port=None, descriptors=()):
        self.log = tempfile.TemporaryFile("w+")
        limit = [f"--nofile={open_files}:{open_files}"] if open_files else []
        command = on_cpus(cpus) + (["prlimit", *limit] if limit else []) + command
        out = subprocess.PIPE if port is None else self.log
        # A backtrace would hide the error in the last lines of the log.
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": self.log}
        self.process = subprocess.Popen(command, **streams, env=environment, pass_fds=descriptors)
        try:
            self.port = self.printed_port() if port is None else self.wait_for(port)
        except Failure:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(END_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()

    def printed_port(self):
        line = read_line(self.process.stdout, START_SECONDS_MAX)
        address = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)", line)
        if not address:
            raise Failure(f"the server printed '{line}' instead of its address: {self.end_of_log()}")
        return int(address.group(1))

    def wait_for(self, port):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.is_alive():
            if is_listening(port):
                return port
            time.sleep(0.01)
        raise Failure(f"the server does not listen on port {port}: {self.end_of_log()}")

    def is_alive(self):
        return self.process.poll() is None

    def ends_within(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end_of_log(self):
        self.log.seek(0)
        return " ".join(self.log.read().split())[-300:]

    def cpu_s(self):
        """User and system time of all threads, including ended ones, in steps of a clock tick."""
        self.expect_alive()
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def pss_bytes(self):
        """The proportional set size: each shared page is divided by the number of processes that share it."""
        self.expect_alive()
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE).group(1)) * 1024

    def expect_alive(self):
        if not self.is_alive():
            raise Failure(f"the server has ended: {self.end_of_log()}")


def is_listening(port):
    """Whether a socket listens on the port. Does not connect to it."""
    sockets = Path("/proc/net/tcp").read_text()
    return re.search(rf": 0100007F:{port:04X} 00000000:0000 0A ", sockets) is not None


def on_cpus(cpus):
    return ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []


def run_measured(command, cpus, seconds_max):
    """Runs a program to its end. Returns its output, its log, its exit code, and its CPU time in seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(on_cpus(cpus) + command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        # wait4 returns the CPU time of this child alone. It has no timeout, so an alarm bounds it.
        before = signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(seconds_max)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        log.seek(0)
        return out.read(), log.read().strip(), process.returncode, usage.ru_utime + usage.ru_stime


def read_line(stream, seconds_max):
    """Reads a line of a pipe that has no other reader. Fails after `seconds_max`."""
    ready, _, _ = select.select([stream], [], [], seconds_max)
    if not ready:
        raise Failure(f"the process printed no line for {seconds_max} s")
    return stream.readline().decode().strip()
