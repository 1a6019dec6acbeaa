"""Runs of our load generator, and the figures in its report."""

import json
import os

from measuring.failure import Failure
from measuring.processes import run_measured

# loadgen needs this at most beside its window: to connect before it, and to await late replies after it (--timeout).
SLACK_SECONDS = 60
# The exit codes of a run with a report.
VALID, INVALID = 0, 4


def divide_cpus(threads):
    """CPUs for the server, CPUs for the load, and whether both share the same CPUs because there are too few."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < threads + 1:
        return cpus[:threads], cpus[:threads], True
    return cpus[:threads], cpus[threads : 2 * threads], False


def run(options, seconds, cpus, target, *flags, before=()):
    """Runs loadgen with these flags, by the command `before` it if there is one. Returns its report, and the CPU time of the
    whole process in seconds."""
    command = [*before, options.bin / "loadgen", "run", *target, "--format", "json", "--quiet", "--duration", f"{seconds}s", *flags]
    out, log, code, cpu_s = run_measured([str(word) for word in command], cpus, seconds + SLACK_SECONDS)
    if code not in (VALID, INVALID):
        raise Failure(f"loadgen ended with {code}: {log[-300:]}")
    return json.loads(out), cpu_s


def run_without_warm_up(options, port, cpus, *flags):
    """Without a warm-up, `completed` counts all requests of the process's life, and so divides its CPU time."""
    load = ["--threads", len(cpus), "--connections", options.connections, "--size", options.size]
    return run(options, options.seconds, cpus, [f"127.0.0.1:{port}"], "--warmup", "0s", *load, *flags)


def figures_of(report, server_cpu_s):
    """The figures of a run, with the server's CPU time for each reply. Late replies count too."""
    completed = report["requests"]["completed"]
    if completed == 0:
        raise Failure("no request got a reply")
    response = report["latency_ns"]["response"]
    offered, achieved = report["rate"]["offered_per_s"], report["rate"]["achieved_per_s"]
    return {
        "cpu_us": server_cpu_s * 1e6 / completed,
        "rate_per_s": achieved,
        "offered_share": achieved / offered if offered else None,
        "p50_ms": in_ms(response["p50"]),
        "p99_ms": in_ms(response["p99"]),
        "jain": report["fairness"]["jain"],
        "failed": report["requests"]["failed"] + sum(report["errors"].values()),
        "server_share": server_cpu_s / report["elapsed_s"],
        "verdict": report["verdict"]["status"],
        "reasons": [reason["code"] for reason in report["verdict"]["reasons"]],
    }


def in_ms(nanoseconds):
    return None if nanoseconds is None else nanoseconds / 1e6


def remarks_on(samples):
    """Names failures, and loads that differ from the load of the other subjects."""
    measured = [sample for sample in samples if "failure" not in sample]
    remarks = sorted({sample["failure"] for sample in samples if "failure" in sample})
    failed = sum(sample["failed"] for sample in measured)
    jain_min = min((sample["jain"] or 0 for sample in measured), default=1)
    share_min = min((sample["offered_share"] or 1 for sample in measured), default=1)
    if failed:
        remarks.append(f"{failed:,} failed")
    if jain_min < 0.9:
        remarks.append(f"uneven: Jain {jain_min:.2f}")
    if share_min < 0.95:
        remarks.append(f"overloaded: {share_min:.0%} of the rate")
    return "; ".join(remarks)
