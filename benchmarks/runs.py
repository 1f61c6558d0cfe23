"""Whole commands: a study of one seed, of ten, on a cluster; and a single execution."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pandas as pd

from benchmarks.measuring import ROOT, Figure, alternate, python, time_command
from normlib import stack
from normlib.execution.notebook import Execution, notebook_path
from normlib.execution.workers import perform
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.runs.store import read_records
from normlib.studies.study import read_study

SOURCE = ("source", "--orderings", ",".join(SOURCE_INSTANCES))
PLAIN = {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'benchmarks'}"}


def whole(rounds: int) -> list[Figure]:
    """The source's orderings, one seed, from the prompt to the prompt, beside the source's cells in one notebook."""
    setup = "import plain_keras\nimport source_cells\n\nx_test, y_test, *_ = plain_keras.load()"
    fits = [f"plain_keras.fit(source_cells.instance_{number}, x_test, y_test)" for number in (1, 2, 3, 4)]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    cells = [nbformat.v4.new_code_cell(source) for source in (setup, *fits)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})

    def plain() -> float:
        with tempfile.TemporaryDirectory() as folder:
            given, executed = Path(folder) / "source.ipynb", Path(folder) / "executed.ipynb"
            nbformat.write(notebook, given)
            return time_command(python("-m", "papermill", given, executed, "-k", "python3"), **PLAIN)[1]

    measured = alternate([lambda: _normlib(4, *SOURCE, "--seeds", 1), plain], rounds)
    return [
        Figure("normlib's seconds / the source notebook's", [b / c for _, b, c in measured], reach=1.0, aim=0.8),
        Figure("the same, to the last record", [a / c for a, _, c in measured], reach=0.75, aim=0.6),
    ]


def readings(rounds: int) -> list[Figure]:
    """Seconds of a run's evaluations over those of its fit, two runs at once."""

    def shares() -> list[float]:
        with tempfile.TemporaryDirectory() as out:
            _normlib(8, *SOURCE, "--seeds", 2, "--workers", 2, out=out)
            runs = pd.DataFrame([{"ordering": run.ordering, **run.seconds} for run in read_records(out)])
            seconds = runs.groupby("ordering")[["evaluate", "fit"]].sum()
            return (seconds["evaluate"] / seconds["fit"])[list(SOURCE_INSTANCES)].tolist()

    measured = [shares() for _ in range(rounds)]
    return [
        Figure(f"{ordering}: evaluations / fit", values, reach=0.6, aim=0.4)
        for ordering, values in zip(SOURCE_INSTANCES, zip(*measured, strict=True), strict=True)
    ]


def sweep(rounds: int) -> list[Figure]:
    """Four orderings, ten seeds, beside a plain Keras script that evaluates in each reading."""
    measured = _beside_script(rounds)
    return [
        Figure("normlib's seconds / a plain Keras script's", [a / b for a, b in measured], reach=0.35, aim=0.30),
        Figure("normlib's seconds", [a for a, _ in measured]),
    ]


def fit_only(rounds: int) -> list[Figure]:
    """Four orderings, ten seeds, beside a plain Keras script that only fits, so that it says less."""
    measured = _beside_script(rounds, "--fit-only")
    return [Figure("normlib's seconds / a script's that only fits", [a / b for a, b in measured], reach=0.8, aim=0.65)]


def _beside_script(rounds: int, *options: str) -> list[tuple[float, ...]]:
    def plain() -> float:
        with tempfile.TemporaryDirectory() as out:
            return time_command(python(ROOT / "benchmarks" / "plain_keras.py", 10, out, *options), **PLAIN)[1]

    return alternate([lambda: _normlib(40, *SOURCE, "--seeds", 10)[0], plain], rounds)


def dask(rounds: int) -> list[Figure]:
    """Five orderings, four seeds, 1,280 images each, on two Dask workers beside two local ones."""
    small = read_study("source").replace(
        seeds=4, defaults={"fit_split": "test[:1280]", "evaluate_split": "train[:1280]"}
    )
    with tempfile.TemporaryDirectory() as folder, _cluster() as address:
        (file := Path(folder) / "small.yaml").write_text(small.to_yaml())
        sides = [lambda: _normlib(20, file, "--scheduler", address)[0], lambda: _normlib(20, file, "--workers", 2)[0]]
        measured = alternate(sides, rounds)
    return [Figure("seconds on two Dask workers / on two local ones", [a / b for a, b in measured], 1.3, 1.15)]


def overhead(rounds: int) -> list[Figure]:
    """The part of an execution of ten seeds, in a new kernel, that is neither fit nor evaluation."""
    notebook = notebook_path("instance").read_text(encoding="utf-8")

    def share(ordering: str) -> float:
        with tempfile.TemporaryDirectory() as out:
            started = time.perf_counter()
            outcome = perform(Execution(Instance(ordering), 0, 10), notebook, stack.installed(), out)
            took = time.perf_counter() - started
            if outcome.error is not None:
                raise outcome.error
            return 1 - sum(run.seconds["fit"] + run.seconds["evaluate"] for run in read_records(out)) / took

    measured = alternate([lambda: share("bn/none"), lambda: share("none/none")], rounds)
    return [
        Figure("share of an execution of bn/none, the master notebook's default", [a for a, _ in measured], 0.15, 0.10),
        Figure("share of an execution of none/none, whose runs are shortest", [b for _, b in measured], 0.15, 0.10),
    ]


def _normlib(runs: int, *arguments: object, out: str | None = None) -> tuple[float, float]:
    """Run a study of so many runs; return the seconds to its last record, and until the prompt is back."""
    with tempfile.TemporaryDirectory() as folder:
        where = out or folder
        command = python("-m", "normlib", "study", *arguments, "--out", where)
        return time_command(command, Path(where) / "records", runs)


@contextlib.contextmanager
def _cluster() -> Iterator[str]:
    """Start a Dask scheduler and two workers of one thread, each in a folder of its own; return the address."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        told = Path(folder) / "scheduler.json"
        loopback = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", told]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        one_thread = ("worker", ["--nthreads", 1])
        for name, options in (("scheduler", ["--port", 0]), one_thread, one_thread):
            place = started.enter_context(tempfile.TemporaryDirectory())
            process = subprocess.Popen(python("-m", "dask", name, *options, *loopback), cwd=place, **quiet)
            started.callback(process.wait)
            started.callback(process.terminate)
            while not told.exists():
                time.sleep(0.1)
        yield json.loads(told.read_text())["address"]
