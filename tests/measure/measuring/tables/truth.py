"""The table of the truth tests: the percentiles that loadgen reports of servers with known behaviour, and the true ones.
The tests write its rows (tests/tests/blackbox/truth)."""

import os
import subprocess
import tempfile
from pathlib import Path

from measuring.failure import Failure
from measuring.measurement import Measurement
from measuring.subjects import ROOT
from measuring.table import Table, markdown, read_markdown

SECONDS_MAX = 1800
HEADERS = ["server", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms", "verdict"]


def truth(_):
    """Lower bounds of the true response times, and the reported ones. Builds and runs the truth tests (debug build)."""
    with tempfile.TemporaryDirectory() as folder:
        rows_file = Path(folder) / "rows.md"
        command = ["cargo", "test", "--locked", "-p", "tests", "--test", "blackbox", "--", "truth"]
        environment = {**os.environ, "TRUTH_TABLE": str(rows_file)}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS_MAX
        )
        if result.returncode != 0:
            raise Failure(f"the truth tests failed: {result.stdout[-2000:]}")
        rows = read_markdown(markdown(HEADERS, []) + "\n" + rows_file.read_text())[1]
    conditions = "true response time (lower bound) / reported response time; debug build; server and load share the CPUs"
    return Measurement(rows, Table(conditions, HEADERS, sorted(rows)))
