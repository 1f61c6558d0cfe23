"""Jobs in flight: handed out, tried again, ended."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable
from pathlib import Path

from normlib.execution import workers
from normlib.execution.notebook import Cause, Execution, ExecutionError
from normlib.execution.workers import Outcome
from normlib.files import write_atomically
from normlib.runs.progress import Progress
from normlib.runs.record import RecordError
from normlib.runs.store import Record, read_record, save_record
from normlib.studies.folder import Failure, write_failure

_POLL_SECONDS = 0.5  # how often finished runs are looked for


class Dispatch:
    """Gives executions to an executor, keeps what they make, and tries again what is worth it.

    Args:
        missing: Keys of the runs.
        out: The study's folder.
        executor: What makes them.
        perform: What it is given to do with each execution.
        retries: How often a run is tried again.
        progress: What to tell of them.
    """

    def __init__(
        self,
        missing: Iterable[str],
        out: Path,
        executor: concurrent.futures.Executor,
        perform: Callable[[Execution], Outcome],
        retries: int,
        progress: Progress,
    ):
        self._out, self._executor, self._perform = out, executor, perform
        self._retries, self._progress = retries, progress
        self._at_once, self._local = workers.concurrency(executor), workers.shares_disk(executor)
        # With the state of the record's file: one that is there is damaged, or is to be made again.
        self._missing = {key: _state(_record_path(out, key)) for key in missing}
        self._tries = dict.fromkeys(self._missing, 0)
        self._failures: list[Failure] = []
        self._waiting: dict[concurrent.futures.Future[Outcome], Execution] = {}

    def finish(self, executions: Iterable[Execution]) -> list[Failure]:
        """Make them all, and return those that failed. Where this is interrupted, those that wait are cancelled."""
        try:
            for execution in executions:
                self._submit(execution)
            while self._waiting:
                concurrent.futures.wait(self._waiting, _POLL_SECONDS, concurrent.futures.FIRST_COMPLETED)
                for future in [future for future in self._waiting if future.done()]:
                    self._collect(self._waiting.pop(future), future)
                self._progress.running = min(len(self._waiting), self._at_once)
                if self._local:
                    for execution in [execution for future, execution in self._waiting.items() if future.running()]:
                        self._look_for_records(execution)
        finally:
            for future in self._waiting:
                future.cancel()
        return self._failures

    def _submit(self, execution: Execution) -> None:
        try:
            future = self._executor.submit(self._perform, execution)
        except RuntimeError as error:  # a pool that broke takes nothing more
            future = concurrent.futures.Future()
            future.set_exception(error)
        self._waiting[future] = execution

    def _collect(self, execution: Execution, future: concurrent.futures.Future[Outcome]) -> None:
        """Keep what an execution made, and try again what is worth it."""
        try:
            outcome = future.result()
        except Exception as loss:  # the engine's own: the worker was lost, or could not be reached
            reason = f"the worker was lost: {type(loss).__name__}: {loss}"
            outcome = Outcome(error=ExecutionError(reason, cause=Cause.MACHINE))
        error = outcome.error
        for record in outcome.records:
            if record.key in execution.keys.values():
                save_record(record, self._out / "records")
        if outcome.notebook:
            write_atomically(self._out / _notebook_path(execution), outcome.notebook)
        self._look_for_records(execution)
        left = [seed for seed, key in execution.keys.items() if key in self._missing]
        if left:
            self._settle(execution, left, error or ExecutionError("the notebook wrote no record"), outcome.notebook)
        elif error and error.cause is not Cause.MACHINE:  # the notebook failed after its last record
            self._fail(execution, execution.run_seeds[-1], error, outcome.notebook)

    def _settle(self, execution: Execution, left: list[int], error: ExecutionError, notebook: str) -> None:
        """Of the runs that are left, the first one failed, or is tried again; the others get an execution each."""
        key = execution.keys[left[0]]
        self._tries[key] += 1
        again = (error.cause is Cause.MACHINE and self._tries[key] <= self._retries) or (
            error.cause is Cause.TIME and execution.seeds > 1  # the others may have taken most of it
        )
        failed = left if error.cause is Cause.REQUEST else [] if again else left[:1]
        for seed in left:
            if seed in failed:
                self._fail(execution, seed, error, notebook)
                del self._missing[execution.keys[seed]]
            else:
                self._submit(Execution(execution.instance, seed, 1, execution.threads))

    def _fail(self, execution: Execution, seed: int, error: ExecutionError, notebook: str) -> None:
        failure = Failure(
            key=execution.keys[seed],
            instance=execution.instance.settings,
            seed=seed,
            reason=error.reason,
            log=error.log,
            notebook=_notebook_path(execution) if notebook else "",
            tries=max(1, self._tries[execution.keys[seed]]),
        )
        if failure.key in self._missing:
            self._progress.fail(f"{execution.instance.ordering}, seed {seed}: {failure.reason}")
        write_failure(failure, self._out)  # behind what is said of it, since a full disk takes no failure either
        self._failures.append(failure)

    def _look_for_records(self, execution: Execution) -> None:
        """Count the runs whose records have come; they are then no longer missing."""
        for key in execution.keys.values():
            if key not in self._missing or _state(_record_path(self._out, key)) == self._missing[key]:
                continue
            if record := read_run(self._out, key):
                loss, accuracy = record.training["loss"][-1], record.training["accuracy"][-1]
                run = f"{record.ordering}, seed {record.seed}"
                self._progress.advance(f"{run}: loss {loss:.4f}, accuracy {accuracy:.4f}")
                del self._missing[key]


def read_run(out: Path, key: str) -> Record | None:
    """Return a run's record from a study's folder, or None where it is missing, damaged or another run's."""
    try:
        record = read_record(_record_path(out, key))
    except RecordError:
        return None
    return record if record.key == key else None


def _record_path(out: Path, key: str) -> Path:
    return out / "records" / f"{key}.json"


def _notebook_path(execution: Execution) -> str:
    return f"notebooks/{execution.name}.ipynb"


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
