"""The files in docs/results: one for each table, with everything that is needed to repeat it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from measuring import machine
from measuring.subjects import ROOT
from measuring.table import read_markdown

RESULTS = ROOT / "docs/results"
INTRODUCTION = "tests/measure/measure.py wrote this file; do not edit it."


@dataclass(frozen=True)
class Result:
    """A file of docs/results. `facts` are its lines on command, date, build and machine, by their names."""

    title: str
    facts: dict
    headers: list
    rows: list


def write(folder, name, title, shows, command, begun, seconds, options, measurement):
    """`begun` is the time (UTC) at which the measurement began; `seconds` is how long it took."""
    facts = {
        "command": f"`{command}`",
        "date": f"{begun:%Y-%m-%d %H:%M} UTC; took {seconds:.0f} s",
        "build": machine.build(options.bin),
        "versions": machine.versions(measurement.tools),
        **machine.machine(),
    }
    lines = [f"# {title}", "", f"<!-- {INTRODUCTION} -->", "", shows, ""]
    lines += [f"* **{fact}**: {text}" for fact, text in facts.items() if text]
    lines += ["", measurement.table.markdown()]
    if measurement.output:
        lines += ["", "```text", measurement.output.strip("\n"), "```"]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(folder, name):
    """None if there is no such file."""
    path = folder / f"{name}.md"
    if not path.exists():
        return None
    text = path.read_text()
    title = re.search(r"^# (.*)$", text, re.MULTILINE)
    facts = dict(re.findall(r"^\* \*\*(.+?)\*\*: (.*)$", text, re.MULTILINE))
    headers, rows = read_markdown(text.partition("```")[0])
    return Result(title.group(1) if title else name, facts, headers, rows)


def write_samples(path, options, measurement):
    """All samples as JSON, for further evaluation."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    facts = {**machine.machine(), "build": machine.build(options.bin), "versions": machine.versions(measurement.tools)}
    content = {"table": options.table, "options": settings, **facts, "samples": measurement.samples}
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")
