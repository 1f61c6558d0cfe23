"""One papermill execution of a notebook: parameters checked, paths and outputs cleaned."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import math
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError
from papermill.translators import PythonTranslator

from normlib import files
from normlib.errors import RequestError
from normlib.execution import kernels
from normlib.models.instance import Instance
from normlib.runs.record import run_key


class ExecutionError(RuntimeError):
    """A notebook that did not run to its end; the message is the reason.

    Args:
        reason: Why, in one line.
        log: The tail of what it said.
        infrastructure: Whether it is the machine's fault, so that another try may do better.
        timed_out: Whether its time was up.
        refused: Whether the request itself is wrong, which no other try changes.
    """

    def __init__(
        self,
        reason: str,
        log: str = "",
        infrastructure: bool = False,
        timed_out: bool = False,
        refused: bool = False,
    ):
        super().__init__(reason, log, infrastructure, timed_out, refused)
        self.reason, self.log, self.infrastructure, self.timed_out = reason, log, infrastructure, timed_out
        self.refused = refused
        self.notebook = ""  # as far as it came, as text; empty where there is none

    def __str__(self) -> str:
        return self.reason


@dataclasses.dataclass(frozen=True)
class Execution:
    """One papermill execution of the master notebook: one instance, some seeds that follow each other."""

    instance: Instance
    first_seed: int
    seeds: int
    threads: int = 1

    @property
    def run_seeds(self) -> range:
        """The seeds of its runs."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @functools.cached_property
    def keys(self) -> dict[int, str]:
        """The keys of its runs, by seed."""
        return {seed: run_key(self.instance, seed, self.threads) for seed in self.run_seeds}

    @property
    def name(self) -> str:
        """What its executed notebook is called: the ordering, a digest of other settings that differ, the seeds."""
        ordering = re.sub(r"[+:]", "_", self.instance.ordering.replace("/", "-"))[:80]
        changes = self.instance.changes
        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
        told_by_ordering = not set(changes) - {"ordering"} and len(ordering) < 80
        parts = [ordering, *([] if told_by_ordering else [digest])]
        return "_".join([*parts, f"seeds-{self.run_seeds[0]}-{self.run_seeds[-1]}"])

    def parameters(self, records_dir: Path | str) -> dict[str, Any]:
        """Return the master notebook's parameters."""
        return {
            **self.instance.parameters,
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "threads": self.threads,
            "records_dir": str(records_dir),
        }


def plan(seeds: Mapping[Instance, Iterable[int]], threads: int, workers: int) -> list[Execution]:
    """Spread runs over executions so that all workers are busy to the end, and kernels are started seldom.

    One worker gets as few executions as there can be. Several get at least about four each where there are runs enough:
    when the last execution starts, the others have little left. The longest come first. Seeds of an execution follow
    each other, as the master notebook's parameters have it.

    Args:
        seeds: The seeds to run, by instance.
        threads: Threads of a run.
        workers: Number of executions at once.
    """
    stretches = [
        (instance, [seed for _, seed in group])
        for instance, wanted in seeds.items()
        for _, group in itertools.groupby(enumerate(sorted(wanted)), key=lambda pair: pair[1] - pair[0])
    ]
    runs = sum(len(stretch) for _, stretch in stretches)
    most = min(kernels.MOST_RUNS, kernels.MOST_RUNS if workers == 1 else math.ceil(runs / (4 * workers)))
    executions = []
    for instance, stretch in stretches:
        parts = math.ceil(len(stretch) / most)
        bounds = [round(i * len(stretch) / parts) for i in range(parts + 1)]
        executions += [Execution(instance, stretch[a], b - a, threads) for a, b in itertools.pairwise(bounds)]
    return sorted(executions, key=lambda execution: -execution.seeds)


