"""Many executions on any ``concurrent.futures`` executor: what is missing is run, failures stay apart."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
from pathlib import Path

from normlib.errors import RequestError
from normlib.execution import Execution, ExecutionError, check_parameters, execute, notebook_path, plan
from normlib.files import write_atomically
from normlib.instance import Instance, whole_number
from normlib.progress import Progress
from normlib.records import Record, RecordError, run_key
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


def run_study(study: Study, out: Path, executor: concurrent.futures.Executor, threads: int = 1) -> list[Failure]:
    """Run what is missing of a study, one execution of the master notebook for each instance.

    Args:
        study: The study.
        out: Its output folder: ``records/``, ``notebooks/``, ``failures/`` and ``study.yaml`` go there.
        executor: What the executions are given to.
        threads: Threads that an operation may use in a run.

    Returns:
        The failures; each is also written to ``failures/KEY.json``.

    Raises:
        RequestError: Wrong threads, or an output folder that cannot be written.
    """
    whole_number("threads", threads, minimum=1)
    check_writable(out)
    out = out.resolve()
    runs = {run_key(i, seed, threads): (i, seed) for i in study.instances for seed in study.run_seeds}
    missing = {key: run for key, run in runs.items() if not _is_done(out, key)}
    executions = [
        execution
        for instance in study.instances
        for execution in plan(instance, [seed for i, seed in missing.values() if i == instance], threads)
    ]
    master = notebook_path("instance")
    if executions:
        check_parameters(master, executions[0].parameters(""))
    write_atomically(out / "study.yaml", study.to_yaml())
    for key in runs:
        _failure_path(out, key).unlink(missing_ok=True)

    failures = []
    with Progress(len(runs), study.name, done=len(runs) - len(missing)) as progress:
        futures = {executor.submit(_run, master, execution, out): execution for execution in executions}
        waiting = set(futures)
        try:
            while waiting:
                finished, waiting = concurrent.futures.wait(waiting, _POLL_SECONDS)
                _report_finished_runs(missing, out, progress)
                for future in finished:
                    failures += _failures(futures[future], future, out)
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def local_executor(workers: int | None = None) -> concurrent.futures.Executor:
    """Return an executor of processes on this machine.

    Args:
        workers: Number of executions at once; None: one for each core that this process may use.

    Raises:
        RequestError: Not a whole number from 1 up.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    whole_number("workers", workers, minimum=1)
    # Spawned, since a process that was forked while TensorFlow, or a thread, was running may hang.
    return concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _silence)


def check_writable(folder: Path) -> None:
    """Refuse an output folder that is a file, or that cannot be made or written.

    Raises:
        RequestError: It is.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "is not writable" if existing.is_dir() else "is a file"
        raise RequestError("out", str(folder), f"a folder that can be written, and {existing} {reason}")


def _silence() -> None:
    """Keep what workers and their kernels print by themselves off the progress bar; errors come back as exceptions."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _run(master: Path, execution: Execution, out: Path) -> None:
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
    """Return, and write, a failure for each run of an execution that left no record."""
    error = future.exception()
    reason = f"{type(error).__name__}: {error}" if error else "the notebook wrote no record"
    failures = []
    for seed in execution.run_seeds:
        key = run_key(execution.instance, seed, execution.threads)
        if _is_done(out, key):
            continue
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
