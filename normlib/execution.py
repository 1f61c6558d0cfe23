"""One papermill execution of a notebook, its parameters checked."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from normlib.errors import RequestError
from normlib.files import write_atomically
from normlib.instance import Instance

KERNEL = "python3"
_MOST_SEEDS = 50  # TensorFlow keeps about 20 MB of each run for as long as the kernel lives


class ExecutionError(RuntimeError):
    """A notebook that did not run to its end; the message is the reason, ``log`` the tail of what it said."""

    def __init__(self, reason: str, log: str = ""):
        super().__init__(reason, log)
        self.reason, self.log = reason, log

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

    @property
    def name(self) -> str:
        """What its executed notebook is called: the ordering, a digest of other settings that differ, the seeds."""
        ordering = self.instance.ordering.replace("/", "-").replace("+", "_")[:80]
        changes = self.instance.changes
        digest = hashlib.sha256(json.dumps(changes, sort_keys=True).encode()).hexdigest()[:8]
        told_by_ordering = not set(changes) - {"ordering"} and len(ordering) < 80
        parts = [ordering, *([] if told_by_ordering else [digest])]
        return "_".join([*parts, f"seeds-{self.run_seeds[0]}-{self.run_seeds[-1]}"])

    def parameters(self, records_dir: Path | str) -> dict[str, object]:
        """Return the master notebook's parameters."""
        return {
            **self.instance.settings,
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "threads": self.threads,
            "records_dir": str(records_dir),
        }


def plan(instance: Instance, seeds: Iterable[int], threads: int) -> list[Execution]:
    """Return executions that cover some seeds of an instance: one for each fifty seeds that follow each other."""
    executions = []
    for _, stretch in itertools.groupby(enumerate(sorted(seeds)), key=lambda pair: pair[1] - pair[0]):
        covered = [seed for _, seed in stretch]
        for start in range(0, len(covered), _MOST_SEEDS):
            part = covered[start : start + _MOST_SEEDS]
            executions.append(Execution(instance, part[0], len(part), threads))
    return executions


def notebook_path(name: str) -> Path:
    """Return where a notebook of normlib's is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent
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


def execute(notebook: Path, parameters: dict[str, object], output: Path) -> None:
    """Execute a notebook and keep the executed one, without absolute paths, also when a cell fails.

    Args:
        notebook: The notebook.
        parameters: Its parameters.
        output: Where the executed notebook goes, whole; paths among the parameters are made relative to its folder.

    Raises:
        RequestError: The notebook lacks one of the parameters; nothing was run.
        ExecutionError: A cell failed, or the kernel died.
    """
    check_parameters(notebook, parameters)
    logging.getLogger("papermill").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as scratch:
        executed = Path(scratch) / "executed.ipynb"
        try:
            papermill.execute_notebook(
                str(notebook),
                str(executed),
                parameters,
                kernel_name=KERNEL,
                progress_bar=False,
                # New kernels warn that they are spoken to without encryption; it is over this machine's loopback only.
                extra_arguments=["--log-level=ERROR"],
            )
        except PapermillExecutionError as error:
            raise ExecutionError(f"{error.ename}: {error.evalue}", _plain("\n".join(error.traceback))) from None
        except DeadKernelError as error:
            raise ExecutionError(f"the kernel died: {error}") from None
        finally:
            if executed.exists():
                paths = [value for value in parameters.values() if isinstance(value, str) and os.path.isabs(value)]
                write_atomically(output, _without_paths(executed, paths, output.parent))


def _without_paths(executed: Path, paths: Iterable[str], folder: Path) -> str:
    """Return an executed notebook that is the same wherever it was made: relative paths, no papermill metadata."""
    notebook = nbformat.read(executed, as_version=4)
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        for path in paths:
            relative = os.path.relpath(path, folder.resolve())
            cell.source = cell.source.replace(path, relative)
            for output in cell.get("outputs", []):
                if "text" in output:
                    output.text = output.text.replace(path, relative)
    return nbformat.writes(notebook) + "\n"


def _plain(text: str) -> str:
    """Take out the escape sequences that colour a traceback, and keep its tail."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)[-4000:]
