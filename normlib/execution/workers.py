"""Where executions run, on threads, processes or Dask; and what a worker does with a job."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import platform
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from jupyter_core.utils import run_sync

from normlib import files, stack
from normlib.errors import RequestError, thread_count, whole_number
from normlib.execution import kernels
from normlib.execution.notebook import Cause, Execution, ExecutionError, execute
from normlib.models.instance import Instance
from normlib.runs.store import Record, read_records

if TYPE_CHECKING:
    import distributed

_CONNECT_TIMEOUT = 5  # seconds


def local_executor(workers: int | None = None, threads: int = 1) -> concurrent.futures.ThreadPoolExecutor:
    """Make an executor on this machine, to be used in a ``with`` statement.

    Its workers are threads: a notebook's work is done by its kernel, which is a process of its own.

    Args:
        workers: Number of executions at once; None: as many as there are cores for.
        threads: Threads of each.

    Raises:
        RequestError: Not a whole number from 1 up.
    """
    return concurrent.futures.ThreadPoolExecutor(local_workers(workers, thread_count(threads)), "normlib")


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[concurrent.futures.Executor]:
    """Connect to a running Dask cluster, and return its executor.

    Args:
        address: The scheduler's, such as ``tcp://127.0.0.1:8786``.

    Raises:
        RequestError: No scheduler answers there, ``distributed`` is not installed, or a worker has another stack.
    """
    try:
        import distributed
    except ImportError:
        problem = "Dask is not installed here: pip install 'normlib[dask]'"
        raise RequestError("scheduler", address, problem=problem) from None
    try:
        _reach(address)  # a Client that cannot connect says more than one line when it is dropped
        client = distributed.Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError):  # the last for an address that wants a certificate
        allowed = "the address of a running Dask scheduler, such as tcp://127.0.0.1:8786"
        raise RequestError("scheduler", address, f"{allowed} (none answered within {_CONNECT_TIMEOUT} s)") from None
    with client:
        _check_workers(client, address)
        yield client.get_executor(pure=False)


def local_workers(workers: int | None, threads: int) -> int:
    """Return how many executions there are at once on this machine, see ``local_executor``."""
    if workers is None:
        return max(1, stack.cores() // threads)
    return whole_number("workers", workers, minimum=1, maximum=1000)


def concurrency(executor: concurrent.futures.Executor) -> int:
    """Return how many executions an executor makes at once, as far as it tells; else the number of cores."""
    if (client := _dask_client(executor)) is not None:
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or stack.cores()


def shares_disk(executor: concurrent.futures.Executor) -> bool:
    """Return whether workers see the caller's disk: the standard library's own do, of others none knows."""
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor | concurrent.futures.ProcessPoolExecutor)


@contextlib.contextmanager
def calling(executor: concurrent.futures.Executor) -> Iterator[str]:
    """Give a name to who asks an executor for executions. In the end, its kernels are ended, those that work as well.

    That is here and on Dask's workers, see ``keeps_kernels``; those of other processes end with their executions.
    """
    caller = uuid.uuid4().hex
    try:
        yield caller
    finally:
        if (client := _dask_client(executor)) is not None:  # which cannot stop a task that runs
            client.run(kernels.end, caller, on_error="ignore")
        kernels.end(caller)


def keeps_kernels(executor: concurrent.futures.Executor) -> bool:
    """Return whether a worker's kernel may be kept for its next execution, since ``calling`` ends it."""
    return isinstance(executor, concurrent.futures.ThreadPoolExecutor) or _dask_client(executor) is not None


def _dask_client(executor: concurrent.futures.Executor) -> distributed.Client | None:
    client = getattr(executor, "_client", None)  # distributed.cfexecutor.ClientExecutor has no public name for it
    return client if hasattr(client, "nthreads") else None


@kernels.closing_event_loop
def _reach(address: str) -> None:
    from distributed.comm import connect, get_address_host_port

    async def reach() -> None:
        get_address_host_port(address)  # refuses what is no address at all
        connection = await connect(address, timeout=_CONNECT_TIMEOUT)
        await connection.close()

    run_sync(reach)()


