"""What a worker does: one execution, from a job that holds all it needs, to an outcome that holds all it made."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from pathlib import Path

from normlib import stack
from normlib.execution import Execution, ExecutionError, execute


@dataclasses.dataclass(frozen=True)
class Job:
    """One execution, as it is sent to a worker.

    Args:
        execution: What to run.
        notebook: The master notebook, as text.
        records_dir: Where records are written as runs end, where worker and caller share a disk; empty: they come back.
        stack: The caller's, as ``stack.installed`` gives.
        study_sha256: Of the file that declares the study; empty where there is none.
        timeout: Seconds that the execution may take; None: as long as it needs.
    """

    execution: Execution
    notebook: str
    records_dir: str
    stack: dict[str, str | None]
    study_sha256: str = ""
    timeout: float | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an execution, as it is sent back.

    Args:
        records: The records of the runs that ended, as text, where worker and caller share no disk.
        notebook: The executed notebook as far as it came, as text; empty where there is none.
        reason: Why it failed, in one line; empty where it did not.
        log: The tail of what it said, where it failed.
        infrastructure: Whether that was the machine's fault, so that another try may do better.
    """

    records: tuple[str, ...] = ()
    notebook: str = ""
    reason: str = ""
    log: str = ""
    infrastructure: bool = False


def perform(job: Job) -> Outcome:
    """Run a job. Whatever goes wrong is told in the outcome, so that what was finished comes back with it."""
    if other := stack.differences(job.stack, stack.installed()):
        return Outcome(reason=f"the worker on {platform.node()} has another stack: {other}", infrastructure=True)
    with tempfile.TemporaryDirectory(prefix="normlib-") as scratch:
        records_dir = job.records_dir or str(Path(scratch) / "records")
        failure = ExecutionError("")
        try:
            notebook = execute(
                job.notebook,
                job.execution.parameters(records_dir),
                shown={records_dir: "../records"},
                variables={stack.STUDY_VARIABLE: job.study_sha256},
                timeout=job.timeout,
            )
        except ExecutionError as error:
            notebook, failure = error.notebook, error
        records = () if job.records_dir else tuple(path.read_text("utf-8") for path in _records(records_dir))
        return Outcome(records, notebook, failure.reason, failure.log, failure.infrastructure)


def _records(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.json"))
