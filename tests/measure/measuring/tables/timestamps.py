"""The table of --kernel-timestamps: its cost for the load generator, and its effect on the response times."""

from measuring.failure import Failure
from measuring.loadgen import divide_cpus, in_ms, run_without_warm_up
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import our_modes
from measuring.table import Table, number, ratio, three

MODE = "event-loop"


def timestamps(options):
    """CPU time of loadgen for each request, with and without --kernel-timestamps, in a closed and in an open loop."""
    server = our_modes(options.bin, 1)[MODE]
    server_cpus, load_cpus, _ = divide_cpus(1)
    open_loop = ["--rate", options.rate, "--arrival", "poisson"]
    subjects = {
        "closed loop": [],
        "closed loop, --kernel-timestamps": ["--kernel-timestamps"],
        f"open loop of {options.rate:,}/s": open_loop,
        f"open loop of {options.rate:,}/s, --kernel-timestamps": [*open_loop, "--kernel-timestamps"],
    }

    def measure(flags):
        with Server(server.command, server_cpus) as process:
            report, cpu_s = run_without_warm_up(options, process.port, load_cpus, *flags)
        completed = report["requests"]["completed"]
        if completed == 0:
            raise Failure("no request got a reply")
        response = report["latency_ns"]["response"]
        return {"cpu_us": cpu_s * 1e6 / completed, "p50_ms": in_ms(response["p50"]), "p99_ms": in_ms(response["p99"])}

    samples = in_turn(subjects, measure, options.rounds)
    names = list(subjects)
    rows = []
    for name, plain in zip(names, [names[0], names[0], names[2], names[2]]):
        cpu_us, p50, p99 = (spread(samples[name], figure) for figure in ("cpu_us", "p50_ms", "p99_ms"))
        row = [name, *three(cpu_us, 2), ratio(cpu_us, spread(samples[plain], "cpu_us"))]
        row += [number(p50 and p50.median, 3), number(p99 and p99.median, 3)]
        rows.append([*row, "; ".join(failures(samples[name]))])
    conditions = f"{options.connections:,} clients, {options.size:,} bytes, against {MODE}; {rounds_of(options)}; "
    conditions += "the ratio is to the same loop without --kernel-timestamps"
    headers = ["load", "µs of CPU per request", "min", "max", "ratio", "p50 ms", "p99 ms", "remarks"]
    return Measurement(samples, Table(conditions, headers, rows))
