"""Where executions run, on threads, processes or Dask; and what a worker does with a job."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import importlib.util
import json
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jupyter_core.utils import run_sync

from normlib import files, stack
from normlib.errors import RequestError, thread_count, whole_number
from normlib.execution import kernels
from normlib.execution.notebook import Execution, ExecutionError, execute, without_home
from normlib.models.instance import Instance

if TYPE_CHECKING:
    import distributed

_CONNECT_TIMEOUT = 5  # seconds


@contextlib.contextmanager
def local_executor(workers: int | None = None, threads: int = 1) -> Iterator[concurrent.futures.Executor]:
    """Make an executor on this machine; an error or interruption ends its kernels at once.

    Its workers are threads: a notebook's work is done by its kernel, which is a process of its own. A worker hands its
    kernel on to its next execution.

    Args:
        workers: Number of executions at once; None: as many as there are cores for.
        threads: Threads of each.

    Raises:
        RequestError: Not a whole number from 1 up.
    """
    workers = local_workers(workers, thread_count(threads))
    warm = kernels.Kernels(warm=True)
    executor = concurrent.futures.ThreadPoolExecutor(workers, "normlib", kernels.work_with, (warm,))
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        warm.end()  # its workers then find their kernels dead, and end
        raise
    finally:
        executor.shutdown()
        warm.close()


@contextlib.contextmanager
def dask_executor(address: str) -> Iterator[concurrent.futures.Executor]:
    """Connect to a running Dask cluster, and return its executor.

    Args:
        address: The scheduler's, such as ``tcp://127.0.0.1:8786``.

    Raises:
        RequestError: No scheduler answers there, ``distributed`` is not installed, or a worker has another stack.
    """
    if importlib.util.find_spec("distributed") is None:
        raise RequestError("scheduler", address, "an address, where Dask is installed: pip install 'normlib[dask]'")
    import distributed

    try:
        run_sync(_reach)(address)  # a Client that cannot connect says more than one line when it is dropped
        client = distributed.Client(address, timeout=_CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError):  # the last for an address that wants a certificate
        allowed = f"the address of a running Dask scheduler; none answered within {_CONNECT_TIMEOUT} seconds"
        raise RequestError("scheduler", address, f"{allowed}, such as tcp://127.0.0.1:8786") from None
    with client:
        _check_workers(client, address)
        executor = client.get_executor(pure=False)
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False)
            client.run(_kill_kernels, kernels.this_process(), on_error="ignore")  # Dask cannot stop a task that runs
            raise


def local_workers(workers: int | None, threads: int) -> int:
    """Return how many executions there are at once on this machine.

    Args:
        workers: What was asked for; None: as many as there are cores for.
        threads: Threads of each.

    Raises:
        RequestError: Not a whole number from 1 up.
    """
    if workers is None:
        return max(1, stack.cores() // threads)
    return whole_number("workers", workers, minimum=1, maximum=1000)


def concurrency(executor: concurrent.futures.Executor) -> int:
    """Return how many executions an executor makes at once, as far as it tells; else the number of cores."""
    client = getattr(executor, "_client", None)  # distributed.cfexecutor.ClientExecutor has no public name for it
    if client is not None and hasattr(client, "nthreads"):
        return max(1, sum(client.nthreads().values()))
    return getattr(executor, "_max_workers", None) or stack.cores()


def shares_disk(executor: concurrent.futures.Executor) -> bool:
    """Return whether an executor's workers see the caller's disk: the standard library's own do, of others none knows.

    ``ThreadPoolExecutor`` and ``ProcessPoolExecutor`` work on the caller's machine.
    """
    local = (concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor)
    return isinstance(executor, local)


async def _reach(address: str) -> None:
    from distributed.comm import connect, get_address_host_port

    get_address_host_port(address)  # refuses what is no address at all
    connection = await connect(address, timeout=_CONNECT_TIMEOUT)
    await connection.close()


def _check_workers(client: distributed.Client, address: str) -> None:
    """Refuse workers with another stack than the caller's: the bits, and the keys, would not be the study's."""
    there = client.run(stack.installed, on_error="return")
    if not there:
        print(f"no worker yet at {address}; the study starts when one comes", file=sys.stderr)
    for worker, installed in there.items():
        if isinstance(installed, Exception):
            other = f"without normlib ({type(installed).__name__}: {installed})"
        else:
            other = stack.differences(stack.installed(), installed)
        if other:
            raise RequestError("scheduler", address, f"a cluster with the caller's stack; its worker {worker}: {other}")


def _kill_kernels(caller: str) -> None:
    kernels.here.kill(caller)


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
        refused: Whether the request itself is wrong, such as a model of one's own that cannot be built.
    """

    records: tuple[str, ...] = ()
    notebook: str = ""
    reason: str = ""
    log: str = ""
    infrastructure: bool = False
    timed_out: bool = False
    refused: bool = False


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
        return Outcome(records, notebook, reason, log, failure.infrastructure, failure.timed_out, failure.refused)


def find_refusal(instances: Iterable[Instance], timeout: float | None = None) -> RequestError | None:
    """Return why one of some instances cannot be built, found out in a process of its own; None: all can.

    Python looks for modules where kernels do: in the folder in which the command was given, too.

    Args:
        instances: The instances.
        timeout: Seconds that this may take; None: as long as it needs.
    """
    asked = json.dumps([instance.parameters for instance in instances])
    command = [sys.executable, "-m", "normlib.models.build"]
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
