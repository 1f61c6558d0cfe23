"""Load records, estimate contrasts and draw the bars: prints ``[seconds, megabytes]``."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import matplotlib as mpl

from normlib.analysis import verdicts
from normlib.report import plots, tables
from normlib.runs import store
from normlib.studies.study import read_study

if __name__ == "__main__":
    mpl.use("agg")
    started = time.perf_counter()
    runs = store.load_records(sys.argv[1])
    study = read_study("source")
    tables.results(runs)
    verdicts.estimate(runs, **study.family)
    plots.plot_bars(runs)[0].savefig(f"{sys.argv[1]}.png")
    seconds = time.perf_counter() - started
    # Of this program alone: what the operating system counts for the process begins with its parent's.
    (most,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), flags=re.MULTILINE)
    print(json.dumps([seconds, int(most) / 1024]))
