"""The table of the schedule lag: how late loadgen sends its requests in an open loop."""

from measuring.loadgen import in_ms, run
from measuring.measurement import Measurement
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import our_modes, select
from measuring.table import Table, name_of, number, three

FIGURES = ["p50", "p90", "p99", "p99_9", "max"]


def late_sends(options):
    """Percentiles of the schedule lag. loadgen starts the server, and divides the CPUs between the server and itself."""
    modes = our_modes(options.bin, 1)
    subjects = {name: modes[name] for name in select(list(modes), options)}

    def measure(mode):
        load = ["--connections", options.connections, "--rate", options.rate, "--arrival", "poisson"]
        report, _ = run(options, options.seconds, None, ["--mode", mode.name], *load)
        lag = report["latency_ns"]["schedule_lag"]
        figures = {name: lag[name] and in_ms(lag[name]) * 1e3 for name in FIGURES}
        return {**figures, "rate_per_s": report["rate"]["achieved_per_s"], "verdict": report["verdict"]["status"]}

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["server", "per s", "p50 µs", "p90 µs", "p99 µs", "min", "max", "p99.9 µs", "max µs", "remarks"]
    rows = []
    for name, mode in subjects.items():
        rate = spread(samples[name], "rate_per_s")
        p50, p90, p99, p99_9, longest = (spread(samples[name], figure) for figure in FIGURES)
        row = [name_of(mode), number(rate and rate.median, 0), *(number(of and of.median, 1) for of in (p50, p90))]
        row += [*three(p99, 1), *(number(of and of.median, 0) for of in (p99_9, longest))]
        rows.append([*row, "; ".join(failures(samples[name]))])
    conditions = f"{options.connections:,} clients, open loop of {options.rate:,}/s (poisson), a server that loadgen starts"
    conditions += f"; medians of {rounds_of(options)}"
    return Measurement(samples, Table(conditions, headers, rows))
