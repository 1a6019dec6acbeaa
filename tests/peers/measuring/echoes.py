"""The tables of work: the server's CPU for each echo, for each connection, and beside idle connections."""

from measuring.idle import Idle
from measuring.load import divide_cpus, loadgen, measured, sameness
from measuring.processes import Server
from measuring.rounds import in_turn, spread
from measuring.subjects import ONCE, choose
from measuring.table import Table, name_of, number, ratio, three


def cpu(options):
    """CPU for each echo, with what the clients saw."""
    subjects = choose(options, threads=options.threads)
    server_cpus, load_cpus, shared = divide_cpus(options.threads)
    flags = ["--pipeline", str(options.pipeline)]
    if options.rate:
        flags += ["--rate", str(options.rate), "--arrival", options.arrival]

    def measure(subject):
        return cpu_of(subject, options, server_cpus, load_cpus, flags)

    samples = in_turn(subjects, measure, options.rounds)
    loop = f"open loop of {options.rate:,}/s ({options.arrival})" if options.rate else "closed loop"
    pipeline = f", {options.pipeline} outstanding" if options.pipeline > 1 else ""
    title = f"{options.connections:,} clients, {options.size:,} bytes, {loop}{pipeline}"
    return samples, cpu_table("µs of CPU per echo", title, subjects, samples, options, server_cpus, load_cpus, shared)


def churn(options):
    """CPU for each connection that does one echo."""
    subjects = choose(options, extra=[ONCE])
    server_cpus, load_cpus, shared = divide_cpus(1)

    def measure(subject):
        return cpu_of(subject, options, server_cpus, load_cpus, ["--requests-per-connection", "1"])

    samples = in_turn(subjects, measure, options.rounds)
    title = f"{options.connections:,} clients, {options.size:,} bytes, a connection for each request"
    unit = "µs of CPU per connection"
    return samples, cpu_table(unit, title, subjects, samples, options, server_cpus, load_cpus, shared)


def idle(options):
    """CPU for each echo of the busy clients, without and beside idle ones."""
    subjects = choose(options)
    server_cpus, load_cpus, shared = divide_cpus(1)

    def measure(subject):
        alone = cpu_of(subject, options, server_cpus, load_cpus, [])
        with Server(subject.command, server_cpus) as server:
            with Idle(server.port, options.idle, load_cpus).expect_all():
                beside = load_of(server, options, load_cpus, [])
        return {**beside, "cpu_us": alone["cpu_us"], "cpu_us_beside": beside["cpu_us"]}

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["server", "alone, µs", "least", "most", f"beside {options.idle:,} idle, µs", "least", "most"]
    rows = []
    for name, subject in subjects.items():
        alone, beside = spread(samples[name], "cpu_us"), spread(samples[name], "cpu_us_beside")
        row = [name_of(subject, options.markdown), *three(alone, 2), *three(beside, 2)]
        rows.append([*row, ratio(beside, alone), sameness(samples[name])])
    title = f"{options.connections:,} busy clients, {options.size:,} bytes, closed loop"
    said = f"{title}; {how(options, server_cpus, load_cpus, shared)}"
    return samples, Table(said, [*headers, "ratio", "remarks"], rows)


def cpu_of(subject, options, server_cpus, load_cpus, flags):
    with Server(subject.command, server_cpus) as server:
        return load_of(server, options, load_cpus, flags)


def load_of(server, options, load_cpus, flags):
    before_s = server.cpu_s()
    report, _ = loadgen(options, server.port, load_cpus, *flags)
    return measured(report, server.cpu_s() - before_s)


def cpu_table(unit, title, subjects, samples, options, server_cpus, load_cpus, shared):
    reference = spread(samples[next(iter(subjects))], "cpu_us")
    headers = ["server", unit, "least", "most", "ratio", "per s"]
    headers += ["p50 ms", "p99 ms", "least", "most", "Jain, least", "remarks"]
    rows = []
    for name, subject in subjects.items():
        taken = samples[name]
        cpu_us, rate, jain = spread(taken, "cpu_us"), spread(taken, "rate_per_s"), spread(taken, "jain")
        p50 = spread(taken, "p50_ms")
        rows.append(
            [
                name_of(subject, options.markdown),
                *three(cpu_us, 2),
                ratio(cpu_us, reference),
                number(rate and rate.median, 0),
                number(p50 and p50.median, 2),
                *three(spread(taken, "p99_ms"), 2),
                number(jain and jain.least, 3),
                sameness(taken),
            ]
        )
    said = f"{title}; {how(options, server_cpus, load_cpus, shared)}"
    return Table(said, headers, rows)


def how(options, server_cpus, load_cpus, shared):
    def cpus(numbers):
        return f"CPU {numbers[0]}" if len(numbers) == 1 else f"CPUs {', '.join(map(str, numbers))}"

    where = f"server and load share {cpus(server_cpus)}"
    if not shared:
        where = f"server on {cpus(server_cpus)}, load on {cpus(load_cpus)}"
    return f"{where}; {options.rounds} rounds of {options.seconds} s in turn"
