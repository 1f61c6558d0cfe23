"""Load records, estimate contrasts and draw the bars: prints ``[seconds, megabytes]``."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import matplotlib as mpl

import normlib
from normlib.analysis.comparison import Comparison
from normlib.report import tables

if __name__ == "__main__":
    mpl.use("agg")
    started = time.perf_counter()
    runs = Comparison(normlib.load_records(sys.argv[1]), normlib.read_study("source").contrasts)
    tables.result_table(runs)
    tables.contrast_table(runs.estimates)
    normlib.plot_bars(runs)[0].savefig(f"{sys.argv[1]}.png")
    seconds = time.perf_counter() - started
    # Of this program alone: what the operating system counts for the process begins with its parent's.
    (most,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    print(json.dumps([seconds, int(most) / 1024]))
