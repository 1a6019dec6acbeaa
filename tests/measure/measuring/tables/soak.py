"""The table of the soak: each mode under half its load for an hour, with new connections all the time. Memory, descriptors,
threads and the tail of the response times must be flat. One more run soaks loadgen itself, with 20 intervals per second."""

import json
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from measuring.failure import Failure
from measuring.loadgen import INVALID, SLACK_SECONDS, VALID, run
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.subjects import our_modes, select
from measuring.table import Code, Table, number
from measuring.trend import trend

GENERATOR, GENERATOR_MODE, GENERATOR_INTERVAL_S = "loadgen", "event-loop", 0.05
CAPACITY_SECONDS = 2
REQUESTS_PER_CONNECTION = 100
# Samples of a process, and intervals of a report.
SAMPLES, INTERVALS, SHORTEST_S = 600, 60, 0.1
REST_SECONDS_MAX = 20
# The report keeps a histogram of each interval, so the generator's memory grows with the number of intervals.
BYTES_PER_INTERVAL_MAX = 4096
# Percentiles that are judged. Intervals of a short run have too few requests for these, and a median says nothing of the tail.
JUDGED_TAILS = ["p99.9", "p99"]
# A trend over the second half fails if it is clear (see trend.py), larger than this share of the median, and larger than
# this number.
BOUNDS = {"memory": (0.02, 1 << 20), "descriptors": (0.01, 2), "threads": (0.01, 2), "tail": (0.5, 0.5e6)}


@dataclass(frozen=True)
class Part:
    """One soak: a server, its load, and the process whose figures must be flat."""

    name: str
    server: list
    rate: int
    interval_s: float
    is_of_generator: bool


def soak(options):
    """Each part runs by itself, or all of them at once with a share of the load each."""
    modes = our_modes(options.bin, 1)
    chosen = select([*modes, GENERATOR], options)
    sharing = len(chosen) if options.at_once else 1
    samples, parts = {}, []
    for name in chosen:
        server = modes[GENERATOR_MODE if name == GENERATOR else name].command
        try:
            rate = options.rate or max(100, int(capacity(options, server) / 2 / sharing))
        except Failure as failure:
            samples[name] = {"failure": str(failure)}
            continue
        interval_s = GENERATOR_INTERVAL_S if name == GENERATOR else max(options.seconds / INTERVALS, SHORTEST_S)
        parts.append(Part(name, server, rate, interval_s, name == GENERATOR))
    with ThreadPoolExecutor(len(parts) if options.at_once and parts else 1) as pool:
        samples |= zip([part.name for part in parts], pool.map(lambda part: outcome(options, part), parts))
    rows = [row(name, samples[name]) for name in chosen]
    load = "" if options.rate else " at half the capacity"
    if options.at_once:
        load += f", all {sharing} parts at once" + ("" if options.rate else " with a share each")
    conditions = (
        f"{options.connections:,} clients, {REQUESTS_PER_CONNECTION} requests per connection, an open loop{load}, "
        f"{options.seconds:,} s; growth is the "
        f"Theil-Sen slope times the length of the second half; a row fails if the growth is clear (Mann-Kendall, p < 0.001) and "
        f"above the bound: {bounds_in_words()}"
    )
    headers = ["process", "per s", "connections", "memory MB", "growth kB", "descriptors", "growth", "threads", "growth"]
    headers += ["tail ms", "growth ms", "failed", "verdict", "remarks"]
    is_failed = any(sample.get("failure") or sample["faults"] for sample in samples.values())
    return Measurement(samples, Table(conditions, headers, rows), is_failed=is_failed)


def bounds_in_words():
    units = {"memory": (1 << 20, " MiB"), "tail": (1e6, " ms")}
    words = []
    for name, (share, least) in BOUNDS.items():
        scale, unit = units.get(name, (1, ""))
        words.append(f"{name} {share:.0%} and {least / scale:g}{unit}")
    return ", ".join(words)


def capacity(options, command):
    """Requests per second in a closed loop, with the same reconnections."""
    with Server(command) as server:
        flags = ["--connections", options.connections, "--requests-per-connection", REQUESTS_PER_CONNECTION]
        report, _ = run(options, CAPACITY_SECONDS, None, [f"127.0.0.1:{server.port}"], "--warmup", "0s", *flags)
    return report["rate"]["achieved_per_s"]


def outcome(options, part):
    try:
        return soaked(options, part)
    except Failure as failure:
        return {"failure": str(failure)}


def soaked(options, part):
    with Server(part.server) as server:
        target = Process(server.process.pid)
        # A short load first: queues, threads and the allocator's arenas exist afterwards.
        with Load(options, part, server.port, 1) as first:
            first.report()
        before = target.at_rest()
        series = []
        with Load(options, part, server.port, options.seconds) as load:
            watched = Process(load.process.pid) if part.is_of_generator else target
            began = time.monotonic()
            pause = max(options.seconds / SAMPLES, SHORTEST_S)
            # A process that ends has no figures, so the last moments of the load are left out.
            while load.is_running() and time.monotonic() - began < options.seconds - pause:
                series.append((time.monotonic() - began, *watched.figures()))
                time.sleep(pause)
            report = load.report()
        server.expect_alive()
        after = target.at_rest(before)
    return judged(part, series, report, before, after)


