#!/usr/bin/env python3
"""Draws docs/stall.svg from the JSON report that docs/stall.sh prints.

    docs/stall.sh > /tmp/stall.json && docs/stall.py /tmp/stall.json docs/stall.svg

Needs `pip install hdrhistogram matplotlib`.
"""

import json
import sys

import matplotlib
from hdrh.histogram import HdrHistogram

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402, after the backend is chosen

report = json.load(open(sys.argv[1]))
plt.rcParams.update({"font.family": "sans-serif", "svg.hashsalt": "stall", "font.size": 11})
figure, axes = plt.subplots(figsize=(8, 3.6))
for clock, label, colour in [
    ("response", "timed from when it was due", "#d1495b"),
    ("service", "timed from when it was written", "#2e86ab"),
]:
    histogram = HdrHistogram.decode(report["latency_ns"][clock]["hdr"])
    points = [(1 / (1 - p.percentile_level_iterated_to / 100), p.value_iterated_to / 1e6)
              for p in histogram.get_percentile_iterator(10) if p.percentile_level_iterated_to < 99.99]
    axes.plot(*zip(*points), label=label, color=colour, linewidth=2)
axes.set_xscale("log")
axes.set_yscale("log")
ticks = {1: "0", 2: "50", 10: "90", 20: "95", 100: "99", 1000: "99.9", 10000: "99.99"}
axes.set_xticks(list(ticks), list(ticks.values()))
axes.minorticks_off()
axes.set_yticks([0.01, 0.1, 1, 10, 100], ["10 µs", "100 µs", "1 ms", "10 ms", "100 ms"])
axes.set_xlabel("percentile of the requests")
axes.grid(alpha=0.3)
axes.legend(loc="center", bbox_to_anchor=(0.545, 0.6), frameon=False, fontsize=9)
for side in ("top", "right"):
    axes.spines[side].set_visible(False)
figure.patch.set_facecolor("white")
figure.tight_layout()
figure.savefig(sys.argv[2], metadata={"Date": None})
