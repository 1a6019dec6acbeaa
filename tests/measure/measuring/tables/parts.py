"""One load from several generators beside the same load from one: what they report together, and what they cost."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from measuring.failure import Failure
from measuring.loadgen import INVALID, SLACK_SECONDS, VALID, divide_cpus, in_ms
from measuring.measurement import Measurement
from measuring.processes import Server, on_cpus, run_measured
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.table import Table, number

# How long after the start of the first generator the load begins, and the further time for each of them: they share a CPU
# while they start.
START_SECONDS, START_SECONDS_EACH = 2, 0.06


def parts(options):
    """For each number of generators, the merged report of the same load with the same seed."""
    server_cpus, load_cpus, shared = divide_cpus(1)
    subjects = {str(count): count for count in options.parts}

    def measure(count):
        server = [str(options.bin / "server"), "--listen", "127.0.0.1:0", "--mode", "event-loop", "--threads", "1"]
        with Server(server, server_cpus) as server, tempfile.TemporaryDirectory() as folder:
            files, usages = run_parts(options, server.port, count, Path(folder), load_cpus)
            merge = [options.bin / "loadgen", "merge", *files, "--expect-parts", count, "--format", "json", "--fail-on", "never"]
            out, log, code, merge_s = run_measured([str(word) for word in merge], None, SLACK_SECONDS)
            if code != VALID:
                raise Failure(f"loadgen merge ended with {code}: {log[-300:]}")
            size = sum(file.stat().st_size for file in files)
        report = json.loads(out)
        return figures_of(report, usages, count) | {"merge_s": merge_s, "kib": size / 1024 / count}

    samples = in_turn(subjects, measure, options.rounds)
    headers = ["generators", "per s", "p50 ms", "p99 ms", "p99.9 ms", "lag p99 µs", "µs of CPU per request", "MiB each", "KiB of result each"]
    headers += ["starts apart µs", "merge s", "verdict", "remarks"]
    figures = [("rate_per_s", 0), ("p50_ms", 3), ("p99_ms", 3), ("p99_9_ms", 2), ("lag_p99_us", 0), ("cpu_us", 2), ("mib", 1), ("kib", 0), ("skew_us", 0), ("merge_s", 2)]
    rows = []
    for name in subjects:
        spreads = [(spread(samples[name], figure), digits) for figure, digits in figures]
        verdicts = sorted({sample["verdict"] for sample in samples[name] if "verdict" in sample})
        medians = [number(of and of.median, digits) for of, digits in spreads]
        rows.append([name, *medians, "; ".join(verdicts), "; ".join(failures(samples[name]))])
    conditions = f"{options.connections:,} clients and {options.rate:,} requests/s (poisson) in all, event-loop; the generators share one CPU"
    conditions += f" with the server; {rounds_of(options)}" if shared else f"; medians of {rounds_of(options)}"
    return Measurement(samples, Table(conditions, headers, rows))


def run_parts(options, port, count, folder, cpus):
    """Runs the generators at the same moment. Returns the files of their results, and what each of them used."""
    start_at = time.time() + START_SECONDS + START_SECONDS_EACH * count
    load = ["--connections", options.connections, "--rate", options.rate, "--arrival", "poisson", "--threads", 1]
    # One interval: many generators on one CPU would end each interval at the same moment.
    load += ["--interval", f"{options.seconds}s"]
    load += ["--duration", f"{options.seconds}s", "--start-at", f"@{start_at:.3f}", "--fail-on", "never", "--quiet", "--format", "jsonl"]
    processes, files = [], [folder / f"part-{part}.jsonl" for part in range(count)]
    try:
        for part, file in enumerate(files):
            command = [options.bin / "loadgen", "run", f"127.0.0.1:{port}", *load, "--part", f"{part}/{count}", "--output", file]
            command = on_cpus(cpus) + [str(word) for word in command]
            processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        deadline = start_at + options.seconds + SLACK_SECONDS
        usages = [wait_for(process, deadline) for process in processes]
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
    for part, process in enumerate(processes):
        if process.returncode not in (VALID, INVALID):
            raise Failure(f"part {part} ended with {process.returncode}")
    return files, usages


def wait_for(process, deadline):
    """Waits for the end of a child. wait4 returns the CPU time and the memory of this child alone."""
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if time.time() > deadline:
            raise Failure("a generator has not ended in time")
        time.sleep(0.05)


def figures_of(report, usages, count):
    completed = report["requests"]["completed"]
    if completed == 0:
        raise Failure("no request got a reply")
    response, lag = report["latency_ns"]["response"], report["latency_ns"]["schedule_lag"]
    codes = [reason["code"] for reason in report["verdict"]["reasons"]]
    skew_ns = (report.get("merged") or {}).get("start_skew_ns", 0)
    return {
        "rate_per_s": report["rate"]["achieved_per_s"],
        "p50_ms": in_ms(response["p50"]),
        "p99_ms": in_ms(response["p99"]),
        "p99_9_ms": in_ms(response["p99_9"]),
        "lag_p99_us": lag["p99"] and lag["p99"] / 1e3,
        "cpu_us": sum(usage.ru_utime + usage.ru_stime for usage in usages) * 1e6 / completed,
        "mib": max(usage.ru_maxrss for usage in usages) / 1024,
        "skew_us": skew_ns / 1e3,
        "verdict": ", ".join([report["verdict"]["status"], *codes]),
    }