def judged(part, series, report, before, after):
    """The trends of all figures, and the faults in words."""
    columns = {
        name: [(sample[0], sample[column]) for sample in series]
        for column, name in enumerate(["memory", "descriptors", "threads"], 1)
    }
    percentile, columns["tail"] = tail(report["intervals"])
    trends = {name: trend(column) for name, column in columns.items()}
    judged_names = ["memory", "descriptors", "threads"] + (["tail"] if percentile in JUDGED_TAILS else [])
    remarks = [f"tail is {percentile}"]
    if part.is_of_generator and trends["memory"]:
        judged_names.remove("memory")
    faults = [f"{name} grows" for name in judged_names if trends[name] and not trends[name].is_flat(*BOUNDS[name])]
    faults += [f"no samples of {name}" for name, of in trends.items() if of is None and name != "tail"]
    faults += [
        f"{left - was} {name} left after the load"
        for name, was, left in zip(["descriptors", "threads"], before, after)
        if left > was
    ]
    failed = report["requests"]["failed"] + sum(report["errors"].values())
    if failed:
        faults.append(f"{failed:,} requests failed")
    if part.is_of_generator and trends["memory"]:
        second_half_s = (series[-1][0] - series[0][0]) / 2
        per_interval = trends["memory"].growth / second_half_s * part.interval_s
        if per_interval > BYTES_PER_INTERVAL_MAX:
            faults.append(f"memory grows by more than {BYTES_PER_INTERVAL_MAX:,} bytes per interval")
        remarks.append(f"{per_interval:,.0f} bytes per interval of {part.interval_s * 1e3:.0f} ms")
    return {
        "rate_per_s": report["rate"]["achieved_per_s"],
        "connections": report["connections"]["established"],
        "trends": {name: of and vars(of) for name, of in trends.items()},
        "failed": failed,
        "verdict": report["verdict"]["status"],
        "reasons": [reason["code"] for reason in report["verdict"]["reasons"]],
        "faults": faults,
        "remarks": remarks,
        "series": series,
    }


def tail(intervals):
    """The highest percentile that every full interval of the second half has: a short interval has too few requests for
    p99.9."""
    full = intervals[:-1]
    later = full[len(full) // 2 :]
    for name in ["p99_9", "p99", "p90", "p50"]:
        if later and all(interval[name] is not None for interval in later):
            return name.replace("_", "."), [(each["t_s"], each[name]) for each in full if each[name] is not None]
    return "unknown", []


def row(name, sample):
    title = Code(name)
    if "failure" in sample:
        return [title, *[None] * 12, sample["failure"]]
    of = sample["trends"]

    def shown(figure, unit, growth_unit, decimals):
        trend = of[figure]
        if trend is None:
            return [None, None]
        return [number(trend["median"] / unit, decimals), number(trend["growth"] / growth_unit, decimals)]

    cells = [number(sample["rate_per_s"], 0), number(sample["connections"], 0), *shown("memory", 1e6, 1e3, 1)]
    cells += [*shown("descriptors", 1, 1, 0), *shown("threads", 1, 1, 0), *shown("tail", 1e6, 1e6, 3)]
    verdict = "FAILS" if sample["faults"] else "flat"
    return [title, *cells, number(sample["failed"], 0), verdict, "; ".join(sample["faults"] + sample["remarks"])]


class Load:
    """A run of loadgen against a port. It ends with the block."""

    def __init__(self, options, part, port, seconds):
        command = [options.bin / "loadgen", "run", f"127.0.0.1:{port}", "--format", "json", "--quiet", "--fail-on", "never"]
        command += ["--warmup", "0s", "--duration", f"{seconds}s", "--connections", options.connections, "--rate", part.rate]
        command += ["--requests-per-connection", REQUESTS_PER_CONNECTION, "--interval", f"{part.interval_s * 1e3:.0f}ms"]
        self.seconds = seconds
        self.out, self.log = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        streams = {"stdin": subprocess.DEVNULL, "stdout": self.out, "stderr": self.log}
        self.process = subprocess.Popen([str(word) for word in command], **streams)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.is_running():
            self.process.kill()
            self.process.wait()
        self.out.close()
        self.log.close()

    def is_running(self):
        return self.process.poll() is None

    def report(self):
        try:
            code = self.process.wait(self.seconds + SLACK_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"loadgen has not ended after {self.seconds + SLACK_SECONDS} s") from None
        self.out.seek(0)
        self.log.seek(0)
        if code not in (VALID, INVALID):
            raise Failure(f"loadgen ended with {code}: {self.log.read()[-300:]}")
        return json.load(self.out)


class Process:
    """What a process uses."""

    def __init__(self, pid):
        self.folder = Path(f"/proc/{pid}")

    def figures(self):
        """Anonymous memory in bytes, descriptors and threads."""
        try:
            lines = (self.folder / "status").read_text() + (self.folder / "smaps_rollup").read_text()
            fields = dict(line.split(":", 1) for line in lines.splitlines() if ": " in line or ":\t" in line)
            # The kernel counts this page by page. RssAnon is not exact.
            memory = int(fields["Pss_Anon"].split()[0]) * 1024
            return memory, len(list((self.folder / "fd").iterdir())), int(fields["Threads"])
        except (OSError, KeyError):
            raise Failure("the process has ended during the load") from None

    def at_rest(self, wanted=None):
        """Descriptors and threads without a load: at once no more than `wanted`, or the same for a while."""
        deadline, still = time.monotonic() + REST_SECONDS_MAX, 0
        last = self.figures()[1:]
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.figures()[1:]
            if wanted and all(left <= was for left, was in zip(now, wanted)):
                return now
            still = still + 1 if now == last else 0
            last = now
            if wanted is None and still == 10:
                return now
        return last
