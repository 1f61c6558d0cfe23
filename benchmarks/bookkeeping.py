"""All that is not training: starting, reading records, driving executions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import io
import json
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import ROOT, Figure, alternate, python
from normlib.execution.notebook import Execution
from normlib.execution.schedule import run_study
from normlib.execution.workers import Job, Outcome
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.runs.store import SOURCE_RECORDS, Record, load_records, read_records, save_record
from normlib.studies.study import Study

ORDERINGS = ("none/none", *SOURCE_INSTANCES)
MANY, FEW = 10_000, 100


def startup(rounds: int) -> list[Figure]:
    """Seconds that Python takes longer with normlib."""

    def start(*arguments: str) -> float:
        started = time.perf_counter()
        subprocess.run(python(*arguments), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    commands = [("-c", "pass"), ("-c", "import normlib"), ("-m", "normlib", "--help")]
    measured = alternate([lambda c=command: start(*c) for command in commands], 2 * rounds)
    return [
        Figure("import normlib, seconds beyond python -c pass", [b - a for a, b, _ in measured], reach=0.3),
        Figure("normlib --help, seconds beyond python -c pass", [c - a for a, _, c in measured], reach=0.3),
    ]


def scale(rounds: int) -> list[Figure]:
    """What 10,000 records in a folder cost, and what the driver does for an execution."""
    with tempfile.TemporaryDirectory() as folder:
        many, few = Path(folder) / "many", Path(folder) / "few"
        for path, count in ((many, MANY), (few, FEW)):
            for record in _made_up(count // len(ORDERINGS)):
                save_record(record, path)

        def summarize() -> tuple[float, float]:
            told = subprocess.run(
                python("-m", "benchmarks.summarize", many), cwd=ROOT, check=True, capture_output=True, text=True
            )
            return json.loads(told.stdout)

        def load(path: Path, count: int) -> float:
            started = time.perf_counter()
            load_records(path)
            return 1000 * (time.perf_counter() - started) / count

        summaries = [summarize() for _ in range(rounds)]
        loads = alternate([lambda: load(many, MANY), lambda: load(few, FEW)], rounds)
        drives = alternate([_drive], rounds)
    return [
        Figure("10,000 records: load, statistics and bars, seconds", [a for a, _ in summaries], reach=5),
        Figure("10,000 records: most memory, MB", [b for _, b in summaries], reach=500),
        Figure("cost of loading a record, of 10,000 / of 100", [a / b for a, b in loads], reach=1.2),
        Figure("driver, ms an execution", [a for (a,) in drives], reach=20),
    ]


class _Ready(concurrent.futures.Executor):
    """Does nothing: what executions give is there before they are submitted."""

    def __init__(self, records: dict[str, str]):
        self._records, self._max_workers = records, len(records)

    def submit(self, function: object, job: Job) -> concurrent.futures.Future:
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_result(Outcome(tuple(self._records[key] for key in job.execution.keys.values()), job.notebook))
        return future


def _drive() -> float:
    study = Study("driver", "What does an execution cost its driver?", ORDERINGS, seeds=100)
    ready = {record.key: record.to_json() for record in _made_up(study.seeds)}
    with tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # a line a run
            failures = run_study(study, out, _Ready(ready))
        if failures:
            raise RuntimeError("executions failed that do nothing")
        return 1000 * (time.perf_counter() - started) / len(list((Path(out) / "notebooks").iterdir()))


def _made_up(seeds: int) -> list[Record]:
    """Return records of all orderings, with the figures of a run that was kept."""
    kept = read_records(SOURCE_RECORDS)[0]
    executions = [Execution(Instance(ordering), 0, seeds) for ordering in ORDERINGS]
    return [
        dataclasses.replace(kept, key=key, instance=execution.instance.settings, seed=seed)
        for execution in executions
        for seed, key in execution.keys.items()
    ]
