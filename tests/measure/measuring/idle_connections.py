"""Idle connections, held by a separate process."""

import subprocess
import sys
from pathlib import Path

from measuring.failure import Failure
from measuring.processes import on_cpus, read_line

HOLDER = Path(__file__).resolve().parent / "hold_connections.py"
HOLD_SECONDS_MAX = 300


class IdleConnections:
    """`count` connections that have each made one echo, at the time that `when` names (hold_connections.py). `held` is
    the number that the server has served. They are closed at the end of the block."""

    def __init__(self, port, count, cpus=None, source="127.0.0.1", when="at-once"):
        command = on_cpus(cpus) + [sys.executable, str(HOLDER), str(port), str(count), source, when]
        self.count, self.held, self.error = count, None, None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def wait(self):
        """Waits until all are connected, or the server has not served one."""
        self.held, self.error = self.read_answer("held")
        return self

    def expect_all(self):
        self.wait()
        if self.held < self.count:
            raise Failure(f"only {self.held:,} of {self.count:,} idle connections were served: {self.error}")
        return self

    def request_echoes(self):
        self.process.stdin.write(b"echo\n")
        self.process.stdin.flush()

    def echoed(self):
        """The number of connections that made another echo after request_echoes."""
        return self.read_answer("echoed")[0]

    def read_answer(self, verb):
        line = read_line(self.process.stdout, HOLD_SECONDS_MAX)
        word, _, rest = line.partition(" ")
        if word != verb:
            raise Failure(f"the holder of idle connections printed '{line}'")
        number, _, error = rest.partition(" ")
        return int(number), error
