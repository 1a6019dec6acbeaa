"""The tables of the server's CPU time: for each echo, for each connection, and beside idle connections."""

from measuring.idle_connections import IdleConnections
from measuring.loadgen import divide_cpus, figures_of, remarks_on, run_without_warm_up
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.rounds import in_turn, rounds_of, spread
from measuring.subjects import ONCE, choose, tools_of
from measuring.table import Table, name_of, number, ratio, three


def cpu(options):
    """CPU time for each echo, with the rate and the response times."""
    subjects = choose(options, threads=options.threads)
    server_cpus, load_cpus, shared = divide_cpus(options.threads)
    flags = ["--pipeline", options.pipeline]
    if options.rate:
        flags += ["--rate", options.rate, "--arrival", options.arrival]

    def measure(subject):
        return cpu_of(subject, options, server_cpus, load_cpus, flags)

    samples = in_turn(subjects, measure, options.rounds)
    loop = f"open loop of {options.rate:,}/s ({options.arrival})" if options.rate else "closed loop"
    pipeline = f", {options.pipeline} outstanding" if options.pipeline > 1 else ""
    title = f"{options.connections:,} clients, {options.size:,} bytes, {loop}{pipeline}"
    conditions = f"{title}; {placement(options, server_cpus, load_cpus, shared)}"
    return Measurement(samples, cpu_table("µs of CPU per echo", conditions, subjects, samples), tools_of(subjects))


def churn(options):
    """CPU time for each connection that makes one echo."""
    subjects = choose(options, extra=[ONCE])
    server_cpus, load_cpus, shared = divide_cpus(1)

    def measure(subject):
        return cpu_of(subject, options, server_cpus, load_cpus, ["--requests-per-connection", 1])

    samples = in_turn(subjects, measure, options.rounds)
    title = f"{options.connections:,} clients, {options.size:,} bytes, a connection for each request"
    conditions = f"{title}; {placement(options, server_cpus, load_cpus, shared)}"
    return Measurement(samples, cpu_table("µs of CPU per connection", conditions, subjects, samples), tools_of(subjects))


def idle(options):
    """CPU time for each echo of the busy clients, with and without idle clients."""
    subjects = choose(options)
    server_cpus, load_cpus, shared = divide_cpus(1)

    def measure(subject):
        alone = cpu_of(subject, options, server_cpus, load_cpus, [])
        with Server(subject.command, server_cpus) as server:
            with IdleConnections(server.port, options.idle, load_cpus).expect_all():
                beside = load_of(server, options, load_cpus, [])
        return {**beside, "cpu_us": alone["cpu_us"], "cpu_us_beside": beside["cpu_us"]}

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["server", "µs alone", "min", "max", f"µs beside {options.idle:,} idle", "min", "max"]
    rows = []
    for name, subject in subjects.items():
        alone, beside = spread(samples[name], "cpu_us"), spread(samples[name], "cpu_us_beside")
        row = [name_of(subject), *three(alone, 2), *three(beside, 2)]
        rows.append([*row, ratio(beside, alone), remarks_on(samples[name])])
    title = f"{options.connections:,} busy clients, {options.size:,} bytes, closed loop"
    conditions = f"{title}; {placement(options, server_cpus, load_cpus, shared)}"
    return Measurement(samples, Table(conditions, [*headers, "ratio", "remarks"], rows), tools_of(subjects))


def cpu_of(subject, options, server_cpus, load_cpus, flags):
    with Server(subject.command, server_cpus) as server:
        return load_of(server, options, load_cpus, flags)


def load_of(server, options, load_cpus, flags):
    before_s = server.cpu_s()
    report, _ = run_without_warm_up(options, server.port, load_cpus, *flags)
    return figures_of(report, server.cpu_s() - before_s)


def cpu_table(unit, conditions, subjects, samples):
    reference = spread(samples[next(iter(subjects))], "cpu_us")
    headers = ["server", unit, "min", "max", "ratio", "per s"]
    headers += ["p50 ms", "p99 ms", "min", "max", "Jain min", "remarks"]
    rows = []
    for name, subject in subjects.items():
        taken = samples[name]
        cpu_us, rate, jain = spread(taken, "cpu_us"), spread(taken, "rate_per_s"), spread(taken, "jain")
        p50 = spread(taken, "p50_ms")
        rows.append(
            [
                name_of(subject),
                *three(cpu_us, 2),
                ratio(cpu_us, reference),
                number(rate and rate.median, 0),
                number(p50 and p50.median, 2),
                *three(spread(taken, "p99_ms"), 2),
                number(jain and jain.minimum, 3),
                remarks_on(taken),
            ]
        )
    return Table(conditions, headers, rows)


def placement(options, server_cpus, load_cpus, shared):
    def cpus(numbers):
        return f"CPU {numbers[0]}" if len(numbers) == 1 else f"CPUs {', '.join(map(str, numbers))}"

    where = f"server and load share {cpus(server_cpus)}"
    if not shared:
        where = f"server on {cpus(server_cpus)}, load on {cpus(load_cpus)}"
    return f"{where}; {rounds_of(options)}"
