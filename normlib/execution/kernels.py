"""Kernels: the processes that notebooks run in. One may be kept for the next execution of the same study."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jupyter_client import AsyncKernelClient, AsyncKernelManager
from jupyter_core.utils import ensure_event_loop, run_sync

from normlib import files
from normlib.errors import Arguments, Result

KERNEL = "python3"
MOST_RUNS = 50  # of a kernel: TensorFlow keeps about 20 MB of each for as long as the kernel lives
_LOG_BYTES = 4000
_START_TIMEOUT = 60  # seconds
_MOST_IDLE = 60  # seconds

# Of this process. Whoever asks for executions may be interrupted while others wait for them, in other threads or, on
# Dask, on other machines: then that caller's kernels have to be found.
_kernels: set[Kernel] = set()
_ended: set[str] = set()  # callers for which no kernel is started any more
_lock = threading.Lock()


def closing_event_loop(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Have a function that makes blocking calls to Jupyter close the event loop which these open and leave open."""

    def call(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        try:
            return function(*arguments, **options)
        finally:
            loop = ensure_event_loop()
            if not loop.is_running():  # as it does in a notebook's cell; it is then not Jupyter's to close
                loop.close()
                asyncio.set_event_loop(None)

    @functools.wraps(function)
    def call_apart(*arguments: Arguments.args, **options: Arguments.kwargs) -> Result:
        # Jupyter keeps its loop in a context variable: in a context of its own, none of the caller's is closed.
        return contextvars.Context().run(call, *arguments, **options)

    return call_apart


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
        caller: For whom it works, see ``end``.
    """

    def __init__(self, variables: Mapping[str, str], caller: str = ""):
        self.variables, self.caller = dict(variables), caller
        self.runs, self.idle = 0, False
        self._waiting: threading.Timer | None = None
        self._files = contextlib.ExitStack()
        # TensorFlow leaves files where temporary ones go: in a folder that goes with the kernel.
        scratch = self._files.enter_context(files.scratch_folder())
        self._log = self._files.enter_context((scratch / "log").open("w+b"))
        self.manager = _Manager(kernel_name=KERNEL, connection_file=str(scratch / "connection.json"))
        run_sync(self.manager.start_kernel)(
            # New kernels warn that they are spoken to without encryption; it is over this machine's loopback only.
            extra_arguments=["--log-level=ERROR"],
            env={**os.environ, "TMPDIR": str(scratch), **self.variables},
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

        async def ask() -> None:
            client = self.manager.client()
            client.start_channels()
            await client.wait_for_ready(timeout=_START_TIMEOUT)
            await client.execute(code, silent=True, reply=True, timeout=_START_TIMEOUT)

        code = "get_ipython().reset()\nimport sys\n'matplotlib.pyplot' in sys.modules and "
        code += "sys.modules['matplotlib.pyplot'].close('all')"
        try:
            run_sync(ask)()
        finally:
            self.disconnect()

    def wait(self) -> None:
        """Wait for the next execution; if none comes, since the caller was killed, it ends itself."""
        self._waiting = threading.Timer(_MOST_IDLE, _end_idle, [self])
        self._waiting.daemon = True
        self.idle = True
        self._waiting.start()

    def take(self) -> None:
        """Stop waiting; whoever calls it has the kernel."""
        self.idle = False
        if self._waiting is not None:
            self._waiting.cancel()

    def disconnect(self) -> None:
        """Close the connection to it; it lives on."""
        if self.manager.latest is not None:
            self.manager.latest.stop_channels()
            self.manager.latest = None

    def kill(self) -> None:
        """Kill it and what it started; who waits for it learns that it died."""
        process = self.manager.provisioner.process  # type: ignore[union-attr]  # none before it was started
        with contextlib.suppress(ProcessLookupError):
            if process is not None and process.poll() is None:
                os.killpg(self.manager.provisioner.pgid, signal.SIGKILL)  # type: ignore[union-attr]

    def end(self) -> None:
        """End it at once and remove its files."""
        with _lock:
            _kernels.discard(self)
        with self._files:
            self.disconnect()
            run_sync(self.manager.shutdown_kernel)(now=True)


@contextlib.contextmanager
def borrow(variables: Mapping[str, str], runs: int = 0, caller: str = "", keep: bool = False) -> Iterator[Kernel]:
    """Lend a kernel for one execution. One in which something failed is not lent again.

    Args:
        variables: Environment variables that it has beyond this process's.
        runs: How many runs are trained in it; a kernel gets no more than ``MOST_RUNS`` in all, if it gets several.
        caller: For whom it works.
        keep: Whether it is kept, until ``end``, for the caller's next execution with the same variables. A start costs
            about three seconds of processor time, most of it TensorFlow's.

    Raises:
        RuntimeError: It did not start, or the caller's kernels have been ended.
    """
    kernel = _take(variables, runs, caller)
    kernel.runs += runs
    try:
        yield kernel
        kernel.disconnect()
    except BaseException:
        kernel.end()
        raise
    with _lock:
        kept = keep and caller not in _ended
        if kept:
            kernel.wait()
    if not kept:
        kernel.end()


def _take(variables: Mapping[str, str], runs: int, caller: str) -> Kernel:
    with _lock:
        kept = next((kernel for kernel in _kernels if kernel.idle and kernel.caller == caller), None)
        if kept is not None:
            kept.take()
    if kept is not None:
        if kept.variables == dict(variables) and kept.runs + runs <= MOST_RUNS:
            with contextlib.suppress(Exception):  # whatever is wrong with it, a new one is not
                kept.reset()
                return kept
        kept.end()
    with _lock:
        if caller in _ended:
            raise RuntimeError("the study was ended")
        kernel = Kernel(variables, caller)
        _kernels.add(kernel)
    return kernel


@closing_event_loop
def _end_idle(kernel: Kernel) -> None:
    with _lock:
        idle = kernel.idle
        kernel.take()
    if idle:
        kernel.end()


@closing_event_loop
def end(caller: str) -> None:
    """End a caller's kernels in this process, those that work as well; none is started for it any more.

    Args:
        caller: A name that no other caller has.
    """
    with _lock:
        _ended.add(caller)
        working = [kernel for kernel in _kernels if kernel.caller == caller and not kernel.idle]
        idle = [kernel for kernel in _kernels if kernel.caller == caller and kernel.idle]
        for kernel in idle:
            kernel.take()  # so that nobody else does
    for kernel in working:
        kernel.kill()  # who works with it then ends it
    for kernel in idle:
        kernel.end()
