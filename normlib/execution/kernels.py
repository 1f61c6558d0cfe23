"""Kernels: the processes that notebooks run in. A worker may keep its kernel for its next execution."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_core.utils import run_sync

from normlib import files

KERNEL = "python3"
MOST_RUNS = 50  # of a kernel: TensorFlow keeps about 20 MB of each for as long as the kernel lives
CALLER_VARIABLE = "NORMLIB_CALLER"  # in a kernel's environment: whose study it works for
_LOG_BYTES = 4000
_START_TIMEOUT = 60  # seconds


def this_process() -> str:
    """Return what this process is called as the caller of kernels, on whatever machine they run."""
    return f"{platform.node()} {os.getpid()}"


class _Manager(AsyncKernelManager):
    """Remembers its latest client: nbclient does not close that of a kernel which it was given."""

    latest: AsyncKernelClient | None = None

    def client(self, **options: Any) -> AsyncKernelClient:  # type: ignore[override]  # as the class above says it
        self.latest = super().client(**options)
        return self.latest


class Kernel:
    """A running Jupyter kernel. What it writes to its standard error by itself is kept as its log.

    Args:
        variables: Environment variables that it has beyond this process's.
    """

    def __init__(self, variables: Mapping[str, str]):
        self.variables = dict(variables)
        self.runs = 0
        # It goes with the kernel, also where one of the two processes is killed. TensorFlow leaves files in it.
        self._scratch = files.ScratchFolder()
        self._log = (Path(self._scratch.name) / "log").open("w+b")
        self.manager = _Manager(kernel_name=KERNEL, connection_file=f"{self._scratch.name}/connection.json")
        run_sync(self.manager.start_kernel)(
            # New kernels warn that they are spoken to without encryption; it is over this machine's loopback only.
            extra_arguments=["--log-level=ERROR"],
            env={**os.environ, "TMPDIR": self._scratch.name, **self.variables},
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    @property
    def log(self) -> str:
        """The tail of what it wrote."""
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - _LOG_BYTES))
        return self._log.read().decode(errors="replace")

    def reset(self) -> None:
        """Forget all variables and figures, and count cells from one again, as a new kernel would; modules stay.

        Raises:
            RuntimeError: It does not answer.
        """
        code = "get_ipython().reset()\nimport sys\n'matplotlib.pyplot' in sys.modules and "
        run_sync(self._run)(f"{code}sys.modules['matplotlib.pyplot'].close('all')")

    def let_go(self) -> None:
        """End what speaks to it here; it lives on."""
        if self.manager.latest is not None:
            self.manager.latest.stop_channels()
            self.manager.latest = None

    def kill(self) -> None:
        """End it and what it started at once; who waits for it learns that it died."""
        with contextlib.suppress(RuntimeError, ProcessLookupError):  # it has ended by itself
            run_sync(self.manager.signal_kernel)(signal.SIGKILL)

    def end(self) -> None:
        """End it at once and let go of its files."""
        try:
            run_sync(self.manager.shutdown_kernel)(now=True)
        finally:
            self._log.close()
            self._scratch.cleanup()

    async def _run(self, code: str) -> None:
        client = self.manager.client()
        client.start_channels()
        try:
            await client.wait_for_ready(timeout=_START_TIMEOUT)
            await client.execute(code, silent=True, reply=True, timeout=_START_TIMEOUT)
        finally:
            client.stop_channels()


class Kernels:
    """The kernels of some workers.

    Args:
        warm: Whether a worker, which is a thread, hands its kernel on to its next execution. A start costs about three
            seconds of processor time, most of it TensorFlow's.
    """

    def __init__(self, warm: bool = False):
        self._warm, self._ended = warm, False
        self._lock = threading.Lock()
        self._running: set[Kernel] = set()
        self._worker = threading.local()

    @contextlib.contextmanager
    def borrow(self, variables: Mapping[str, str], runs: int = 0) -> Iterator[Kernel]:
        """Lend a kernel for one execution. One in which something failed is not lent again.

        Args:
            variables: Environment variables that it has beyond this process's.
            runs: How many runs are trained in it; a kernel gets no more than ``MOST_RUNS`` in all, if it gets several.

        Raises:
            RuntimeError: It did not start, or all kernels have been ended.
        """
        kernel = self._take(variables, runs)
        kernel.runs += runs
        try:
            yield kernel
        except BaseException:
            kernel.let_go()
            self._end(kernel)
            raise
        kernel.let_go()
        if self._warm and not self._ended:
            self._worker.kernel = kernel
        else:
            self._end(kernel)

    def end(self) -> None:
        """End all kernels at once, those that work as well; none is lent any more."""
        with self._lock:
            self._ended = True
            running = list(self._running)
        for kernel in running:
            kernel.kill()

    def kill(self, caller: str) -> None:
        """Kill the kernels that work for a caller's studies; others, and later ones, are left alone."""
        with self._lock:
            running = [kernel for kernel in self._running if kernel.variables.get(CALLER_VARIABLE) == caller]
        for kernel in running:
            kernel.kill()

    def close(self) -> None:
        """End the kernels of workers that have ended."""
        self.end()
        for kernel in list(self._running):
            self._end(kernel)

    def _take(self, variables: Mapping[str, str], runs: int) -> Kernel:
        kept, self._worker.kernel = getattr(self._worker, "kernel", None), None
        if kept is not None and kept.variables == dict(variables) and kept.runs + runs <= MOST_RUNS:
            try:
                kept.reset()
                return kept
            except Exception:  # whatever is wrong with it, a new one is not
                self._end(kept)
        elif kept is not None:
            self._end(kept)
        with self._lock:
            if self._ended:
                raise RuntimeError("no kernel is started any more: the study was ended")
            kernel = Kernel(variables)
            self._running.add(kernel)
        return kernel

    def _end(self, kernel: Kernel) -> None:
        with self._lock:
            self._running.discard(kernel)
        kernel.end()


here = Kernels()
"""Those of this process that belong to no executor of normlib's: each ends with its execution."""
_workers = threading.local()


def work_with(kernels: Kernels) -> None:
    """Make the calling thread a worker that borrows from these."""
    _workers.kernels = kernels


def borrow(variables: Mapping[str, str], runs: int = 0) -> contextlib.AbstractContextManager[Kernel]:
    """Lend the calling thread a kernel, as ``Kernels.borrow``."""
    return getattr(_workers, "kernels", here).borrow(variables, runs)
