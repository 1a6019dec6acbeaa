"""The table of `loadgen merge`: its time and its memory for many large results."""

import base64
import json
import os
import random
import struct
import subprocess
import tempfile
import time
import zlib

from measuring.failure import Failure
from measuring.loadgen import INVALID, VALID
from measuring.measurement import Measurement
from measuring.processes import Server
from measuring.subjects import our_modes
from measuring.table import Table, number

# The run whose intervals the parts repeat: this many intervals of a second, at this rate.
REAL_SECONDS, RATE = 30, 5_000
SECONDS_MAX = 1800
MIB = 1 << 20
# The cookies of the HdrHistogram format, version 2: compressed, and not.
COMPRESSED, PLAIN = 0x1C849314, 0x1C849313


def merging(options):
    """Pipes the results of an hour from many generators through `loadgen merge`. Each part has its own order of the intervals of
    one real run, and its own start."""
    real = real_result(options)
    repeats = options.seconds // REAL_SECONDS
    samples = {parts: [measure(options, real, parts, repeats) for _ in range(options.rounds)] for parts in options.parts}
    rows = []
    for parts, each in samples.items():
        sample = sorted(each, key=lambda sample: sample["seconds"])[len(each) // 2]
        rows.append(
            [
                parts,
                number(sample["bytes"] / MIB, 0),
                number(sample["seconds"], 1),
                number(sample["cpu_s"], 1),
                number(sample["bytes"] / MIB / sample["seconds"], 0),
                number(max(sample["peak_kib"] for sample in each) / 1024, 1),
                number(sample["bytes_out"] / MIB, 1),
            ]
        )
    growth = ""
    if len(samples) > 1:
        fewer, most = sorted(samples)[-2:]
        peaks = [max(sample["peak_kib"] for sample in samples[parts]) for parts in (fewer, most)]
        growth = f"; from {fewer} to {most} parts, the peak grows by {(peaks[1] - peaks[0]) / (most - fewer):,.1f} KiB for each part"
    conditions = (
        f"each part: {repeats * REAL_SECONDS:,} intervals of 1 s at {RATE:,}/s, on one line; each repeats the {REAL_SECONDS} intervals of "
        f"a real run in its own order; `loadgen merge --format jsonl` reads all from a pipe{growth}"
    )
    headers = ["parts", "MiB read", "s", "CPU s", "MiB per s", "peak MiB (RSS)", "MiB written"]
    return Measurement({str(parts): each for parts, each in samples.items()}, Table(conditions, headers, rows))


def real_result(options):
    server = our_modes(options.bin, 1)["event-loop"]
    with Server(server.command) as process:
        load = ["--rate", RATE, "--duration", f"{REAL_SECONDS}s", "--connections", 50, "--interval", "1s"]
        command = [options.bin / "loadgen", "run", f"127.0.0.1:{process.port}", *load, "--format", "jsonl", "--quiet"]
        run = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, check=False, timeout=REAL_SECONDS + 60)
    if run.returncode not in (VALID, INVALID):
        raise Failure(f"loadgen ended with {run.returncode}")
    return json.loads(run.stdout)


def measure(options, real, parts, repeats):
    command = [str(options.bin / "loadgen"), "merge", "--fail-on", "never", "--expect-parts", str(parts), "--format", "jsonl"]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as log:
        started = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=log)
        sent = peak_kib = 0
        make = Parts(real, repeats)
        try:
            for index in range(parts):
                for piece in make.part(index):
                    sent += process.stdin.write(piece)
                peak_kib = max(peak_kib, high_water_kib(process.pid))
            process.stdin.close()
        except BrokenPipeError:
            # It ended early. Its log says why.
            pass
        while True:
            # The kernel keeps the peak of a process until its end.
            peak_kib = max(peak_kib, high_water_kib(process.pid))
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            time.sleep(0.002)
            if time.monotonic() - started > SECONDS_MAX:
                process.kill()
                raise Failure(f"merge took longer than {SECONDS_MAX} s")
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        if process.returncode != 0:
            raise Failure(f"merge ended with {process.returncode}: {log.read().decode()[-500:]}")
        out.seek(0)
        merged = json.loads(out.read())
        bytes_out = out.tell()
    check(merged, make, parts, repeats)
    cpu_s = usage.ru_utime + usage.ru_stime
    return {"bytes": sent, "seconds": seconds, "cpu_s": cpu_s, "peak_kib": peak_kib, "bytes_out": bytes_out}


