"""Processes that are measured: started on CPUs of their own, asked for their CPU time and memory, ended."""

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
    """A server that has said where it listens, or one of others that does not say it, and whose port is known. Leaving
    the block ends it."""

    def __init__(self, command, cpus=None, open_files=None, port=None):
        self.log = tempfile.TemporaryFile("w+")
        limit = [f"--nofile={open_files}:{open_files}"] if open_files else []
        command = on_cpus(cpus) + (["prlimit", *limit] if limit else []) + command
        out = subprocess.PIPE if port is None else self.log
        # A backtrace would push the reason out of its last words.
        environment = {**os.environ, "RUST_BACKTRACE": "0"}
        streams = {"stdin": subprocess.DEVNULL, "stdout": out, "stderr": self.log}
        self.process = subprocess.Popen(command, **streams, env=environment)
        try:
            self.port = self.announced_port() if port is None else self.answering(port)
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

    def announced_port(self):
        line = read_line(self.process.stdout, START_SECONDS_MAX)
        address = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)", line)
        if not address:
            raise Failure(f"it did not say where it listens, but '{line}' {self.last_words()}")
        return int(address.group(1))

    def answering(self, port):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline and self.is_alive():
            if listens(port):
                return port
            time.sleep(0.01)
        raise Failure(f"it does not listen on port {port}: {self.last_words()}")

    def is_alive(self):
        return self.process.poll() is None

    def ends_within(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def last_words(self):
        self.log.seek(0)
        return " ".join(self.log.read().split())[-300:]

    def cpu_s(self):
        """User and system time of all its threads, also of those that have ended, in steps of a clock tick."""
        self.expect_alive()
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S

    def pss_bytes(self):
        """Its memory, each shared page divided by those who share it."""
        self.expect_alive()
        rollup = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE).group(1)) * 1024

    def expect_alive(self):
        if not self.is_alive():
            raise Failure(f"the server has ended: {self.last_words()}")


def listens(port):
    """Whether somebody listens there, without connecting."""
    sockets = Path("/proc/net/tcp").read_text()
    return re.search(rf": 0100007F:{port:04X} 00000000:0000 0A ", sockets) is not None


def on_cpus(cpus):
    return ["taskset", "-c", ",".join(map(str, cpus))] if cpus else []


def run_measured(command, cpus, seconds_max):
    """Runs a program to its end: what it printed, its exit code, and all CPU time that it took, in seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(on_cpus(cpus) + command, stdin=subprocess.DEVNULL, stdout=out, stderr=log)
        # wait4 tells the CPU time of this child alone; the alarm bounds it.
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
    """A line of a pipe, or a Failure. The pipe's only reader must be this one line after the other."""
    ready, _, _ = select.select([stream], [], [], seconds_max)
    if not ready:
        raise Failure(f"nothing was said for {seconds_max} s")
    return stream.readline().decode().strip()
