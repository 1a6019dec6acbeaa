"""The tables of BENCHMARKING.md: the command of each, its shorter form, and a sentence that says what the table shows."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A table of BENCHMARKING.md. `name` is its file in docs/results without `.md`. `quick` holds options with a
    value that replace those of a full measurement. `picture` is the file in docs that is drawn from it."""

    name: str
    title: str
    shows: str
    arguments: str
    quick: str
    picture: str = None

    def command(self, is_quick):
        words, quick = shlex.split(self.arguments), shlex.split(self.quick) if is_quick else []
        for flag in quick[::2]:
            if flag in words:
                at = words.index(flag)
                del words[at : at + 2]
        return [*words, *quick]


def cpu(suffix, title, shows, arguments, quick="--rounds 2 --seconds 1"):
    return Entry(f"cpu-{suffix}", f"CPU for each echo: {title}", shows, f"cpu {arguments}", quick)


SERIES = [
    Entry(
        "truth",
        "Reported and true response times",
        "The reported percentiles are the true ones, and the verdict names the fault of each server.",
        "truth",
        "",
    ),
    Entry(
        "networks",
        "Networks: injected, computed and reported",
        "What a link between loadgen and the server injects is what loadgen reports.",
        "networks",
        "--rounds 1",
    ),
    Entry(
        "stall",
        "One stall, as load generators report it",
        "A generator that sends its next request after the reply to the last one reports a stall as one slow request for "
        "each connection.",
        "stall --rounds 1",
        "",
    ),
    Entry(
        "verdicts",
        "False alarms of the verdict",
        "On a quiet machine, runs at a rate that neither side finds hard are valid.",
        "verdicts --rate 20000",
        "--rounds 4 --seconds 2",
    ),
    Entry(
        "verdicts-faulty",
        "Misses of the verdict",
        "The verdict names the fault of each run.",
        "verdicts --faulty --rounds 3",
        "--rounds 1",
    ),
    Entry(
        "timestamps",
        "The cost of --kernel-timestamps",
        "Kernel timestamps cost CPU time of the generator, so they are off by default.",
        "timestamps",
        "--rounds 3 --seconds 1",
    ),
    Entry(
        "stopped",
        "A stopped server",
        "The response time contains the stall for every request that was due in it; the service time contains it only for "
        "the 50 requests on the wire.",
        "stopped",
        "",
        picture="stall.svg",
    ),
    Entry(
        "sweep-work-sleep-1ms",
        "Load curve, 1 ms of sleep for each request",
        "Modes that wait for many requests at a time carry far more than one that sleeps for one after the other.",
        "sweep --work sleep:1ms",
        "--factor 2 --rounds 1",
        picture="sweep-sleep.svg",
    ),
    Entry(
        "sweep-work-cpu-50us",
        "Load curve, 50 µs of work for each request",
        "The CPU is the limit, and all modes end near it.",
        "sweep --work cpu:50us",
        "--factor 2 --rounds 1",
        picture="sweep-cpu.svg",
    ),
    Entry(
        "cpu",
        "CPU for each echo",
        "All modes but thread-per-connection cost about as much as a plain epoll server in C.",
        "cpu --rounds 7 --seconds 2",
        "--rounds 3 --seconds 1",
    ),
    cpu(
        "rate-30000",
        "30,000/s",
        "At 30,000/s, most of the cost is waking up for each request.",
        "--rate 30000 --seconds 2 --peers main",
    ),
    cpu(
        "size-1024",
        "messages of 1 KiB",
        "Messages of 1 KiB cost as much as those of 64 bytes.",
        "--size 1024 --seconds 2 --peers main",
    ),
    cpu(
        "size-16384",
        "messages of 16 KiB",
        "At 16 KiB, most of the cost is copying.",
        "--size 16384 --seconds 2 --peers main",
    ),
    cpu(
        "connections-50",
        "50 clients",
        "Fewer clients cost slightly less for each echo.",
        "--connections 50 --seconds 2 --peers main",
    ),
    cpu(
        "connections-5000",
        "5,000 clients",
        "With 5,000 busy clients, servers with a thread for each are uneven within three seconds.",
        "--connections 5000 --seconds 3 --rounds 3 --peers main",
        "--rounds 1 --seconds 3",
    ),
    cpu(
        "pipeline-16",
        "16 outstanding requests for each client",
        "Sixteen messages arrive in one receive and leave in one send, so an echo costs a sixteenth of a system call.",
        "--pipeline 16 --seconds 2 --peers main",
    ),
    cpu(
        "threads-2",
        "two server threads on two CPUs",
        "Server and load share both CPUs, so this table is about throughput, and noisier than the others.",
        "--threads 2 --seconds 2 --peers main",
    ),
    cpu(
        "tokio",
        "tokio's runtimes, 2,000 clients",
        "The multi-thread runtime keeps some clients waiting ten times as long as the others.",
        "--connections 2000 --seconds 2 --only tokio-current-thread,tokio-multi-thread,tokio-task",
    ),
    Entry(
        "churn",
        "CPU for each connection",
        "A connection costs several times as much as an echo, and most in thread-per-connection.",
        "churn --seconds 2 --peers main",
        "--rounds 2 --seconds 1",
    ),
    Entry(
        "restarts",
        "Requests lost in restarts under load",
        "No request is lost when a server is replaced, in either way.",
        "restarts",
        "--restarts 10",
    ),
    Entry(
        "memory",
        "Memory for each idle connection",
        "Only thread-per-connection needs memory for an idle connection's buffers and stack.",
        "memory --peers main",
        "--rounds 1",
    ),
    Entry(
        "idle",
        "500 busy clients beside 15,000 idle ones",
        "Idle connections do not make an echo more expensive.",
        "idle --seconds 2 --peers none",
        "--rounds 1 --seconds 1",
    ),
    Entry(
        "limit",
        "Connections within an open-files limit",
        "Each mode serves as many connections as the limit allows, but thread-per-connection needs four memory mappings for "
        "each.",
        "limit --peers none",
        "",
    ),
    Entry("many", "100,000 connections", "Several processes on one port serve 100,000 connections.", "many", ""),
    Entry(
        "loadgen",
        "The load generator's CPU for each request",
        "loadgen costs about as much as a bare epoll client in C that checks nothing.",
        "loadgen --rounds 7 --seconds 3",
        "--rounds 3 --seconds 1",
    ),
    Entry(
        "services-service-redis",
        "loadgen beside redis-benchmark",
        "loadgen needs about half of the CPU of redis-benchmark, and is the only one whose p99 contains the stop of the server.",
        "services --service redis --seconds 4",
        "--rounds 3 --seconds 3",
    ),
    Entry(
        "services-service-memcached",
        "loadgen beside memcaslap",
        "memcaslap reports no percentile.",
        "services --service memcached --seconds 4",
        "--rounds 3 --seconds 3",
    ),
    Entry(
        "services-service-nginx",
        "loadgen beside the load generators for HTTP",
        "loadgen costs less CPU than the others, and reports the right p99.9, as oha does.",
        "services --service nginx --seconds 4",
        "--rounds 3 --seconds 3",
    ),
    Entry(
        "merge",
        "Time and memory of a merge",
        "loadgen merge adds results one at a time. The memory grows with the number of different times in the sum, and hardly "
        "with the number of parts.",
        "merge",
        "--seconds 300",
    ),
    Entry(
        "parts",
        "One load from several generators",
        "Parts of a load start together and report what one generator reports, until they wait for each other's CPU; the verdict says "
        "so.",
        "parts --seconds 6",
        "--rounds 1 --seconds 3",
    ),
    Entry(
        "lag",
        "The schedule lag",
        "In an open loop, loadgen sends nearly every request within 0.1 ms after it is due.",
        "lag",
        "--rounds 1 --seconds 5",
    ),
]


def entry(name):
    return next((entry for entry in SERIES if entry.name == name), None)
