"""How far long work has come, in a terminal and in a notebook."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import tqdm

_SILENCE = 9  # seconds without a line in a log, which hears at least every ten
_SECONDS = 0.5  # between two drawings: more are not seen, and each takes a few hundredths of a second


def tell(line: str) -> None:
    """Say a line on standard error, beside a progress bar; a notebook that nobody looks at gets none."""
    if not in_notebook() or is_watched():
        tqdm.tqdm.write(line, file=sys.stderr)


def in_notebook() -> bool:
    """Tell whether the code runs in a notebook's kernel."""
    return _kernel() is not None


def is_watched() -> bool:
    """Tell whether the code that runs was sent from a notebook that a person has open.

    Such a frontend can be asked for input, which it says with each cell that it sends (``allow_stdin``; Jupyter
    client's documentation, Messaging in Jupyter, Execute). papermill, nbval and nbconvert cannot.
    """
    kernel = _kernel()
    return kernel is not None and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


class Live:
    """One line, and below it one small curve, in a notebook that a person has open; nothing elsewhere.

    The line is the headline, such as how many runs are done, and then what the present run does.
    """

    def __init__(self) -> None:
        self.headline = ""
        self._watched = is_watched()
        self._line = self._picture = None
        self._curves: dict[str, tuple[list, list]] = {}  # of each run: steps and losses
        self._drawn = 0.0

    def say(self, headline: str, detail: str = "") -> None:
        """Change the line to a headline, which stays while a run trains, and what stands behind it."""
        self.headline = headline
        if self._watched:
            self._line = _display(self._line, {"text/plain": "; ".join(filter(None, [headline, detail]))})

    def follow(self, run: str, step: int, steps: int, loss: float, accuracy: float) -> None:
        """Show how far a run is, at a step of all its epochs' steps; the curves of the runs before stay, in grey."""
        if not self._watched:
            return
        for values, value in zip(self._curves.setdefault(run, ([], [])), (step, loss), strict=True):
            values.append(value)
        if time.monotonic() - self._drawn < _SECONDS and step < steps:
            return
        self.say(self.headline, f"{run}: step {step} of {steps}, loss {loss:.4f}, accuracy {accuracy:.4f}")
        self._draw(run)
        self._drawn = time.monotonic()

    def _draw(self, run: str) -> None:
        import matplotlib as mpl
        from matplotlib.figure import Figure

        content = io.BytesIO()
        *before, (steps, losses) = self._curves.values()
        with mpl.rc_context({"font.size": 7, "axes.spines.top": False, "axes.spines.right": False}):
            figure = Figure(figsize=(4.2, 1.6), layout="constrained")  # and not pyplot's, which the cell's end shows
            axis = figure.subplots()
            for earlier in before:
                axis.plot(*earlier, color="#BBBBBB", linewidth=0.8)
            axis.plot(steps, losses, color="#0072B2", marker=".", markersize=3, linewidth=1.4)
            axis.set(xlabel="step", ylabel="running loss", title=run + "; runs before in grey" * bool(before))
            figure.savefig(content, format="png", dpi=100)
        alternative = f"The running loss of {run} by step, down to {losses[-1]:.4f} at step {steps[-1]}."
        data = {"image/png": content.getvalue(), "text/plain": alternative}
        self._picture = _display(self._picture, data, {"image/png": {"alt": alternative}})


def _kernel() -> Any:
    """Return the kernel that this code runs in, or None where it is in none."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None)


def _display(handle: Any, data: Mapping[str, object], metadata: dict | None = None) -> Any:
    """Show data, or put them in the place of what a display showed before; return the display."""
    from IPython.display import display

    if handle is None:
        return display(data, raw=True, display_id=True, metadata=metadata or {})
    handle.update(data, raw=True, metadata=metadata or {})
    return handle


class Progress:
    """Shows how many of how many runs are done, failed and running, how long the rest will take, and the latest result.

    A terminal gets a bar, a notebook that a person has open a line, a log file a line a run, and one every ten seconds;
    a notebook that nobody looks at while it runs, such as papermill's, gets nothing.

    Args:
        total: Number of runs.
        title: What the runs are for.
        done: Number of runs that were done before.
        unit: What a run is called, where it is none.

    Use it in a ``with`` statement, call ``advance`` or ``fail`` once a run, and set ``running`` where several do.
    """

    def __init__(self, total: int, title: str, done: int = 0, unit: str = "run"):
        self._unit, self._title, self._total, self._done, self._failed, self._running = unit, title, total, done, 0, 0
        self._done_before, self._began = done, time.monotonic()
        self._latest = ""
        self._ended = threading.Event()
        self.live = Live()
        self.live.say(self._status())
        self._bar = tqdm.tqdm(total=total, initial=done, desc=title, unit=unit, disable=None)  # unless in a terminal
        self._logs = bool(self._bar.disable) and not in_notebook()

    def __enter__(self) -> Progress:
        if self._logs:
            self._log()
            threading.Thread(target=self._repeat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._bar.close()
        self.live.say(self._status())

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
        """Count one more run that is done; ``latest`` names it and what it gave."""
        self._done += 1
        self._bar.update()
        self._report(latest)

    def fail(self, latest: str) -> None:
        """Count one more run that failed; ``latest`` names it and why."""
        self._failed += 1
        self._report(f"failed: {latest}")

    def _report(self, latest: str) -> None:
        self._latest = latest
        if self._logs:
            self._log(latest)
        self._show()

    def _log(self, *latest: str) -> None:
        self._logged = time.monotonic()
        print("; ".join([self._status(), *latest]), file=sys.stderr, flush=True)

    def _repeat(self) -> None:
        """Say how far it is where nothing was said for some seconds."""
        while not self._ended.wait(1):
            if time.monotonic() - self._logged >= _SILENCE:
                self._log()

    def _show(self) -> None:
        self._bar.set_postfix_str(", ".join([*self._others(), self._latest]))
        self.live.say(self._status(), self._latest)

    def _others(self) -> list[str]:
        """Return how many runs failed, and until the end how many are running."""
        counts = {"failed": self._failed, "running": 0 if self._ended.is_set() else self._running}
        return [f"{number} {state}" for state, number in counts.items() if number]

    def _status(self) -> str:
        """Return how many runs are done, failed and running, and how long the rest will take once one is done."""
        parts = [f"{self._title}: {self._done} of {self._total} {self._unit}s done", *self._others()]
        done, left = self._done - self._done_before, self._total - self._done
        if done and left and not self._ended.is_set():
            seconds = (time.monotonic() - self._began) / done * left
            parts.append(f"{tqdm.tqdm.format_interval(seconds)} left")
        return ", ".join(parts)
