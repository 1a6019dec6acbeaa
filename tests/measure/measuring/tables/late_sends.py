"""The table of the schedule lag: how late loadgen sends its requests in an open loop, and what makes it late."""

import statistics
from types import SimpleNamespace

from measuring.loadgen import run
from measuring.measurement import Measurement
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import select
from measuring.table import Code, Table, number

MODE = "event-loop"
PERCENTILES = ["p50", "p90", "p99", "p99_9", "max"]
ONE_INTERVAL = "one interval"


def late_sends(options):
    """Percentiles of the schedule lag. loadgen starts the server, and divides the CPUs between the server and itself."""
    flags = {
        ONE_INTERVAL: ["--interval", f"{options.seconds}s"],
        "-i 1s": ["--interval", "1s"],
        "-i 100ms": ["--interval", "100ms"],
        "-i 100ms --busy-poll": ["--interval", "100ms", "--busy-poll"],
    }
    subjects = {name: (options.bin, flags[name]) for name in select(list(flags), options)}
    if options.before:
        # An earlier build may not know all flags.
        earlier = {f"{name}, before": (options.before, flags[name]) for name in subjects if "--busy-poll" not in flags[name]}
        subjects |= earlier

    def measure(subject):
        folder, interval = subject
        load = ["--connections", options.connections, "--rate", options.rate, "--arrival", "poisson"]
        report, _ = run(SimpleNamespace(bin=folder), options.seconds, None, ["--mode", MODE], *load, *interval)
        lag, response = report["latency_ns"]["schedule_lag"], report["latency_ns"]["response"]
        figures = {name: lag[name] and lag[name] / 1e3 for name in PERCENTILES}
        tail = response["p99_9"] and response["p99_9"] / 1e3
        waited = report["generator"]["cpu_wait_share_max"]
        return {**figures, "response": tail, "waited": waited and waited * 100, "rate_per_s": report["rate"]["achieved_per_s"], "verdict": report["verdict"]["status"]}

    samples = in_turn(subjects, measure, options.rounds)
    rows = []
    for name in subjects:
        of = {figure: spread(samples[name], figure) for figure in ["rate_per_s", *PERCENTILES, "response", "waited"]}
        shown = {figure: number(each and each.median, 0 if figure == "rate_per_s" else 1) for figure, each in of.items()}
        ratios = [paired(samples[name], samples.get(ONE_INTERVAL, []), figure) for figure in ("p99_9", "response")]
        row = [Code(name), shown["rate_per_s"], *(shown[figure] for figure in PERCENTILES[:4]), number(ratios[0], 2), shown["max"]]
        row += [shown["response"], number(ratios[1], 2), number(of["waited"] and of["waited"].median, 2)]
        rows.append([*row, "; ".join(failures(samples[name]))])
    headers = ["load", "per s", "p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "ratio", "max µs", "response p99.9 µs", "ratio"]
    headers += ["wait for a CPU %", "remarks"]
    conditions = f"{options.connections:,} clients, open loop of {options.rate:,}/s (poisson), {MODE} that loadgen starts"
    conditions += f"; medians of {rounds_of(options)}; a ratio is the median over the rounds, to the same build with one interval"
    conditions += f" of {options.seconds} s"
    return Measurement(samples, Table(conditions, headers, rows))


def paired(samples, bases, figure):
    """The median of the ratios of two subjects in the same rounds."""
    pairs = [(sample.get(figure), base.get(figure)) for sample, base in zip(samples, bases)]
    ratios = [of / to for of, to in pairs if of and to]
    return statistics.median(ratios) if ratios else None
