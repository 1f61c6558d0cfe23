"""Live: one line and one small curve that change in place while a person looks on in a notebook."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping
from typing import Any

_SECONDS = 0.5  # between two drawings: more are not seen, and each takes a few hundredths of a second


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
        self._curves: list[tuple[list, list]] = []  # of the runs: steps and losses
        self._drawn = 0.0

    def say(self, headline: str, detail: str = "") -> None:
        """Change the line.

        Args:
            headline: What stands first, and stays while a run trains.
            detail: What stands behind it.
        """
        self.headline = headline
        self._show("; ".join(filter(None, [headline, detail])))

    def begin(self) -> None:
        """Begin the curve of a further run; those of the runs before stay, in grey."""
        self._curves.append(([], []))

    def follow(self, run: str, step: int, steps: int, loss: float, accuracy: float) -> None:
        """Show how far the present run is.

        Args:
            run: What it is called.
            step: The step, counted through all epochs.
            steps: Number of steps of the whole run.
            loss: The running loss.
            accuracy: The running accuracy.
        """
        if not self._watched:
            return
        for values, value in zip(self._curves[-1], (step, loss), strict=True):
            values.append(value)
        if time.monotonic() - self._drawn < _SECONDS and step < steps:
            return
        self.say(self.headline, f"{run}: step {step} of {steps}, loss {loss:.4f}, accuracy {accuracy:.4f}")
        self._draw(run)
        self._drawn = time.monotonic()

    def _show(self, line: str) -> None:
        if self._watched:
            self._line = _display(self._line, {"text/plain": line})

    def _draw(self, run: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.2, 1.5), layout="constrained")
        FigureCanvasAgg(figure)  # and not pyplot's, which would show the figure once more at the cell's end
        axis = figure.subplots()
        *before, (steps, losses) = self._curves
        for earlier in before:
            axis.plot(*earlier, color="#BBBBBB", linewidth=0.8)
        axis.plot(steps, losses, color="#0072B2", marker=".", markersize=3, linewidth=1.4)
        axis.set_xlabel("step", fontsize="x-small")
        axis.set_ylabel("running loss", fontsize="x-small")
        axis.set_title(run + "; runs before in grey" * bool(before), fontsize="x-small", loc="left")
        axis.tick_params(labelsize="x-small")
        axis.spines[["top", "right"]].set_visible(False)
        content = io.BytesIO()
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
