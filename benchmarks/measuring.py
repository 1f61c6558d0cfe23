"""What is measured, on which machine: figures, each the median of rounds, in a table that is kept."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from normlib import stack
from normlib.files import write_atomically
from normlib.tf import describe_environment

ROOT = Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Figure:
    """One figure.

    Args:
        name: What it is; its unit is part of it.
        values: What each round gave.
        reach: What it has to stay at or below; None: it is only reported.
        aim: What it should be.
    """

    name: str
    values: Sequence[float]
    reach: float | None = None
    aim: float | None = None


def alternate(sides: Sequence[Callable[[], float | tuple[float, ...]]], rounds: int) -> list[tuple[float, ...]]:
    """Measure some sides in turn, so that a noisy machine cannot decide, and return what each round gave, in a row."""
    measured = []
    for number in range(rounds):
        measured.append(tuple(value for side in sides for value in np.atleast_1d(side()).tolist()))
        print(f"  round {number + 1} of {rounds}: {', '.join(f'{value:.3g}' for value in measured[-1])}", flush=True)
    return measured


def time_command(
    command: Sequence[str], folder: Path | None = None, files: int = 0, **variables: str
) -> tuple[float, float]:
    """Run a command; return the seconds until a folder has so many JSON files, and until the command has ended."""
    started, found = time.perf_counter(), None
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **variables}, stdout=log, stderr=log)
        while process.poll() is None:
            if found is None and folder is not None and len(list(folder.glob("*.json"))) >= files:
                found = time.perf_counter() - started
            time.sleep(0.02)
        if process.returncode:
            log.seek(0)
            raise RuntimeError(f"{command} ended with {process.returncode}: {log.read().decode()[-2000:]}")
    ended = time.perf_counter() - started
    return ended if found is None else found, ended


def python(*arguments: object) -> list[str]:
    """Return the command line of this interpreter with some arguments."""
    return [sys.executable, *map(str, arguments)]


def keep(benchmark: str, figures: Sequence[Figure], path: Path) -> pd.DataFrame:
    """Put the figures of a benchmark into the table that is kept, in place of its earlier ones, and return it."""
    about = {"machine": machine(), "measured": datetime.date.today().isoformat()}
    rows = [
        {
            "benchmark": benchmark,
            "figure": figure.name,
            **pd.Series(figure.values).agg(["median", "min", "max", "count"]).to_dict(),
            "reach": figure.reach,
            "aim": figure.aim,
            **about,
        }
        for figure in figures
    ]
    new = pd.DataFrame(rows).rename(columns={"count": "rounds"}).astype({"rounds": int, "reach": float, "aim": float})
    if path.exists():
        old = pd.read_csv(path)
        new = pd.concat([part for part in (old[old["benchmark"] != benchmark], new) if not part.empty])
    write_atomically(path, new.to_csv(index=False, float_format="%.4g"))
    return new


def machine() -> str:
    """Return what the figures hold for."""
    there = describe_environment("auto", 1)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = stack.describe(stack.versions("auto"))
    return f"{there['processor']}, {stack.cores()} cores, {memory:.0f} GiB, {platform.system()}; {versions}"
