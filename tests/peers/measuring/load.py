"""The load: our load generator, on CPUs of its own, and what its report says."""

import json
import os

from measuring.failure import Failure
from measuring.processes import run_measured

# Beyond the window: clients connect before it, and late replies are awaited after it (loadgen's --timeout).
SLACK_SECONDS = 60
VALID, INVALID = 0, 4


def divide_cpus(threads):
    """CPUs for the server, CPUs for the load, and whether they are the same ones because there are too few."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < threads + 1:
        return cpus[:threads], cpus[:threads], True
    return cpus[:threads], cpus[threads : 2 * threads], False


def loadgen(options, port, cpus, *flags):
    """Runs it without a warm-up, so that its `completed` are all requests of its life. Returns its report and the
    CPU time that the whole process took, in seconds."""
    command = [str(options.bin / "loadgen"), "run", f"127.0.0.1:{port}", "--format", "json", "--quiet"]
    command += ["--warmup", "0s", "--duration", f"{options.seconds}s", "--threads", str(len(cpus))]
    command += ["--connections", str(options.connections), "--size", str(options.size), *flags]
    out, log, code, cpu_s = run_measured(command, cpus, options.seconds + SLACK_SECONDS)
    if code not in (VALID, INVALID):
        raise Failure(f"loadgen ended with {code}: {log[-300:]}")
    return json.loads(out), cpu_s


def measured(report, server_cpu_s):
    """The figures of a run, beside the server's CPU time in it. The denominator is every reply, the late ones too."""
    completed = report["requests"]["completed"]
    if completed == 0:
        raise Failure("no request was replied to")
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


def sameness(samples):
    """Says where the load was not the one that the others had, or nothing."""
    measured = [sample for sample in samples if "failure" not in sample]
    remarks = sorted({sample["failure"] for sample in samples if "failure" in sample})
    failed = sum(sample["failed"] for sample in measured)
    least_jain = min((sample["jain"] or 0 for sample in measured), default=1)
    least_share = min((sample["offered_share"] or 1 for sample in measured), default=1)
    if failed:
        remarks.append(f"{failed:,} failed")
    if least_jain < 0.9:
        remarks.append(f"uneven: Jain {least_jain:.2f}")
    if least_share < 0.95:
        remarks.append(f"overloaded: {least_share:.0%} of the rate")
    return "; ".join(remarks)
