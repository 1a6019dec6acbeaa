"""The table of a sweep over rates: the highest rate at which each mode keeps up, and at which it holds an SLO. docs/sweep.py
draws the picture of its curves."""

import json
import subprocess
import tempfile
from pathlib import Path

from measuring.failure import Failure
from measuring.measurement import Measurement
from measuring.subjects import our_modes, select
from measuring.table import Code, Table, number

SECONDS_MAX = 3600
BEYOND = {"above": "≥ ", "below": "≤ ", None: ""}


def sweep(options):
    """A load curve of each mode over rising rates, with a search for the capacity under the SLO."""
    program = options.bin / "loadgen"
    modes = select(list(our_modes(options.bin, 1)), options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.json"
        flags = ["--modes", ",".join(modes), "--work", options.work, "--pin", "--slo", options.slo, "--rates", options.rates]
        flags += ["--factor", options.factor, "--repeats", options.rounds, "--duration", f"{options.seconds}s"]
        run(program, "sweep", *flags, "--timeout", "3s", "--quiet", "--format", "json", "-o", file)
        result = json.loads(file.read_text())
        text = run(program, "show", file)
    rows = [row_of(subject) for subject in result["subjects"]]
    headers = ["server", "keeps up to", "knee", "mean there, ms", f"holds {options.slo} up to", "remarks"]
    conditions = f"rates of {options.rates} in steps of × {options.factor}, {result['plan']['load']['connections']} clients, "
    conditions += f"--work {options.work}; {options.seconds} s for each run; {options.rounds} × each level of the search"
    return Measurement(result, Table(conditions, headers, rows), output=text)


def row_of(subject):
    kept = [point["level"] for point in subject["curve"] if point["keeps_up"]]
    knee, capacity = subject["knee"], subject["capacity"]
    return [
        Code(subject["name"]),
        rate(max(kept, default=None)),
        knee and BEYOND[knee["beyond"]] + rate(knee["level"]),
        knee and number(knee["mean_ns"] / 1e6, 2),
        capacity and bracket(capacity["low"], capacity["high"]),
        subject["failure"] or "",
    ]


def bracket(low, high):
    if low is None or high is None:
        return None if low == high else f"< {rate(high)}" if low is None else f"≥ {rate(low)}"
    return f"{number(low, 0)} – {rate(high)}"


def rate(per_s):
    return None if per_s is None else f"{per_s:,}/s"


def run(*command):
    # 3: no level holds the SLO; 4: the result is invalid.
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS_MAX)
    if result.returncode not in (0, 3, 4):
        raise Failure(f"loadgen ended with {result.returncode}: {result.stderr[-300:]}")
    return result.stdout
