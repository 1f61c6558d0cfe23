"""Progress of many runs: a bar in a terminal, one line that updates in a notebook, a line a run in a log file."""

from __future__ import annotations

import sys
from types import TracebackType

import tqdm


class Progress:
    """Shows how many of how many runs are done, how long the rest will take, and the latest result.

    Args:
        total: Number of runs.
        title: What the runs are for.
        done: Number of runs that were done before.

    Use it in a ``with`` statement and call ``advance`` once a run.
    """

    def __init__(self, total: int, title: str, done: int = 0):
        self._title, self._total, self._done = title, total, done
        self._handle = _notebook_display(self._line())
        self._log = self._handle is None and not sys.stderr.isatty()
        self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit="run", disable=not sys.stderr.isatty())

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, latest: str) -> None:
        """Count one more run.

        Args:
            latest: The run that ended, and what it gave.
        """
        self._done += 1
        self._bar.set_postfix_str(latest, refresh=False)
        self._bar.update()
        if self._log:
            print(f"{self._line()}; {latest}", file=sys.stderr, flush=True)
        if self._handle is not None:
            self._handle.update({"text/plain": self._line()}, raw=True)

    def _line(self) -> str:
        return f"{self._title}: {self._done} of {self._total} runs done"


def _notebook_display(line: str) -> object | None:
    """Show a line, and return a display that updates it, where the output is a notebook's; else return None."""
    if "IPython" not in sys.modules:
        return None
    shell = sys.modules["IPython"].get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": line}, raw=True, display_id=True)
