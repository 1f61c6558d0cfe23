"""Jobs in flight: handed out, tried again, ended."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import queue
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

from normlib.execution import kernels, workers
from normlib.execution.notebook import Execution
from normlib.execution.workers import Job, Outcome, perform
from normlib.files import write_atomically
from normlib.models.instance import Instance
from normlib.runs.progress import Progress
from normlib.runs.record import RecordError
from normlib.runs.store import Record, read_record, save_record
from normlib.studies.folder import Failure, write_failure

Runs: TypeAlias = dict[str, tuple[Instance, int]]  # instance and seed, by key

_POLL_SECONDS = 0.5  # how often finished runs are looked for


class Dispatch:
    """Gives executions to an executor, keeps what they make, and tries again what is worth it.

    Args:
        missing: The runs, as ``{key: (instance, seed)}``.
        out: The study's folder.
        executor: What makes them.
        job: What to give it for an execution.
        retries: How often a run is tried again.
        progress: What to tell of them.
    """

    def __init__(
        self,
        missing: Runs,
        out: Path,
        executor: concurrent.futures.Executor,
        job: Callable[[Execution], Job],
        retries: int,
        progress: Progress,
    ):
        self._missing, self._out, self._executor, self._job = dict(missing), out, executor, job
        self._retries, self._progress = retries, progress
        self._at_once, self._local = workers.concurrency(executor), workers.shares_disk(executor)
        self._before = {key: _state(self._path(key)) for key in missing}  # a file that is there is damaged, or redone
        self._tries = dict.fromkeys(missing, 0)
        self._failures: list[Failure] = []
        self._waiting: dict[concurrent.futures.Future[Outcome], Execution] = {}
        self._ended: queue.SimpleQueue[concurrent.futures.Future[Outcome]] = queue.SimpleQueue()

    def finish(self, executions: Iterable[Execution]) -> list[Failure]:
        """Make them all, and return those that failed."""
        try:
            for execution in executions:
                self._submit(execution)
            self._wait()
        except BaseException:
            for future in self._waiting:
                future.cancel()
            kernels.here.kill(kernels.this_process())
            raise
        return self._failures

    def _wait(self) -> None:
        while self._waiting:
            with contextlib.suppress(queue.Empty):
                future = self._ended.get(timeout=_POLL_SECONDS)
                self._collect(self._waiting.pop(future), future)
            self._progress.running = min(len(self._waiting), self._at_once)
            if self._local:
                for execution in [execution for future, execution in self._waiting.items() if future.running()]:
                    self._look_for_records(execution)

    def _submit(self, execution: Execution) -> None:
        try:
            future = self._executor.submit(perform, self._job(execution))
        except RuntimeError as error:  # a pool that broke takes nothing more
            future = concurrent.futures.Future()
            future.set_exception(error)
        self._waiting[future] = execution
        future.add_done_callback(self._ended.put)

    def _collect(self, execution: Execution, future: concurrent.futures.Future[Outcome]) -> None:
        """Keep what an execution made, and try again what is worth it."""
        try:
            outcome = future.result()
        except Exception as error:  # the engine's own: the worker was lost, or could not be reached
            outcome = Outcome(reason=f"the worker was lost: {type(error).__name__}: {error}", infrastructure=True)
        for text in outcome.records:
            try:
                record = Record.from_json(text)
            except RecordError as error:
                if not outcome.reason:
                    reason = f"the worker sent back what is no record: {error}"
                    outcome = dataclasses.replace(outcome, reason=reason, infrastructure=True)
                continue
            if record.key in execution.keys.values():
                save_record(record, self._out / "records")
        if outcome.notebook:
            self._keep_notebook(execution, outcome)
        self._look_for_records(execution)
        left = [seed for seed, key in execution.keys.items() if key in self._missing]
        if left:
            self._retry(execution, left, outcome)
        elif outcome.reason and not outcome.infrastructure:  # the notebook failed after its last record
            self._fail(execution, execution.run_seeds[-1], outcome)

    def _keep_notebook(self, execution: Execution, outcome: Outcome) -> None:
        try:
            write_atomically(self._out / _notebook(execution), outcome.notebook)
        except OSError as error:  # of a full disk the record may have met before, and that is told as well
            before = f"; before that, {outcome.reason}" if outcome.reason else ""
            raise OSError(error.errno, f"{error.strerror}{before}", error.filename) from None

    def _retry(self, execution: Execution, left: list[int], outcome: Outcome) -> None:
        """Put the first run that is left down as the one that failed, and give each of the others an execution."""
        key = execution.keys[left[0]]
        self._tries[key] += 1
        others_took_long = outcome.timed_out and execution.seeds > 1
        if not others_took_long and (not outcome.infrastructure or self._tries[key] > self._retries):
            self._fail(execution, left.pop(0), outcome)
            del self._missing[key]
        while left and outcome.refused:  # no seed changes that
            self._fail(execution, seed := left.pop(0), outcome)
            del self._missing[execution.keys[seed]]
        for seed in left:
            self._submit(Execution(execution.instance, seed, 1, execution.threads))

    def _fail(self, execution: Execution, seed: int, outcome: Outcome) -> None:
        failure = Failure(
            key=execution.keys[seed],
            instance=execution.instance.settings,
            seed=seed,
            reason=outcome.reason or "the notebook wrote no record",
            log=outcome.log,
            notebook=_notebook(execution) if outcome.notebook else "",
            tries=max(1, self._tries[execution.keys[seed]]),
        )
        if failure.key in self._missing:
            self._progress.fail(f"{execution.instance.ordering}, seed {seed}: {failure.reason}")
        write_failure(failure, self._out)  # behind what is said of it, since a full disk takes no failure either
        self._failures.append(failure)

    def _look_for_records(self, execution: Execution) -> None:
        """Count the runs whose records have come; they are then no longer missing."""
        for key in execution.keys.values():
            if key not in self._missing or _state(self._path(key)) == self._before[key]:
                continue
            if record := read_run(self._out, key):
                loss, accuracy = record.training["loss"][-1], record.training["accuracy"][-1]
                ordering = record.ordering
                self._progress.advance(f"{ordering}, seed {record.seed}: loss {loss:.4f}, accuracy {accuracy:.4f}")
                del self._missing[key]

    def _path(self, key: str) -> Path:
        return self._out / "records" / f"{key}.json"


def read_run(out: Path, key: str) -> Record | None:
    """Return a run's record from a study's folder, or None where it is missing, damaged or another run's."""
    try:
        record = read_record(out / "records" / f"{key}.json")
    except RecordError:
        return None
    return record if record.key == key else None


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _notebook(execution: Execution) -> str:
    return f"notebooks/{execution.name}.ipynb"
