"""The table of a stopped server: response time, service time and schedule lag of the same requests. docs/stall.sh makes
the run, and docs/stall.py draws the README's picture from it."""

import json
import os
import subprocess

from measuring.failure import Failure
from measuring.loadgen import INVALID, VALID, in_ms
from measuring.measurement import Measurement
from measuring.subjects import ROOT
from measuring.table import Table, number

SECONDS_MAX = 120
FIGURES = ["p50", "p90", "p99", "p99_9", "max"]
TIMES = {"response": "response time", "service": "service time", "schedule_lag": "schedule lag"}


def stopped(options):
    """Percentiles of one run in which the server is stopped for 500 ms."""
    environment = {**os.environ, "BIN": str(options.bin)}
    command = [str(ROOT / "docs/stall.sh")]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX)
    if result.returncode not in (VALID, INVALID):
        raise Failure(f"docs/stall.sh ended with {result.returncode}: {result.stderr[-300:]}")
    report = json.loads(result.stdout)
    rows = []
    for field, title in TIMES.items():
        figures = report["latency_ns"][field]
        rows.append([title, *(number(in_ms(figures[name]), 3) for name in FIGURES)])
    headers = ["time", *(f"{name.replace('_', '.')} ms" for name in FIGURES)]
    conditions = "50 clients, open loop of 5,000/s for 10 s; the server is stopped for 500 ms in the middle"
    return Measurement(report, Table(conditions, headers, rows))
