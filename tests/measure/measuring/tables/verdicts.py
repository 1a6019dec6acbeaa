"""The tables of verdicts: false alarms on runs without a fault, and misses on runs with a known fault."""

import collections
import contextlib
import signal
import threading
import time
from dataclasses import dataclass

from measuring.faulty_server import FaultyServer
from measuring.loadgen import in_ms, run
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.subjects import our_modes, select
from measuring.table import Code, Table, number

# Length of the closed loop that finds the capacity of a mode.
CAPACITY_SECONDS = 2
SIZE = 64


@dataclass(frozen=True)
class FaultyRun:
    """A run with a fault. The verdict must have the reason `expected`."""

    name: str
    title: str
    expected: str
    run: object


def verdicts(options):
    """Verdicts on runs without a fault, or with a known one."""
    return faulty_runs(options) if options.faulty else faultless_runs(options)


def faultless_runs(options):
    modes = our_modes(options.bin, 1)
    subjects = {name: name for name in select(list(modes), options)}
    rates = {}

    def measure(mode):
        if mode not in rates:
            rates[mode] = options.rate or capacity_per_s(options, mode) // 2
        report = run_mode(options, mode, options.seconds, "--rate", rates[mode], "--arrival", "poisson")
        p99_ms = in_ms(report["latency_ns"]["response"]["p99"])
        return {**verdict_on(report), "rate_per_s": rates[mode], "p99_ms": p99_ms}

    samples = in_turn(subjects, measure, options.rounds)
    rows = []
    for name, taken in samples.items():
        p99 = spread(taken, "p99_ms")
        row = [Code(name), number(rates.get(name), 0), number(p99 and p99.median, 2)]
        rows.append([*row, *counts_of(taken), "; ".join(failures(taken))])
    conditions = f"{rounds_of(options)}, {options.connections:,} clients, open loop "
    conditions += "(poisson) " + ("at this rate" if options.rate else "at half of the mode's rate in a closed loop")
    headers = ["server", "requests/s", "p99 ms", "runs", "valid", "suspect", "invalid", "reasons", "remarks"]
    return Measurement(samples, Table(conditions, headers, rows))


def faulty_runs(options):
    wanted = select([faulty.name for faulty in FAULTY_RUNS], options)
    subjects = {faulty.name: faulty for faulty in FAULTY_RUNS if faulty.name in wanted}
    samples = in_turn(subjects, lambda faulty: verdict_on(faulty.run(options)), options.rounds)
    rows = []
    for name, faulty in subjects.items():
        taken = [sample for sample in samples[name] if "failure" not in sample]
        found = sum(faulty.expected in sample["reasons"] for sample in taken)
        row = [faulty.title, Code(faulty.expected), f"{found} of {len(taken)}"]
        rows.append([*row, *counts_of(samples[name]), "; ".join(failures(samples[name]))])
    headers = ["fault", "expected reason", "named", "runs", "valid", "suspect", "invalid", "reasons", "remarks"]
    return Measurement(samples, Table(rounds_of(options), headers, rows))


def counts_of(samples):
    """The numbers of runs and verdicts. Then each reason with its count, its values and its bound."""
    taken = [sample for sample in samples if "failure" not in sample]
    verdicts = collections.Counter(sample["verdict"] for sample in taken)
    seen = collections.defaultdict(list)
    for code, reason in (reason for sample in taken for reason in sample["reasons"].items()):
        seen[code].append(reason)
    reasons = [f"{code} × {len(given)} ({figures(given)})" for code, given in seen.items()]
    statuses = [verdicts[status] for status in ("valid", "suspect", "invalid")]
    return [len(taken), *statuses, "; ".join(reasons) or None]


def figures(reasons):
    values = [reason["value"] for reason in reasons]
    seen = f"{min(values):.3g}" if min(values) == max(values) else f"{min(values):.3g} to {max(values):.3g}"
    return f"{seen}; bound {reasons[0]['bound']:.3g}"


def verdict_on(report):
    verdict = report["verdict"]
    reasons = {reason["code"]: {key: reason[key] for key in ("value", "bound")} for reason in verdict["reasons"]}
    return {"verdict": verdict["status"], "reasons": reasons}


def capacity_per_s(options, mode):
    return int(run_mode(options, mode, CAPACITY_SECONDS)["rate"]["achieved_per_s"])


def run_mode(options, mode, seconds, *flags):
    """Loads a server that loadgen starts."""
    report, _ = run(options, seconds, None, ["--mode", mode], "--connections", options.connections, *flags)
    return report


def run_against(address, options, *flags):
    report, _ = run(options, options.seconds, None, [address], "-c", 50, *flags)
    return report


def stalled_server(options):
    """Our server, stopped for 500 ms in the middle of the window. The window begins after a warm-up of 1 s."""
    with Server(our_modes(options.bin, 1)["event-loop"].command) as server:
        stopping = threading.Thread(target=stop_for_a_while, args=(server, 1 + options.seconds / 2, 0.5))
        stopping.start()
        try:
            return run_against(f"127.0.0.1:{server.port}", options, "-r", 5000)
        finally:
            stopping.join()


def stop_for_a_while(server, after_s, length_s):
    time.sleep(after_s)
    # If the server has ended, the report says so.
    with contextlib.suppress(ProcessLookupError):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(length_s)
        server.process.send_signal(signal.SIGCONT)


def starved_clients(options):
    """The server serves ten connections, and ignores the others."""
    with FaultyServer(SIZE, lambda connection, message: message.upper() if connection < 10 else None) as server:
        return run_against(server.address, options, "-r", 1000, "--timeout", "2s")


def capped_rate(options):
    """The server replies to half of the offered rate."""
    turn, next_s = threading.Lock(), time.monotonic()

    def reply(_, message):
        nonlocal next_s
        with turn:
            next_s = max(next_s + 1 / 500, time.monotonic())
            at_s = next_s
        time.sleep(max(at_s - time.monotonic(), 0))
        return message.upper()

    with FaultyServer(SIZE, reply) as server:
        return run_against(server.address, options, "-r", 1000)


def wrong_bytes(options):
    """One byte in 100,000 is wrong."""
    turn, passed = threading.Lock(), 0

    def reply(_, message):
        nonlocal passed
        content = bytearray(message.upper())
        with turn:
            offset = -passed % 100_000
            passed += len(content)
        if offset < len(content):
            content[offset] ^= 0x80
        return content

    with FaultyServer(SIZE, reply) as server:
        return run_against(server.address, options, "-r", 1000)


def overloaded_generator(options):
    """The rate is higher than one load thread can send. With many outstanding requests of one byte, the server has less
    work for each request than the generator, which builds, times and checks it."""
    return run_mode(options, "event-loop", options.seconds, "-t", 1, "-s", 1, "-p", 256, "-r", "50m")


FAULTY_RUNS = [
    FaultyRun("stall", "the server stalls for 500 ms", "stall", stalled_server),
    FaultyRun("starved", "the server serves 10 of 50 clients", "starved", starved_clients),
    FaultyRun("capped", "the server serves 500/s of 1,000/s", "cannot_keep_up", capped_rate),
    FaultyRun("wrong-bytes", "one byte in 100,000 is wrong", "mismatch", wrong_bytes),
    FaultyRun("generator", "one load thread, 50,000,000/s", "generator_saturated", overloaded_generator),
]
