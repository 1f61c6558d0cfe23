"""Whole commands: a study of one seed, a sweep of ten, a single execution."""

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

from benchmarks.measuring import ROOT, Figure, alternate, python, seconds_until
from normlib import stack
from normlib.execution.notebook import Execution, notebook_path
from normlib.execution.workers import perform
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.runs.store import read_records

ORDERINGS = ",".join(SOURCE_INSTANCES)
PLAIN = {"PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT / 'benchmarks'}"}


def study(rounds: int) -> list[Figure]:
    """The source's orderings, one seed, beside the source's cells as one notebook that papermill executes."""
    cells = [nbformat.v4.new_code_cell(source) for source in _source_notebook()]
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "source.ipynb"
        nbformat.write(notebook, given)

        def plain() -> float:
            with tempfile.TemporaryDirectory() as out:
                papermill = python(
                    "-m", "papermill", given, Path(out) / "executed.ipynb", "-k", "python3", "-p", "out", out
                )
                return seconds_until(papermill, Path(out), 4, **PLAIN)

        measured = alternate([lambda: _normlib_seconds(1), plain], rounds)
    return [Figure("normlib's seconds / the source notebook's", [a / b for a, b in measured], reach=1.0, aim=0.8)]


def sweep(rounds: int) -> list[Figure]:
    """Four orderings, ten seeds, here and on two Dask workers, beside a plain Keras script."""

    def plain() -> float:
        with tempfile.TemporaryDirectory() as out:
            return seconds_until(python(ROOT / "benchmarks" / "plain_keras.py", 10, out), Path(out), 40, **PLAIN)

    with _cluster() as address:
        sides = [lambda: _normlib_seconds(10), plain, lambda: _normlib_seconds(10, "--scheduler", address)]
        measured = alternate(sides, rounds)
    return [
        Figure("normlib's seconds / a plain Keras script's", [a / b for a, b, _ in measured], reach=0.65, aim=0.5),
        Figure("seconds on two Dask workers / on two local ones", [c / a for a, _, c in measured], reach=1.15),
        Figure("normlib's seconds", [a for a, _, _ in measured]),
    ]


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
        Figure("share of an execution of bn/none, the master notebook's default", [a for a, _ in measured], reach=0.15),
        Figure("share of an execution of none/none, whose runs are shortest", [b for _, b in measured], reach=0.15),
    ]


def _source_notebook() -> list[str]:
    setup = "from pathlib import Path\n\nimport plain_keras\n\narrays = plain_keras.load()"
    cells = [f"plain_keras.run(plain_keras.CELLS[{i}], 0, arrays, Path(out))" for i in range(4)]
    return [setup, *cells]


def _normlib_seconds(seeds: int, *options: str) -> float:
    with tempfile.TemporaryDirectory() as out:
        command = ["study", "source", "--orderings", ORDERINGS, "--seeds", seeds, "--out", out, *options]
        return seconds_until(python("-m", "normlib", *command), Path(out) / "records", 4 * seeds)


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
