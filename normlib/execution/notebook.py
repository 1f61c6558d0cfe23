"""One papermill execution of a notebook: parameters checked, paths and outputs cleaned."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
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

from normlib import files
from normlib.errors import RequestError
from normlib.execution import kernels
from normlib.models.instance import Instance
from normlib.runs.record import run_key


class Cause(enum.Enum):
    """What is to blame for a failure; it decides what is tried again."""

    CODE = "an error in a cell"
    MACHINE = "a dead kernel, a lost worker: another try may do better"
    TIME = "the time was up"
    REQUEST = "a wrong request, such as a model of one's own that cannot be built: no other seed changes it"


class ExecutionError(RuntimeError):
    """A notebook that did not run to its end; the message is the reason.

    Args:
        reason: Why, in one line. Of it and of the log, the user's home folder is left out.
        log: The tail of what it said.
        cause: What is to blame.
        notebook: The notebook as far as it came, as text; empty where there is none.
    """

    def __init__(self, reason: str, log: str = "", cause: Cause = Cause.CODE, notebook: str = ""):
        super().__init__(without_home(reason))
        self.reason, self.log = without_home(reason), without_home(log)
        self.cause, self.notebook = cause, notebook


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


def plan(runs: Iterable[tuple[Instance, int]], threads: int, workers: int) -> list[Execution]:
    """Spread runs over executions so that all workers are busy to the end, and kernels are started seldom.

    One worker gets as few executions as there can be. Several get at least about four each where there are runs enough:
    when the last execution starts, the others have little left. The longest come first. Seeds of an execution follow
    each other, as the master notebook's parameters have it.

    Args:
        runs: Instance and seed of each.
        threads: Threads of a run.
        workers: Number of executions at once.
    """
    seeds: dict[Instance, list[int]] = {}
    for instance, seed in runs:
        seeds.setdefault(instance, []).append(seed)
    stretches = [
        (instance, [seed for _, seed in group])
        for instance, wanted in seeds.items()
        for _, group in itertools.groupby(enumerate(sorted(wanted)), key=lambda pair: pair[1] - pair[0])
    ]
    count = sum(len(stretch) for _, stretch in stretches)
    most = kernels.MOST_RUNS if workers == 1 else min(kernels.MOST_RUNS, math.ceil(count / (4 * workers)))
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


@kernels.closing_event_loop
def execute(
    notebook: str,
    parameters: Mapping[str, object] | None = None,
    shown: Mapping[str, str] | None = None,
    timeout: float | None = None,
    **kernel: Any,
) -> str:
    """Execute a notebook in a kernel, and return the executed one.

    Args:
        notebook: The notebook, as the text of its file.
        parameters: Its parameters. What is none of them is silently ignored, as by papermill.
        shown: What stands in the executed notebook instead of some paths.
        timeout: Seconds that it may take, the kernel's start included; None: as long as it needs.
        kernel: Which kernel, as ``kernels.borrow`` has it.

    Returns:
        The executed notebook, as text, without papermill's metadata.

    Raises:
        ExecutionError: A cell failed, the kernel died, or the time was up.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what fails is told by the exception
    with files.scratch_folder() as scratch:
        given, executed = scratch / "given.ipynb", scratch / "executed.ipynb"
        given.write_text(notebook, encoding="utf-8")
        try:
            with kernels.borrow(**{"variables": {}, **kernel}) as borrowed, _deadline(borrowed, timeout):
                import papermill  # slow to import: the kernel starts meanwhile

                papermill.execute_notebook(
                    given,
                    executed,
                    dict(parameters or {}),
                    kernel_name=kernels.KERNEL,
                    progress_bar=False,
                    km=borrowed.manager,
                )
        except ExecutionError as error:
            error.notebook = _tidy(executed, dict(shown or {})) if executed.exists() else ""
            raise
        except RuntimeError as error:
            raise ExecutionError(f"no kernel started: {error}", cause=Cause.MACHINE) from None
        return _tidy(executed, dict(shown or {}))


@contextlib.contextmanager
def _deadline(kernel: kernels.Kernel, timeout: float | None) -> Iterator[None]:
    """Kill the kernel when its time is up, and say what went wrong in the words of an ``ExecutionError``."""
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

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
        traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))  # without what colours it
        cause = Cause.REQUEST if error.ename == RequestError.__name__ else Cause.CODE
        raise ExecutionError(f"{error.ename}: {error.evalue}", traceback[-4000:], cause) from None
    except (DeadKernelError, RuntimeError) as error:
        if up.is_set():
            reason = f"it took longer than the timeout of {timeout:g} s"
            raise ExecutionError(reason, kernel.log, Cause.TIME) from None
        raise ExecutionError(f"the kernel died: {error}", kernel.log, Cause.MACHINE) from None
    finally:
        timer.cancel()


def _tidy(executed: Path, shown: dict[str, str]) -> str:
    """Return an executed notebook that is the same wherever it was made: no such paths, no papermill metadata."""
    import nbformat
    from papermill.translators import PythonTranslator

    notebook = nbformat.read(executed, as_version=4)
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    # As papermill writes a path into a cell, and as it stands in outputs.
    names = {PythonTranslator.translate_str(path)[1:-1]: name for path, name in shown.items()} | shown

    def tidy(value: Any) -> Any:
        if isinstance(value, dict):
            # A picture's data are no text, though they may spell a path.
            return type(value)({n: item if n.startswith("image/") else tidy(item) for n, item in value.items()})
        if isinstance(value, list):
            return [tidy(item) for item in value]
        if not isinstance(value, str):
            return value
        return without_home(functools.reduce(lambda text, path: text.replace(path, names[path]), names, value))

    return nbformat.writes(tidy(notebook)) + "\n"


def without_home(text: str) -> str:
    """Return a text in which the user's home folder is ``~``, so that it tells nobody's name when it is passed on."""
    home = os.path.expanduser("~")
    for path in {home, os.path.realpath(home)}:
        if len(Path(path).parts) > 1:  # else there is none, or it is the root of the file system
            # Behind a character that is no part of a name, or behind one that colours; before the path's end.
            text = re.sub(rf"(^|[^\w.-]|\x1b\[[\d;]*m){re.escape(path)}(?![\w-]|\.\w)", r"\1~", text)
    return text