def notebook_path(name: str) -> Path:
    """Return where a notebook of normlib's is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    folder = package / "notebooks"
    return (folder if folder.is_dir() else package.parent / "notebooks") / f"{name}.ipynb"


def check_parameters(notebook: Path, parameters: Iterable[str]) -> None:
    """Refuse parameters that a notebook does not have; papermill itself only warns.

    Raises:
        RequestError: There is such a parameter.
    """
    known = papermill.inspect_notebook(str(notebook))
    for name in parameters:
        if name not in known:
            raise RequestError("parameter", name, f"{', '.join(known)} in {notebook.name}", names=known)


def execute(
    notebook: str,
    parameters: Mapping[str, object] | None = None,
    shown: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    timeout: float | None = None,
    runs: int = 0,
) -> str:
    """Execute a notebook in a kernel of this thread's, and return the executed one.

    Args:
        notebook: The notebook, as the text of its file.
        parameters: Its parameters; whether it has them, ``check_parameters`` tells.
        shown: What stands in the executed notebook instead of some paths.
        variables: Environment variables of the kernel.
        timeout: Seconds that it may take, the kernel's start included; None: as long as it needs.
        runs: How many runs it trains; a kernel is given up after some.

    Returns:
        The executed notebook, as text, without papermill's metadata.

    Raises:
        ExecutionError: A cell failed, the kernel died, or the time was up.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what fails is told by the exception
    with files.ScratchFolder() as scratch:
        given, executed = Path(scratch) / "given.ipynb", Path(scratch) / "executed.ipynb"
        given.write_text(notebook, encoding="utf-8")
        try:
            with kernels.borrow(variables or {}, runs) as kernel, _deadline(kernel, timeout):
                papermill.execute_notebook(
                    str(given),
                    str(executed),
                    dict(parameters or {}),
                    kernel_name=kernels.KERNEL,
                    progress_bar=False,
                    km=kernel.manager,
                )
        except ExecutionError as error:
            error.notebook = _tidy(executed, shown) if executed.exists() else ""
            raise
        except RuntimeError as error:
            raise ExecutionError(f"no kernel started: {error}", infrastructure=True) from None
        return _tidy(executed, shown)


@contextlib.contextmanager
def _deadline(kernel: kernels.Kernel, timeout: float | None) -> Iterator[None]:
    """Kill the kernel when its time is up, and say what went wrong in the words of an ``ExecutionError``."""
    up = threading.Event()

    def end() -> None:
        up.set()
        kernel.kill()

    timer = threading.Timer(timeout or 0, end)
    timer.daemon = True
    if timeout is not None:
        timer.start()
    try:
        yield
    except PapermillExecutionError as error:
        reason, log = f"{error.ename}: {error.evalue}", _plain("\n".join(error.traceback))
        raise ExecutionError(reason, log, refused=error.ename == RequestError.__name__) from None
    except (DeadKernelError, RuntimeError) as error:
        if up.is_set():
            reason = f"it took longer than the timeout of {timeout:g} s"
            raise ExecutionError(reason, kernel.log, timed_out=True) from None
        raise ExecutionError(f"the kernel died: {error}", kernel.log, infrastructure=True) from None
    finally:
        timer.cancel()


def _tidy(executed: Path, shown: Mapping[str, str] | None) -> str:
    """Return an executed notebook that is the same wherever it was made: no such paths, no papermill metadata."""
    notebook = nbformat.read(executed, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    # As papermill writes a path into a cell, and as it stands in outputs.
    names = {PythonTranslator.translate_str(path)[1:-1]: name for path, name in (shown or {}).items()}
    names |= shown or {}

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            # A picture's data are no text, though they may spell a path.
            return type(value)({n: item if n.startswith("image/") else tidy(item) for n, item in value.items()})
        if isinstance(value, list):
            return [tidy(item) for item in value]
        if not isinstance(value, str):
            return value
        for path, name in names.items():
            value = value.replace(path, name)
        return without_home(value)

    return nbformat.writes(tidy(notebook)) + "\n"


def without_home(text: str) -> str:
    """Return a text in which the user's home folder is ``~``, so that it tells nobody's name when it is passed on."""
    home = os.path.expanduser("~")
    for path in {home, os.path.realpath(home)}:
        if len(Path(path).parts) > 1:  # else there is none, or it is the root of the file system
            # Behind a character that is no part of a name, or behind one that colours; before the path's end.
            text = re.sub(rf"(^|[^\w.-]|\x1b\[[\d;]*m){re.escape(path)}(?![\w-]|\.\w)", r"\1~", text)
    return text


def _plain(text: str) -> str:
    """Take out the escape sequences that colour a traceback, and keep its tail."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)[-4000:]
