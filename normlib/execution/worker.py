"""What a worker does: one execution, from a job that holds all it needs, to an outcome that holds all it made.

Before that, it looks whether models of one's own can be built where it is.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from normlib import files, stack
from normlib.errors import RequestError
from normlib.execution import kernels
from normlib.execution.execution import Execution, ExecutionError, execute, without_home
from normlib.models.instance import Instance


@dataclasses.dataclass(frozen=True)
class Job:
    """One execution, as it is sent to a worker.

    Args:
        execution: What to run.
        notebook: The master notebook, as text.
        records_dir: Where records are written as runs end, where worker and caller share a disk; empty: they come back.
        stack: The caller's, as ``stack.installed`` gives.
        caller: The process whose study it is, as ``kernels.this_process`` gives.
        study_sha256: Of the file that declares the study; empty where there is none.
        timeout: Seconds that the execution may take; None: as long as it needs.
    """

    execution: Execution
    notebook: str
    records_dir: str
    stack: dict[str, str | None]
    caller: str = ""
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
        timed_out: Whether its time was up.
    """

    records: tuple[str, ...] = ()
    notebook: str = ""
    reason: str = ""
    log: str = ""
    infrastructure: bool = False
    timed_out: bool = False


def perform(job: Job) -> Outcome:
    """Run a job. Whatever goes wrong is told in the outcome, so that what was finished comes back with it."""
    if other := stack.differences(job.stack, stack.installed()):
        return Outcome(reason=f"the worker on {platform.node()} has another stack: {other}", infrastructure=True)
    with files.ScratchFolder() as scratch:
        records_dir = job.records_dir or str(Path(scratch) / "records")
        failure, parameters = ExecutionError(""), job.execution.parameters(records_dir)
        try:
            notebook = execute(
                job.notebook,
                parameters,
                # No path of anybody's in what is kept: a file of data is known by its name.
                shown={records_dir: "../records", parameters["dataset"]: job.execution.instance.settings["dataset"]},
                # Kernels are handed on between equal ones only, and TensorFlow's threads are fixed once it has run.
                variables={
                    stack.STUDY_VARIABLE: job.study_sha256,
                    kernels.CALLER_VARIABLE: job.caller,
                    "NORMLIB_THREADS": str(job.execution.threads),
                },
                timeout=job.timeout,
                runs=job.execution.seeds,
            )
        except ExecutionError as error:
            notebook, failure = error.notebook, error
        except Exception as error:  # the worker's own: its disk, its processes; what was finished still goes back
            notebook, failure = "", ExecutionError(f"{type(error).__name__}: {error}", infrastructure=True)
        records = () if job.records_dir else tuple(path.read_text("utf-8") for path in _records(records_dir))
        reason, log = without_home(failure.reason), without_home(failure.log)
        return Outcome(records, notebook, reason, log, failure.infrastructure, timed_out=failure.timed_out)


def find_refusal(instances: Iterable[Instance], timeout: float | None = None) -> RequestError | None:
    """Return why one of some instances cannot be built, found out in a process of its own; None: all can.

    Python looks for modules where kernels do: in the folder in which the command was given, too.

    Args:
        instances: The instances.
        timeout: Seconds that this may take; None: as long as it needs.
    """
    asked = json.dumps([instance.parameters for instance in instances])
    command = [sys.executable, "-m", "normlib.models.own_models"]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return RequestError("model", "one of your own", f"a function that returns a model within {timeout:g} seconds")
    if done.returncode == 0:
        return None
    try:
        return RequestError(*json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):  # somebody's code has ended Python
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return RequestError("model", "one of your own", f"a function that can be called, and Python ended: {last}")


def _records(folder: str) -> list[Path]:
    return sorted(Path(folder).glob("*.json"))
