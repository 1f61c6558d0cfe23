"""Many executions on any ``concurrent.futures`` executor: what is missing is run, failures stay apart."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from normlib import stack
from normlib.errors import RequestError
from normlib.execution import Execution, ExecutionError, check_parameters, execute, notebook_path, plan
from normlib.files import check_writable, write_atomically
from normlib.instance import Instance, whole_number
from normlib.progress import Progress
from normlib.records import Record, RecordError, load_records, run_key
from normlib.studies import Study

_POLL_SECONDS = 0.5  # how often finished runs are looked for


@dataclasses.dataclass(frozen=True)
class Failure:
    """A run that gave no record."""

    key: str
    instance: dict[str, object]
    seed: int
    reason: str
    log: str
    notebook: str

    def __str__(self) -> str:
        return f"{self.instance['ordering']}, seed {self.seed}: {self.reason} (see {self.notebook})"


def run_study(study: Study, out: Path | str, executor: concurrent.futures.Executor, threads: int = 1) -> list[Failure]:
    """Run what is missing of a study, one execution of the master notebook for each instance.

    Args:
        study: The study.
        out: Its output folder: ``records/``, ``notebooks/``, ``failures/`` and ``study.yaml`` go there.
        executor: What the executions are given to.
        threads: Threads that an operation may use in a run.

    Returns:
        The failures, in the study's order; each is also written to ``failures/KEY.json``.

    Raises:
        RequestError: Wrong threads, or an output folder that cannot be written, or that has records in it which cannot
            be compared with the study's.
    """
    runs, missing, executions = plan_study(study, out, threads)
    out = Path(out).absolute()  # kernels have working directories of their own
    master = notebook_path("instance")
    if executions:
        check_parameters(master, executions[0].parameters(""))
    write_atomically(out / "study.yaml", f"# {study.name}, as run with --threads {threads}\n{study.to_yaml()}")
    for key in runs:
        _failure_path(out, key).unlink(missing_ok=True)

    failures = []
    with Progress(len(runs), study.name, done=len(runs) - len(missing)) as progress:
        futures = {
            executor.submit(_run, master, execution, out, study.declared_in): execution for execution in executions
        }
        waiting = set(futures)
        while waiting:
            finished, waiting = concurrent.futures.wait(waiting, _POLL_SECONDS)
            _report_finished_runs(missing, out, progress)
            for future in finished:
                failures += _failures(futures[future], future, out)
    return sorted(failures, key=lambda failure: list(runs).index(failure.key))


def plan_study(study: Study, out: Path | str, threads: int = 1) -> tuple[dict, dict, list[Execution]]:
    """Return what would be run; nothing is written.

    Args:
        study: The study.
        out: Its output folder; runs whose records are there are not run again.
        threads: Threads that an operation may use in a run.

    Returns:
        All runs, as ``{key: (instance, seed)}``; those that are missing; the executions that would make them.

    Raises:
        RequestError: As ``run_study``.
    """
    threads = whole_number("threads", threads, minimum=1)
    _check_folder(study, Path(out), threads)
    runs = {run_key(i, seed, threads): (i, seed) for i in study.instances for seed in study.run_seeds}
    missing = {key: run for key, run in runs.items() if not _is_done(Path(out), key)}
    executions = [
        execution
        for instance in study.instances
        for execution in plan(instance, [seed for i, seed in missing.values() if i == instance], threads)
    ]
    return runs, missing, executions


@contextlib.contextmanager
def local_executor(workers: int | None = None, threads: int = 1) -> Iterator[concurrent.futures.Executor]:
    """Make an executor of processes on this machine; an error or interruption ends them, and their kernels, at once.

    Args:
        workers: Number of executions at once; None: as many as there are cores for.
        threads: Threads of each.

    Raises:
        RequestError: Not a whole number from 1 up.
    """
    threads = whole_number("threads", threads, minimum=1)
    workers = max(1, stack.cores() // threads) if workers is None else whole_number("workers", workers, minimum=1)
    others = set(multiprocessing.active_children())
    # Spawned, since a process that was forked while TensorFlow, or a thread, was running may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _silence) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()  # nbclient takes its kernel along
            raise


def _silence() -> None:
    """Keep what workers and their kernels print by themselves off the progress bar; errors come back as exceptions."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _check_folder(study: Study, out: Path, threads: int) -> None:
    """Refuse a folder that cannot be written, or whose records the summary could not set beside the study's."""
    for folder in (out, *(out / name for name in ("records", "notebooks", "failures", "figures"))):
        check_writable(folder, "out")
    there = load_records(out) if out.is_dir() else None
    if there is None or there.empty:
        return
    planned = pd.DataFrame([instance.settings for instance in study.instances], dtype=object).drop(columns="ordering")
    planned["threads"] = threads
    planned["stack"] = [stack.describe(stack.versions(instance.provider)) for instance in study.instances]
    for name in planned:
        here = list(dict.fromkeys(planned[name].map(str)))
        for other in sorted(set(there[name].map(str)) - set(here)):
            values = " and ".join(here)
            allowed = f"a folder whose records can be compared with the study's; there {name} is {other}, here {values}"
            raise RequestError("out", str(out), allowed)


def _run(master: Path, execution: Execution, out: Path, study_sha256: str) -> None:
    os.environ[stack.STUDY_VARIABLE] = study_sha256  # kernels inherit it, and put it into the records
    execute(master, execution.parameters(out / "records"), out / "notebooks" / f"{execution.name}.ipynb")


def _is_done(out: Path, key: str) -> bool:
    return _read(out, key) is not None


def _read(out: Path, key: str) -> Record | None:
    """Return a run's record, or None where it is missing, damaged or another run's."""
    try:
        record = Record.from_json((out / "records" / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecordError):
        return None
    return record if record.key == key else None


def _report_finished_runs(missing: dict[str, tuple[Instance, int]], out: Path, progress: Progress) -> None:
    """Advance the progress for each run whose record has come; it is then no longer missing."""
    for key in list(missing):
        if record := _read(out, key):
            loss, accuracy = record.training["loss"][-1], record.training["accuracy"][-1]
            ordering = record.instance["ordering"]
            progress.advance(f"{ordering}, seed {record.seed}: loss {loss:.4f}, accuracy {accuracy:.4f}")
            del missing[key]


def _failures(execution: Execution, future: concurrent.futures.Future, out: Path) -> list[Failure]:
    """Return, and write, a failure for each run of an execution that left no record.

    A notebook that failed after all its records were written is named once, with its last seed.
    """
    error = future.exception()
    reason = f"{type(error).__name__}: {error}" if error else "the notebook wrote no record"
    keys = {seed: run_key(execution.instance, seed, execution.threads) for seed in execution.run_seeds}
    failed = [seed for seed, key in keys.items() if not _is_done(out, key)]
    if error and not failed:
        failed = [execution.run_seeds[-1]]
    failures = []
    for seed in failed:
        key = keys[seed]
        failure = Failure(
            key=key,
            instance=execution.instance.settings,
            seed=seed,
            reason=error.reason if isinstance(error, ExecutionError) else reason,
            log=getattr(error, "log", ""),
            notebook=f"notebooks/{execution.name}.ipynb",
        )
        write_atomically(_failure_path(out, key), json.dumps(dataclasses.asdict(failure), indent=1) + "\n")
        failures.append(failure)
    return failures


def _failure_path(out: Path, key: str) -> Path:
    return out / "failures" / f"{key}.json"
