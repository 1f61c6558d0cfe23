"""Progress of many runs: a bar in a terminal, a line a run in a log file, one line that changes in a notebook."""

from __future__ import annotations

import io
import sys
from types import TracebackType

import tqdm

from normlib.runs.live import Live, in_notebook


class Progress:
    """Shows how many of how many runs are done, failed and running, how long the rest will take, and the latest result.

    Args:
        total: Number of runs.
        title: What the runs are for.
        done: Number of runs that were done before.

    In a notebook that nobody looks at while it runs, such as papermill's, it is quiet.

    Use it in a ``with`` statement, call ``advance`` or ``fail`` once a run, and set ``running`` where several do.
    """

    def __init__(self, total: int, title: str, done: int = 0):
        self._title, self._total, self._done, self._failed, self._running = title, total, done, 0, 0
        self._latest = ""
        self.live = Live()
        self.live.say(self._line())
        terminal, notebook = sys.stderr.isatty(), in_notebook()
        self._log = not notebook and not terminal
        # In a notebook the bar is not drawn; it tells the time that is left.
        target = sys.stderr if terminal and not notebook else io.StringIO()
        self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit="run", file=target, disable=self._log)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
        self.live.say(self._line())

    @property
    def running(self) -> int:
        """Number of executions that are being made."""
        return self._running

    @running.setter
    def running(self, number: int) -> None:
        if number != self._running:
            self._running = number
            self._show()

    def advance(self, latest: str) -> None:
        """Count one more run that is done.

        Args:
            latest: The run, and what it gave.
        """
        self._done += 1
        self._bar.update()
        self._report(latest)

    def fail(self, latest: str) -> None:
        """Count one more run that failed.

        Args:
            latest: The run, and why.
        """
        self._failed += 1
        self._report(f"failed: {latest}")

    def _report(self, latest: str) -> None:
        self._latest = latest
        if self._log:
            print(f"{self._line()}; {latest}", file=sys.stderr, flush=True)
        self._show()

    def _show(self) -> None:
        state = [f"{self._failed} failed"] * bool(self._failed) + [f"{self._running} running"] * bool(self._running)
        self._bar.set_postfix_str(", ".join([*state, self._latest]), refresh=not self._log)
        rate = self._bar.format_dict["rate"]
        left = [f"{tqdm.tqdm.format_interval((self._total - self._done) / rate)} left"] if rate else []
        headline = ", ".join([self._line(), *[f"{self._running} running"] * bool(self._running), *left])
        self.live.say(headline, self._latest)

    def _line(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._title}: {self._done} of {self._total} runs done{failed}"