def high_water_kib(pid):
    """The peak of the resident set. Zero for a process that has ended."""
    try:
        with open(f"/proc/{pid}/status") as status:
            line = next((line for line in status if line.startswith("VmHWM:")), "VmHWM: 0 kB")
        return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def check(merged, make, parts, repeats):
    """The sum holds each request of each part once."""
    expected = parts * repeats * make.completed
    seen = sum(interval["completed"] for interval in merged["intervals"])
    if seen != expected or merged["merged"]["generators"] != parts:
        raise Failure(f"{seen:,} requests in the intervals of the sum, and {expected:,} in those of the parts")


class Parts:
    """The results of generators that ran longer than a real one: all its numbers, `repeats` times."""

    def __init__(self, real, repeats):
        self.real, self.repeats = real, repeats
        self.intervals = [json.dumps(interval | {"t_s": None}, separators=(",", ":")) for interval in real["intervals"]]
        self.completed = sum(interval["completed"] for interval in real["intervals"])
        self.whole = scaled(real, repeats)

    def part(self, index):
        """The pieces of the line of one part."""
        report = self.whole | {"intervals": []}
        report["plan"] = report["plan"] | {"seed": index}
        report["window_started_at_unix_us"] += index * 37 % 2_000
        order = random.Random(index)
        report["generator"] = report["generator"] | {"cpu_s": report["generator"]["cpu_s"] * order.uniform(0.9, 1.1)}
        head, tail = json.dumps(report, separators=(",", ":")).split('"intervals":[]')
        places = list(range(len(self.intervals))) * self.repeats
        order.shuffle(places)
        yield f'{head}"intervals":['.encode()
        for t_s, place in enumerate(places):
            interval = self.intervals[place].replace('"t_s":null', f'"t_s":{t_s}.0', 1)
            yield f"{',' if t_s else ''}{interval}".encode()
        yield f"]{tail}\n".encode()


def scaled(real, factor):
    """The result of a run that was longer by this factor. Times keep their values, and counts grow."""
    report = json.loads(json.dumps(real))
    report["elapsed_s"] *= factor
    report["plan"]["duration_s"] *= factor
    for counts in [report["requests"], report["errors"], report["tail"]]:
        for name, value in counts.items():
            if isinstance(value, int):
                counts[name] = value * factor
    for latency in report["latency_ns"].values():
        if latency:
            latency["count"] *= factor
            latency["hdr"] = scaled_histogram(latency["hdr"], factor)
    fairness = report["fairness"]
    for name in ["requests_min", "requests_max", "replies_sum"]:
        fairness[name] *= factor
    fairness["replies_sum_of_squares"] *= factor * factor
    return report


def scaled_histogram(hdr, factor):
    """The same histogram with each count times `factor` (HdrHistogram V2: zigzag LEB128 numbers, negative ones skip empty
    buckets)."""
    packed = base64.b64decode(hdr)
    cookie, _ = struct.unpack_from(">II", packed)
    plain = zlib.decompress(packed[8:])
    if cookie != COMPRESSED or struct.unpack_from(">I", plain)[0] != PLAIN:
        raise Failure("a histogram has an unknown format")
    header, payload = plain[:40], plain[40:]
    numbers = bytearray()
    for value in read_numbers(payload):
        write_number(numbers, value * factor if value > 0 else value)
    header = header[:4] + struct.pack(">I", len(numbers)) + header[8:]
    packed = zlib.compress(header + bytes(numbers))
    return base64.b64encode(struct.pack(">II", COMPRESSED, len(packed)) + packed).decode()


def read_numbers(payload):
    number = shift = count = 0
    for byte in payload:
        # The ninth byte holds eight bits.
        count += 1
        if count == 9:
            number |= byte << shift
        else:
            number |= (byte & 0x7F) << shift
        if byte & 0x80 and count < 9:
            shift += 7
            continue
        yield (number >> 1) ^ -(number & 1)
        number = shift = count = 0


def write_number(numbers, value):
    value = (value << 1) ^ (value >> 63)
    while value > 0x7F:
        numbers.append(value & 0x7F | 0x80)
        value >>= 7
    numbers.append(value)
