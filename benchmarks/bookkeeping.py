"""All that is not training: starting, reading records, driving executions."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.measuring import ROOT, Figure, alternate, python
from normlib.execution.notebook import Execution
from normlib.execution.schedule import run_study
from normlib.execution.workers import Outcome
from normlib.files import write_atomically
from normlib.models.instance import Instance
from normlib.models.ordering import SOURCE_INSTANCES
from normlib.runs.store import SOURCE_RECORDS, Record, load_records, read_records, save_record
from normlib.studies.study import Study, read_study

ORDERINGS = ("none/none", *SOURCE_INSTANCES)
MANY, FEW = 10_000, 100


def startup(rounds: int) -> list[Figure]:
    """Seconds that Python takes longer with normlib."""
    commands = {"import normlib": ("-c", "import normlib"), "normlib --help": ("-m", "normlib", "--help")}
    return _beyond_pass(commands, 2 * rounds, reach=0.3)


def refusal(rounds: int) -> list[Figure]:
    """Seconds until a wrong request is refused."""
    command = ("-m", "normlib", "study", "nosuchstudy")
    return _beyond_pass({"normlib study nosuchstudy": command}, 2 * rounds, reach=0.5, aim=0.3, code=2)


def status(rounds: int) -> list[Figure]:
    """Seconds until a study's folder says how far it has come."""
    with _source_folder(10) as folder:
        command = ("-m", "normlib", "status", folder)
        return _beyond_pass({"normlib status, 50 records": command}, 2 * rounds, reach=1.0, aim=0.6)


def dry_run(rounds: int) -> list[Figure]:
    """Seconds until a study says what it would run."""
    with _source_folder(10) as folder:
        command = ("-m", "normlib", "study", "source", "--dry-run", "--out", folder)
        return _beyond_pass({"normlib study source --dry-run, 50 records": command}, 2 * rounds, reach=1.0, aim=0.6)


def summary(rounds: int) -> list[Figure]:
    """Seconds that the summary of a study takes."""
    with _source_folder(1, SOURCE_INSTANCES) as few, _source_folder(10) as many:
        commands = {
            f"normlib summary, {count} records": ("-m", "normlib", "summary", folder)
            for count, folder in ((4, few), (50, many))
        }
        return _beyond_pass(commands, rounds, reach=5, aim=3)


def completion(rounds: int) -> list[Figure]:
    """Seconds that Tab behind normlib. takes in a fresh shell."""

    def complete() -> tuple[float, float]:
        told = subprocess.run(python("-m", "benchmarks.complete"), cwd=ROOT, check=True, capture_output=True, text=True)
        return json.loads(told.stdout)

    measured = [complete() for _ in range(rounds)]
    return [
        Figure("normlib. and Tab, seconds, the first time", [a for a, _ in measured], reach=0.3, aim=0.1),
        Figure("normlib. and Tab, seconds, again", [b for _, b in measured], reach=0.3, aim=0.1),
    ]


def _beyond_pass(
    commands: Mapping[str, Sequence[object]], rounds: int, reach: float, aim: float | None = None, code: int = 0
) -> list[Figure]:
    """Return the seconds that commands of Python take longer than one that does nothing; they end with this code."""

    def start(arguments: Sequence[object], code: int) -> float:
        started = time.perf_counter()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": None if code == 0 else subprocess.DEVNULL}
        if (ended := subprocess.run(python(*arguments), cwd=ROOT, check=False, **quiet).returncode) != code:
            raise RuntimeError(f"{arguments} ended with {ended}")
        return time.perf_counter() - started

    sides = [lambda: start(("-c", "pass"), 0), *(lambda c=command: start(c, code) for command in commands.values())]
    measured = alternate(sides, rounds)
    return [
        Figure(f"{name}, seconds beyond python -c pass", [took[place] - took[0] for took in measured], reach, aim)
        for place, name in enumerate(commands, start=1)
    ]


@contextlib.contextmanager
def _source_folder(seeds: int, orderings: Iterable[str] = ORDERINGS) -> Iterator[Path]:
    """Make an output folder of the source's study with its kept records, those of so many seeds of each ordering."""
    plan = read_study("source").replace(seeds=seeds, orderings=list(orderings))
    with tempfile.TemporaryDirectory() as folder:
        write_atomically(Path(folder) / "study.yaml", plan.to_yaml())
        for record in plan.select(read_records(SOURCE_RECORDS)):
            if record.seed in plan.run_seeds and record.ordering in plan.orderings:
                save_record(record, Path(folder) / "records")
        yield Path(folder)


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
        Figure("10,000 records: load, statistics and bars, seconds", [a for a, _ in summaries], reach=4, aim=3),
        Figure("10,000 records: most memory, MB", [b for _, b in summaries], reach=500),
        Figure("cost of loading a record, of 10,000 / of 100", [a / b for a, b in loads], reach=1.2),
        Figure("driver, ms an execution", [a for (a,) in drives], reach=20),
    ]


class _Ready(concurrent.futures.Executor):
    """Does nothing: what executions give is there before they are submitted."""

    def __init__(self, records: dict[str, Record]):
        self._records, self._max_workers = records, len(records)

    def submit(self, perform: functools.partial, execution: Execution) -> concurrent.futures.Future:
        future: concurrent.futures.Future = concurrent.futures.Future()
        records = tuple(self._records[key] for key in execution.keys.values())
        future.set_result(Outcome(records, perform.keywords["notebook"]))
        return future


def _drive() -> float:
    study = Study("driver", "What does an execution cost its driver?", ORDERINGS, seeds=100)
    ready = {record.key: record for record in _made_up(study.seeds)}
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
