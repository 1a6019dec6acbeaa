"""Rounds in turn, and what is made of their samples."""

import json
import platform
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from measuring.failure import Failure


@dataclass(frozen=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    least: float
    most: float


def in_turn(subjects, measure, rounds):
    """One sample (a dict) for each subject and round. The order begins with another subject in each round, so that
    nobody always follows the same one. A Failure is a sample that has nothing but its `failure`."""
    samples = {name: [] for name in subjects}
    names = list(subjects)
    for number in range(rounds):
        start = number % len(names)
        for name in names[start:] + names[:start]:
            try:
                sample = measure(subjects[name])
            except Failure as failure:
                sample = {"failure": str(failure)}
            samples[name].append(sample)
            print(f"round {number + 1}/{rounds} {name}: {short(sample)}", file=sys.stderr, flush=True)
    return samples


def spread(samples, figure):
    """None where no round has that figure."""
    values = [sample[figure] for sample in samples if sample.get(figure) is not None]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def failures(samples):
    return sorted({sample["failure"] for sample in samples if "failure" in sample})


def write_json(path, what, options, samples):
    """Everything that was measured, for those who want to judge for themselves."""
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    content = {"what": what, "options": settings, "machine": machine(), "samples": samples}
    path.write_text(json.dumps(content, indent=1, default=str) + "\n")


def machine():
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = f"{len(model)} x {model[0].partition(':')[2].strip()}" if model else platform.machine()
    return {"cpu": cpu, "kernel": platform.release(), "python": platform.python_version()}


def short(sample):
    known = ((name, value) for name, value in sample.items() if value not in (None, [], ""))
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in known)