def _check_workers(client: distributed.Client, address: str) -> None:
    """Refuse workers with another stack than the caller's: the bits, and the keys, would not be the study's."""
    there = client.run(stack.installed, on_error="return")
    if not there:
        print(f"no worker yet at {address}; the study starts when one comes", file=sys.stderr)
    for worker, installed in there.items():
        if isinstance(installed, Exception):
            problem = f"its worker {worker} has no normlib ({type(installed).__name__}: {installed})"
            raise RequestError("scheduler", address, problem=problem)
        if other := stack.differences(stack.installed(), installed):
            raise RequestError("scheduler", address, problem=f"its worker {worker} has another stack: {other}")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of an execution, as it is sent back.

    Args:
        records: Those of the runs that ended, where worker and caller share no disk.
        notebook: The executed notebook as far as it came, as text; empty where there is none.
        error: Why it failed; None where it did not.
    """

    records: tuple[Record, ...] = ()
    notebook: str = ""
    error: ExecutionError | None = None


def perform(
    execution: Execution,
    notebook: str,
    callers_stack: dict[str, str | None],
    records_dir: str = "",
    caller: str = "",
    keep_kernel: bool = False,
    study_sha256: str = "",
    timeout: float | None = None,
) -> Outcome:
    """Make an execution. Whatever goes wrong is told in the outcome, so that what was finished comes back with it.

    Args:
        execution: What to run.
        notebook: The master notebook, as text.
        callers_stack: As ``stack.installed`` gives it where the study is run.
        records_dir: Where records are written as runs end, where worker and caller share a disk; empty: they come back.
        caller: Who asks, as ``calling`` gives.
        keep_kernel: Whether the kernel is kept for the caller's next execution, of as many threads, since TensorFlow
            fixes them once it has run; the caller has to end it.
        study_sha256: Of the file that declares the study; empty where there is none.
        timeout: Seconds that the execution may take; None: as long as it needs.
    """
    if other := stack.differences(callers_stack, stack.installed()):
        reason = f"the worker on {platform.node()} has another stack: {other}"
        return Outcome(error=ExecutionError(reason, cause=Cause.MACHINE))
    with files.scratch_folder() as scratch:
        executed, error, parameters = "", None, execution.parameters(records_dir or scratch)
        try:
            executed = execute(
                notebook,
                parameters,
                # No path of anybody's in what is kept: a file of data is known by its name.
                shown={
                    parameters["records_dir"]: "../records",
                    parameters["dataset"]: execution.instance.settings["dataset"],
                },
                timeout=timeout,
                variables={stack.STUDY_VARIABLE: study_sha256},
                runs=execution.seeds,
                caller=caller,
                keep=keep_kernel,
            )
        except ExecutionError as failure:
            executed, error = failure.notebook, failure
        except Exception as failure:  # the worker's own: its disk, its processes; what was finished still goes back
            error = ExecutionError(f"{type(failure).__name__}: {failure}", cause=Cause.MACHINE)
        return Outcome(() if records_dir else tuple(read_records(scratch)), executed, error)


def find_refusal(instances: Iterable[Instance], timeout: float | None = None) -> RequestError | None:
    """Return why one of some instances cannot be built, found out in a process of its own; None: all can.

    Python looks for modules where kernels do: in the folder in which the command was given, too.

    Args:
        instances: The instances.
        timeout: Seconds that this may take; None: as long as it needs.
    """
    parameters = json.dumps([instance.parameters for instance in instances])
    command = [sys.executable, "-m", "normlib.models.build"]
    try:
        done = subprocess.run(command, input=parameters, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        problem = f"it took longer than {timeout:g} s to return a model"
        return RequestError("model", "one of your own", problem=problem)
    if done.returncode == 0:
        return None
    try:
        return RequestError(*json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, TypeError, ValueError):  # somebody's code has ended Python
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return RequestError("model", "one of your own", problem=f"it ended Python: {last}")
