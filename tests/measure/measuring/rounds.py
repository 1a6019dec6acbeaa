"""Measuring subjects in rounds, and the spread of their samples."""

import statistics
import sys
from dataclasses import dataclass

from measuring.failure import Failure


@dataclass(frozen=True)
class Spread:
    """One figure over all rounds."""

    median: float
    minimum: float
    maximum: float


def in_turn(subjects, measure, rounds):
    """Measures each subject once in each round. Returns a list of samples (dicts) for each subject.

    Each round begins with another subject, so that no subject always follows the same one. A Failure becomes a sample
    with the single entry `failure`."""
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


def rounds_of(options):
    """Words for the number and the length of the rounds."""
    rounds = "1 round" if options.rounds == 1 else f"{options.rounds} rounds in turn"
    return f"{rounds}, {options.seconds} s each" if hasattr(options, "seconds") else rounds


def spread(samples, figure):
    """None if no sample has this figure."""
    values = [sample[figure] for sample in samples if sample.get(figure) is not None]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def failures(samples):
    return sorted({sample["failure"] for sample in samples if "failure" in sample})


def short(sample):
    known = ((name, value) for name, value in sample.items() if value not in (None, [], ""))
    return ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in known)
