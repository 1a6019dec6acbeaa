"""Idle connections, held by processes of their own."""

import subprocess
import sys
from pathlib import Path

from measuring.failure import Failure
from measuring.processes import on_cpus, read_line

HOLDER = Path(__file__).resolve().parent / "holder.py"
HOLD_SECONDS_MAX = 300


class Idle:
    """So many connections that have each done one echo; `held` says how many were served. Leaving the block closes
    them."""

    def __init__(self, port, count, cpus=None, source="127.0.0.1"):
        command = on_cpus(cpus) + [sys.executable, str(HOLDER), str(port), str(count), source]
        self.count, self.held = count, None
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def wait(self):
        """Waits until all are connected, or one was not served."""
        self.held, self.why = self.answer("held")
        return self

    def expect_all(self):
        self.wait()
        if self.held < self.count:
            raise Failure(f"only {self.held:,} of {self.count:,} idle connections were served: {self.why}")
        return self

    def ask_for_echoes(self):
        self.process.stdin.write(b"echo\n")
        self.process.stdin.flush()

    def echoed(self):
        """How many of them did another echo, since that was asked for."""
        return self.answer("echoed")[0]

    def answer(self, verb):
        line = read_line(self.process.stdout, HOLD_SECONDS_MAX)
        word, _, rest = line.partition(" ")
        if word != verb:
            raise Failure(f"the holder of idle connections said '{line}'")
        number, _, why = rest.partition(" ")
        return int(number), why
