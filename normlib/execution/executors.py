"""Where executions go: this machine, or a Dask cluster. Either is a ``concurrent.futures.Executor``."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jupyter_core.utils import run_sync

from normlib import stack
from normlib.checks import thread_count, whole_number
from normlib.errors import RequestError
from normlib.execution import kernels

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
