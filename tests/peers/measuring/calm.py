"""The tables of verdicts: whether loadgen names what is wrong with a run, and nothing where all is well."""

import collections
import contextlib
import json
import signal
import threading
import time
from dataclasses import dataclass

from measuring.failure import Failure
from measuring.known import KnownServer
from measuring.load import INVALID, VALID, in_ms
from measuring.processes import Server, run_measured
from measuring.rounds import failures, in_turn, spread
from measuring.subjects import our_modes, select
from measuring.table import Table, number

SLACK_SECONDS = 60
# Of the closed loop that tells what a mode does.
PROBE_SECONDS = 2
SIZE = 64


@dataclass(frozen=True)
class BadRun:
    """A run that something is wrong with: what, what the verdict must name, and how it is made."""

    name: str
    title: str
    named: str
    run: object


def calm(options):
    """Verdicts on runs with which nothing is wrong, or something known."""
    return bad_runs(options) if options.bad else calm_runs(options)


def calm_runs(options):
    modes = our_modes(options.bin, 1)
    subjects = {name: name for name in select(list(modes), options)}
    rates = {}

    def measure(mode):
        if mode not in rates:
            rates[mode] = options.rate or int(own_run(options, mode, PROBE_SECONDS)["rate"]["achieved_per_s"] / 2)
        load = ["--rate", rates[mode], "--arrival", "poisson"]
        report = own_run(options, mode, options.seconds, *load)
        p99_ms = in_ms(report["latency_ns"]["response"]["p99"])
        return {**verdict_on(report), "rate_per_s": rates[mode], "p99_ms": p99_ms}

    samples = in_turn(subjects, measure, options.rounds)
    rows = []
    for name, taken in samples.items():
        p99 = spread(taken, "p99_ms")
        row = [f"`{name}`" if options.markdown else name, number(rates.get(name), 0), number(p99 and p99.median, 2)]
        rows.append([*row, *counted(taken), "; ".join(failures(taken))])
    said = f"{options.rounds} runs of {options.seconds} s each, {options.connections:,} clients, open loop (poisson) "
    said += "at this rate" if options.rate else "at half of what the mode does in a closed loop"
    headers = ["server", "requests/s", "p99 ms", "runs", "valid", "suspect", "invalid", "reasons", "remarks"]
    return samples, Table(said, headers, rows)


def bad_runs(options):
    wanted = select([run.name for run in BAD_RUNS], options)
    subjects = {run.name: run for run in BAD_RUNS if run.name in wanted}
    samples = in_turn(subjects, lambda bad: verdict_on(bad.run(options)), options.rounds)
    rows = []
    for name, bad in subjects.items():
        taken = [sample for sample in samples[name] if "failure" not in sample]
        found = sum(bad.named in sample["reasons"] for sample in taken)
        row = [bad.title, bad.named, f"{found} of {len(taken)}"]
        rows.append([*row, *counted(samples[name]), "; ".join(failures(samples[name]))])
    headers = ["what is wrong", "to be named", "named", "runs", "valid", "suspect", "invalid", "reasons", "remarks"]
    return samples, Table(f"{options.rounds} runs each", headers, rows)


def counted(samples):
    """Runs, verdicts, and each reason's code with how often it was given and what was seen."""
    taken = [sample for sample in samples if "failure" not in sample]
    verdicts = collections.Counter(sample["verdict"] for sample in taken)
    seen = collections.defaultdict(list)
    for code, reason in (reason for sample in taken for reason in sample["reasons"].items()):
        seen[code].append(reason)
    reasons = [f"{code} x {len(given)} ({figures(given)})" for code, given in seen.items()]
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


def own_run(options, mode, seconds, *flags):
    """Of a server of loadgen's own."""
    return run(options, seconds, "--mode", mode, "--connections", options.connections, *flags)


def run(options, seconds, *flags):
    command = [options.bin / "loadgen", "run", *flags, "--duration", f"{seconds}s", "--quiet", "--format", "json"]
    out, log, code, _ = run_measured([str(word) for word in command], None, seconds + SLACK_SECONDS)
    if code not in (VALID, INVALID):
        raise Failure(f"loadgen ended with {code}: {log[-300:]}")
    return json.loads(out)


def a_stall(options):
    """A server of ours that is stopped for 500 ms in the middle of the window, which begins after a second."""
    with Server(our_modes(options.bin, 1)["event-loop"].command) as server:
        stopping = threading.Thread(target=stop_for_a_while, args=(server, 1 + options.seconds / 2, 0.5))
        stopping.start()
        try:
            return run(options, options.seconds, f"127.0.0.1:{server.port}", "-c", 50, "-r", 5000)
        finally:
            stopping.join()


def stop_for_a_while(server, after_s, length_s):
    time.sleep(after_s)
    # It may have ended by itself, which the run tells.
    with contextlib.suppress(ProcessLookupError):
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(length_s)
        server.process.send_signal(signal.SIGCONT)


def starved_clients(options):
    """Ten connections are served, and the others never are."""
    with KnownServer(SIZE, lambda connection, message: message.upper() if connection < 10 else None) as server:
        return run(options, options.seconds, server.address, "-c", 50, "-r", 1000, "--timeout", "2s")


def a_capped_rate(options):
    """Half of what is asked for is answered."""
    turn, next_s = threading.Lock(), time.monotonic()

    def answer(_, message):
        nonlocal next_s
        with turn:
            next_s = max(next_s + 1 / 500, time.monotonic())
            at_s = next_s
        time.sleep(max(at_s - time.monotonic(), 0))
        return message.upper()

    with KnownServer(SIZE, answer) as server:
        return run(options, options.seconds, server.address, "-c", 50, "-r", 1000)


def wrong_bytes(options):
    """One byte in 100,000 is wrong."""
    turn, passed = threading.Lock(), 0

    def answer(_, message):
        nonlocal passed
        reply = bytearray(message.upper())
        with turn:
            offset = -passed % 100_000
            passed += len(reply)
        if offset < len(reply):
            reply[offset] ^= 0x80
        return reply

    with KnownServer(SIZE, answer) as server:
        return run(options, options.seconds, server.address, "-c", 50, "-r", 1000)


def an_overloaded_generator(options):
    """One load thread that is asked for more than it can send. Of requests of one byte, hundreds at once, an echo has far
    less to do for each than who builds, times and checks them."""
    return own_run(options, "event-loop", options.seconds, "-t", 1, "-s", 1, "-p", 256, "-r", "50m")


BAD_RUNS = [
    BadRun("stall", "the server stands still for 500 ms", "stall", a_stall),
    BadRun("starved", "10 of 50 clients are served", "starved", starved_clients),
    BadRun("capped", "500/s of 1,000/s are answered", "cannot_keep_up", a_capped_rate),
    BadRun("wrong-bytes", "a byte in 100,000 is wrong", "mismatch", wrong_bytes),
    BadRun("generator", "one load thread, 50,000,000/s", "generator_saturated", an_overloaded_generator),
]
