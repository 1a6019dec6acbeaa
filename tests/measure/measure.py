#!/usr/bin/env python3
"""Measures the server's modes beside the peers in tests/peers, and loadgen beside other clients.

Each command makes one table; README.md in this folder says how. Build once, then measure on a quiet machine, in a
separate network namespace:

    cargo build --release && tests/measure/measure.py build
    sudo unshare -n tests/measure/measure.py cpu             prints one table
    sudo unshare -n tests/measure/measure.py cpu --save      writes it to docs/results, too
    sudo unshare -n tests/measure/measure.py all             every table of BENCHMARKING.md
"""

import datetime
import resource
import shlex
import subprocess
import sys
import time

from measuring import check, command_line, pictures, results, summary
from measuring.failure import Failure
from measuring.series import SERIES, entry
from measuring.subjects import ROOT, select
from measuring.tables import TABLES

# Options that change neither the measurement nor the name of its file.
OUTPUT_OPTIONS = {"--save": 0, "--markdown": 0, "--results": 1, "--json": 1, "--picture": 1}


def main():
    parser = command_line.parser(__doc__)
    options = parser.parse_args()
    try:
        return act(parser, options)
    except Failure as failure:
        print(f"measure.py: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def act(parser, options):
    # Servers inherit the limit, and most do not raise it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    # In a new network namespace, loopback is down. Elsewhere it is up, and this command fails without an effect.
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False, stderr=subprocess.DEVNULL)
    match options.table:
        case "build":
            return 0 if check.build(options) else 1
        case "check":
            return 0 if check.check(options) else 1
        case "summary":
            print("BENCHMARKING.md has changed" if summary.rewrite() else "BENCHMARKING.md is up to date")
            return 0
        case "all":
            return measure_all(parser, options)
    measurement = measure(options, shown_command(sys.argv[1:]))
    print(measurement.table.markdown() if options.markdown else measurement.table.text())
    return 1 if measurement.is_failed else 0


def measure_all(parser, options):
    """Every table of BENCHMARKING.md. A table that fails is named at the end, and does not end the series."""
    wanted = select([entry.name for entry in SERIES], options)
    folder, failed = options.results or results.RESULTS, []
    for name in wanted:
        arguments = entry(name).command(options.quick)
        if command_line.result_name(parser.parse_args(arguments)) != name:
            arguments += ["--name", name]
        command = shown_command(arguments)
        print(f"== {command}", file=sys.stderr, flush=True)
        if options.list:
            continue
        options_of_table = parser.parse_args([*arguments, "--bin", str(options.bin), "--build", str(options.build)])
        options_of_table.results = folder
        if entry(name).picture:
            options_of_table.picture = (options.results or ROOT / "docs") / entry(name).picture
        try:
            measure(options_of_table, command)
        except (Failure, OSError, subprocess.SubprocessError) as failure:
            print(f"measure.py: {name}: {failure}", file=sys.stderr)
            failed.append(name)
    if not options.results and not options.list:
        summary.rewrite()
    if failed:
        print(f"measure.py: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(options, command):
    begun, started = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    measurement = TABLES[options.table](options)
    seconds = time.monotonic() - started
    if options.save or options.results:
        name = command_line.result_name(options)
        known = entry(name)
        title, shows = (known.title, known.shows) if known else (f"{name}: {options.summary}", "This table is not part of BENCHMARKING.md.")
        folder = options.results or results.RESULTS
        path = results.write(folder, name, title, shows, command, begun, seconds, options, measurement)
        print(f"wrote {path}", file=sys.stderr, flush=True)
    if options.json:
        results.write_samples(options.json, options, measurement)
    if getattr(options, "picture", None):
        pictures.draw(options.table, measurement.samples, options.picture)
    return measurement


def shown_command(arguments):
    """The command that repeats a measurement, and saves it."""
    kept, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        flag, _, value = word.partition("=")
        if flag not in OUTPUT_OPTIONS:
            kept.append(word)
        elif not value:
            del rest[: OUTPUT_OPTIONS[flag]]
    return f"tests/measure/measure.py {shlex.join(kept)} --save"


if __name__ == "__main__":
    sys.exit(main())
