#!/usr/bin/env python3
"""Draws the curves of a sweep over rates from its JSON result: the 99th percentile of the response time against the
offered rate. Each server has a line, which ends at the first rate at which it does not keep up.

    loadgen sweep --modes all --slo 'p99<20ms' --format json -o sweep.json && docs/sweep.py sweep.json sweep.svg

Needs `pip install matplotlib`.
"""

import json
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402, after the backend is chosen

# Colours for all kinds of colour vision (Okabe, Ito 2008), and different markers.
STYLES = [("#d55e00", "o"), ("#0072b2", "s"), ("#009e73", "^"), ("#cc79a7", "D"), ("#56606b", "v"), ("#e69f00", "P")]

sweep = json.load(open(sys.argv[1]))
plt.rcParams.update({"font.family": "sans-serif", "svg.hashsalt": "sweep", "font.size": 11})
figure, axes = plt.subplots(figsize=(8, 4.2))
for subject, (colour, marker) in zip(sweep["subjects"], STYLES):
    points = [(point["level"], point["p99_ns"] / 1e6, point["keeps_up"])
              for point in subject["curve"] if point["p99_ns"]]
    carried = [(level, p99) for level, p99, keeps_up in points if keeps_up]
    # The first level at which the server does not keep up ends the line. Beyond it, its queue only grows.
    end = next(((level, p99) for level, p99, keeps_up in points if not keeps_up), None)
    axes.plot(*zip(*carried), label=subject["name"], color=colour, marker=marker, markersize=4.5, linewidth=1.8)
    if end:
        axes.plot(*zip(*carried[-1:], end), color=colour, linewidth=1.2, linestyle=":")
        axes.plot(*end, color=colour, marker="x", markersize=9, markeredgewidth=2.2, linestyle="none")
for bound in {slo.partition("<")[2] for slo in sweep["plan"]["slo"] if slo.startswith("p99<") and slo.endswith("ms")}:
    axes.axhline(float(bound.removesuffix("ms")), color="#888888", linewidth=1, linestyle="--")
    axes.annotate(f"SLO: p99 < {bound}", (0.01, float(bound.removesuffix("ms"))), xycoords=("axes fraction", "data"),
                  xytext=(0, 4), textcoords="offset points", fontsize=9, color="#666666")
axes.set_xscale("log")
axes.set_yscale("log")
axes.set_xlabel("offered requests per second")
axes.set_ylabel("p99 of the response time")
rates = [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000]
low, high = axes.get_xlim()
shown = [rate for rate in rates if low <= rate <= high]
axes.set_xticks(shown, [f"{rate:,}" for rate in shown], fontsize=9)
times = [(0.1, "100 µs"), (1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1_000, "1 s")]
bottom, top = axes.get_ylim()
shown = [(time, name) for time, name in times if bottom <= time <= top]
axes.set_yticks([time for time, _ in shown], [name for _, name in shown])
axes.minorticks_off()
axes.grid(alpha=0.3)
axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1), title="×: does not keep up",
            title_fontsize=9, alignment="left")
for side in ("top", "right"):
    axes.spines[side].set_visible(False)
figure.patch.set_facecolor("white")
figure.tight_layout()
figure.savefig(sys.argv[2], metadata={"Date": None})
