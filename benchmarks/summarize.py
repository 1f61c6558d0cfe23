"""Load records, estimate contrasts and draw the bars: prints ``[seconds, megabytes]``."""

from __future__ import annotations

import json
import resource
import sys
import time

import matplotlib as mpl

from normlib import plots, records, studies, tables, verdicts

if __name__ == "__main__":
    mpl.use("agg")
    started = time.perf_counter()
    runs = records.load_records(sys.argv[1])
    study = studies.read_study("source")
    tables.results(runs)
    verdicts.estimate(runs, **study.family)
    plots.plot_bars(runs)[0].savefig(f"{sys.argv[1]}.png")
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([time.perf_counter() - started, memory]))
