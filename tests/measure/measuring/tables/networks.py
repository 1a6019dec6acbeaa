"""The table of networks: what is injected into the link between loadgen and the server, what follows from that, and what
loadgen reports."""

from dataclasses import dataclass

from measuring.failure import Failure
from measuring.loadgen import run
from measuring.measurement import Measurement
from measuring.netbed import HostServer, NetBed
from measuring.rounds import failures, in_turn, rounds_of, spread
from measuring.table import Code, Table, number

# The test bed makes itself in less.
BED_SECONDS = 60
# Each client has its next request due 400 ms after the one before. The clients connect one after the other.
OPEN_LOOP = ["--connections", 200, "--rate", 500, "--connect-rate", 500]
WARMED_UP = [*OPEN_LOOP, "--warmup", "500ms"]
# The counters of the network begin with the first connection, and the requests of a report with the window.
FROM_THE_START = [*OPEN_LOOP, "--warmup", "0s"]
# Ethernet, IPv4, and TCP with timestamps.
HEADER_BYTES = 14 + 20 + 32
MESSAGE_BYTES = 1000
CLOSED_LOOP = ["--connections", 20, "--size", MESSAGE_BYTES, "--warmup", "500ms"]


@dataclass(frozen=True)
class Figure:
    """A figure of a report: its name, its value as computed (None: unknown), its path in the JSON, and what it is divided by:
    nanoseconds, or another figure."""

    name: str
    computed: float | None
    path: str
    divisor: float | str = 1e6
    decimals: int = 2


def ms(name, computed):
    kind, _, figure = name.partition(" ")
    return Figure(f"{name} ms", computed, f"latency_ns.{kind}.{figure}")


def delayed(delay_ms):
    return [ms("connect p50", 2 * delay_ms), ms("response p50", 2 * delay_ms), ms("response p99", 2 * delay_ms)]


def jittered(delay_ms, jitter_ms):
    """The sum of two uniform times is a triangle; these are its quantiles."""
    edge = 2 * jitter_ms
    above = {share: 2 * delay_ms + edge * (1 - (2 * (1 - share)) ** 0.5) for share in (0.5, 0.9, 0.99)}
    return [ms(f"response {name}", above[share]) for name, share in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]]


def lost(share):
    """A request is sent again if it or its reply, which acknowledges it, is lost; so is the request that is sent again."""
    again = 1 - (1 - share) ** 2
    computed = 100 * again / (1 - again)
    retransmissions = Figure("retransmissions % of requests", computed, "network.client_retransmissions", "requests.sent")
    return [retransmissions, ms("response p50", None), ms("response p99", None)]


def reordered(delay_ms, share):
    """Each way, this share of the frames is not delayed."""
    return [ms("response p50", 2 * delay_ms), ms("response mean", 2 * delay_ms * (1 - share))]


def limited(bit_per_s):
    bound = bit_per_s / 8 / (MESSAGE_BYTES + HEADER_BYTES)
    return [Figure("replies per s", bound, "rate.achieved_per_s", 1, 0)]


LINKS = {
    "": (WARMED_UP, [ms("connect p50", 0), ms("response p50", 0), ms("response p99", 0)]),
    "wire": (WARMED_UP, [ms("connect p50", 0), ms("response p50", 0), ms("response p99", 0)]),
    "delay=1ms": (WARMED_UP, delayed(1)),
    "delay=20ms": (WARMED_UP, delayed(20)),
    "delay=100ms": (WARMED_UP, delayed(100)),
    "delay=20ms,jitter=5ms": (WARMED_UP, jittered(20, 5)),
    "loss=0.1%": (FROM_THE_START, lost(0.001)),
    "loss=1%": (FROM_THE_START, lost(0.01)),
    "loss=5%": (FROM_THE_START, lost(0.05)),
    "delay=10ms,reorder=25%": (WARMED_UP, reordered(10, 0.25)),
    "rate=10mbit": (CLOSED_LOOP, limited(10e6)),
    "rate=50mbit": (CLOSED_LOOP, limited(50e6)),
}


def networks(options):
    means = {}

    def measure(link):
        load, figures = LINKS[link]
        with NetBed({"generator": "", "server": link}, BED_SECONDS + options.seconds) as bed:
            means[link] = bed.means("server")
            with HostServer(bed, "server", [str(options.bin / "server"), "--mode", "event-loop"]) as server:
                flags = ["--threads", 1, *load]
                report, _ = run(options, options.seconds, None, [server.target], *flags, before=bed.on("generator"))
        if report["requests"]["verified"] != report["requests"]["completed"]:
            raise Failure("not every reply is right")
        sample = {figure.name: value(report, figure) for figure in figures}
        reasons = [reason["code"] for reason in report["verdict"]["reasons"]]
        return {**sample, "verdict": ", ".join([report["verdict"]["status"], *reasons])}

    samples = in_turn({link: link for link in LINKS}, measure, options.rounds)
    headers = ["injected, each way", "by", "figure", "computed", "reported", "min", "max", "remarks"]
    rows = []
    for link, (_, figures) in LINKS.items():
        remarks = "; ".join(failures(samples[link])) or named(samples[link])
        for figure in figures:
            seen = spread(samples[link], figure.name)
            reported = [number(seen and each, figure.decimals) for each in (seen.median, seen.minimum, seen.maximum)] if seen else [None] * 3
            computed = number(figure.computed, figure.decimals)
            injected = Code(link.replace("wire", "")) if link.strip("wire") else "nothing"
            rows.append([injected, means.get(link) or "–", figure.name, computed, *reported, remarks])
            remarks = ""
    conditions = "event-loop on a host behind the link; 200 clients, open loop of 500/s (rate: 20 clients, closed loop, messages of "
    conditions += f"{MESSAGE_BYTES:,} bytes); medians of {rounds_of(options)}"
    return Measurement(samples, Table(conditions, headers, rows), ("python",))


def value(report, figure):
    number = at(report, figure.path)
    if number is None:
        return None
    if isinstance(figure.divisor, str):
        return 100 * number / at(report, figure.divisor)
    return number / figure.divisor


def at(report, path):
    for name in path.split("."):
        report = report[name]
    return report


def named(samples):
    """How many of the runs have the verdict's reason of the network."""
    runs = [sample for sample in samples if "failure" not in sample]
    count = sum("retransmissions" in sample["verdict"] for sample in runs)
    return f"retransmissions named in {count} of {len(runs)}" if count else ""
