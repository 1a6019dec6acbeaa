"""The short tables in BENCHMARKING.md, made from the files in docs/results.

A line `<!-- results: NAME -->` begins a short table, and `<!-- end -->` ends it. Nothing between them is written by hand."""

import re

from measuring.results import RESULTS, read
from measuring.series import entry
from measuring.subjects import ROOT
from measuring.table import UNKNOWN, markdown

DOCUMENT = ROOT / "BENCHMARKING.md"
PLACE = re.compile(r"(<!-- results: ([a-z0-9-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
# The columns of a full table that its short one has. Without an entry here, it has all of them.
SERVICE = ["generator", "version", "µs of CPU per request", "ratio", "per s", "stall: p99 ms", "stall: p99.9 ms", "stall: max ms"]
COLUMNS = {
    **{f"services-service-{name}": SERVICE for name in ["redis", "memcached", "nginx"]},
    "networks": ["injected, each way", "by", "figure", "computed", "reported", "min", "max"],
    "cpu": ["server", "µs of CPU per echo", "min", "max", "ratio", "per s", "p99 ms", "Jain min"],
    "churn": ["server", "µs of CPU per connection", "min", "max", "ratio", "per s", "p99 ms"],
    "stall-other-generators": ["generator", "version", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "verdict"],
    "verdicts": ["server", "requests/s", "p99 ms", "runs", "valid", "suspect", "invalid"],
    "memory": ["server", "at-once", "afterwards", "MiB before"],
    "idle": ["server", "µs alone", "µs beside 15,000 idle", "ratio"],
}
MODES = ["`thread-per-connection`", "`thread-pool`", "`tokio-task`", "`event-loop`", "`io-uring`"]
# The rows of a full table that its short one has. Without an entry here, it has all of them.
ROWS = {
    "cpu": ["C epoll", "tokio current-thread", "Go", "Node", "Python asyncio", *MODES],
    "cpu-loads": ["tokio current-thread", *MODES],
    "stall-other-generators": [
        "exact response times",
        "loadgen, open loop",
        "loadgen, closed loop",
        "wrk2",
        "oha --latency-correction",
        "wrk",
        "ab",
    ],
    "churn": ["C epoll", "C epoll, closes after one echo", *MODES],
    "memory": ["C epoll", "tokio current-thread", *MODES],
}
# Short tables with one column of several full tables side by side.
SIDE_BY_SIDE = {
    "sweep": (
        "holds p99<20ms up to",
        {"1 ms of sleep": "sweep-work-sleep-1ms", "50 µs of work": "sweep-work-cpu-50us"},
    ),
    "cpu-loads": (
        "ratio",
        {
            "64 bytes": "cpu",
            "30,000/s": "cpu-rate-30000",
            "1 KiB": "cpu-size-1024",
            "16 KiB": "cpu-size-16384",
            "50 clients": "cpu-connections-50",
            "5,000 clients": "cpu-connections-5000",
            "16 outstanding": "cpu-pipeline-16",
            "2 threads": "cpu-threads-2",
        },
    ),
}
# The facts of this result describe the machine.
MACHINE = "cpu"


def rewrite(folder=RESULTS, document=DOCUMENT):
    """Replaces the short tables of the document. Returns whether its text changed."""
    before = document.read_text()
    after = PLACE.sub(lambda place: f"{place[1]}{short_table(folder, place[2]).rstrip()} {place[3]}", before)
    document.write_text(after)
    return before != after


def short_table(folder, name):
    if name == "machine":
        return facts_of_machine(folder)
    if name in SIDE_BY_SIDE:
        return side_by_side(folder, name, *SIDE_BY_SIDE[name])
    result = read(folder, name)
    if result is None:
        return missing([name])
    wanted = [header for header in COLUMNS.get(name, result.headers) if header in result.headers]
    if name not in COLUMNS and not any(row[-1] for row in result.rows):
        wanted = [header for header in wanted if header != "remarks"]
    columns = [result.headers.index(header) for header in wanted]
    rows = [[row[column] for column in columns] for row in result.rows if is_wanted(name, row[0])]
    return f"{table(wanted, rows)}\n\nFull table: {link(name, name, result)}.\n"


def is_wanted(name, row):
    return row in ROWS.get(name, [row])


def side_by_side(folder, name, header, names):
    results = {title: read(folder, file) for title, file in names.items()}
    known = {title: result for title, result in results.items() if result}
    cells = {title: dict(column_of(result, header)) for title, result in known.items()}
    servers = dict.fromkeys(server for column in cells.values() for server in column if is_wanted(name, server))
    rows = [[server, *(cells[title].get(server, UNKNOWN) for title in known)] for server in servers]
    links = ", ".join(link(title, names[title], result) for title, result in known.items())
    text = f"{table(['server', *known], rows)}\n\nFull tables: {links}.\n" if known else ""
    lacking = [names[title] for title, result in results.items() if result is None]
    return text + (missing(lacking) if lacking else "")


def column_of(result, header):
    column = result.headers.index(header)
    return [(row[0], row[column]) for row in result.rows]


def facts_of_machine(folder):
    result = read(folder, MACHINE)
    if result is None:
        return missing([MACHINE])
    names = ["machine", "kernel", "mitigations", "network", "versions"]
    return "".join(f"* **{name}**: {result.facts[name]}\n" for name in names if name in result.facts)


def link(text, name, result):
    date = result.facts.get("date", "unknown date").partition(" ")[0]
    build = result.facts.get("build", "unknown").partition(",")[0]
    return f"[{text}](docs/results/{name}.md) ({date}, build {build})"


def missing(names):
    """A line with the command of tables that are not measured yet."""
    known = [name for name in names if entry(name)]
    return f"Not measured yet: `tests/measure/measure.py all --only {','.join(known)}`.\n"


def table(headers, rows):
    """The cells are Markdown already."""
    return markdown(headers, rows).replace("\\\\|", "\\|")
