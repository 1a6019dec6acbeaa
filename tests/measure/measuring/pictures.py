"""Draws the pictures in docs that belong to a table."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring.subjects import ROOT

SCRIPTS = {"sweep": "docs/sweep.py", "stopped": "docs/stall.py"}
# The Python of the tests, which has HdrHistogram's library.
PYTHON = ROOT / "target/python/bin/python3"


def draw(table, report, picture):
    """Draws the picture of a loadgen report. Says on stderr why, if that fails: matplotlib may not be installed."""
    script = ROOT / SCRIPTS[table]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        file.write_text(json.dumps(report))
        for python in [sys.executable, *([str(PYTHON)] if PYTHON.exists() else [])]:
            result = subprocess.run([python, script, file, picture], capture_output=True, text=True)
            if result.returncode == 0:
                print(f"wrote {picture}", file=sys.stderr)
                return
    lines = result.stderr.strip().splitlines() or ["unknown error"]
    print(f"measure.py: {picture} is not drawn: {lines[-1]}", file=sys.stderr)
