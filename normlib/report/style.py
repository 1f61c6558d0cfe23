"""How figures look: one style, the marks of orderings; and that figures say in words what they show."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import matplotlib.figure
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from normlib.analysis.statistics import order_orderings
from normlib.models.ordering import is_baseline

Look: TypeAlias = dict[str, Any]  # how something is drawn, in Matplotlib's words
_STYLE: Any = {  # what all figures share
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "grid.color": "#E6E6E6",
    "legend.fontsize": "small",
    "legend.frameon": False,
    "legend.title_fontsize": "small",
}
# Okabe and Ito's colours, which colour-blind readers can tell apart; hatches for those who print in grey.
_SOURCE_STYLES = {
    "bn/none": ("#0072B2", ""),
    "gn/none": ("#E69F00", "//"),
    "gn/bn": ("#009E73", ".."),
    "bn/gn": ("#CC79A7", "xx"),
}
_BASELINE_STYLE = ("#999999", "")
_OTHER_STYLES = [
    (colour, hatch)
    for hatches in (("--", "\\\\", "oo", "++"), ("||", "**", "//", "xx"))
    for colour, hatch in zip(("#56B4E9", "#D55E00", "#F0E442", "#BBBBBB"), hatches, strict=True)
]
# What tells lines apart without colour.
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_MOST_PANELS = 6  # described one by one
FEWEST_FOR_INTERVAL = 4  # runs: below, the runs themselves say more


@contextlib.contextmanager
def in_style() -> Iterator[None]:
    """Draw in the style that all figures share; it decorates the functions that draw.

    Unlike ``matplotlib.rc_context``, it leaves all other settings as they then are: a notebook's backend sets itself to
    be interactive when it first draws, and would else show no later figure.
    """
    before = {name: mpl.rcParams[name] for name in _STYLE}
    mpl.rcParams.update(_STYLE)
    try:
        yield
    finally:
        mpl.rcParams.update(before)


class Figure(matplotlib.figure.Figure):
    """A figure with an alternative text, which notebooks keep beside its picture.

    The text is made of what is drawn, so that both say the same (Web Content Accessibility Guidelines 2.2, success
    criterion 1.1.1).
    """

    shows = ""

    @property
    def alternative_text(self) -> str:
        """What the figure shows, its panels with their axes and categories, and its legend, as one line."""
        panels = [axis for axis in self.axes if axis.get_visible() and axis.axison]
        parts = [_panel(axis) for axis in panels[:_MOST_PANELS]]
        if len(panels) > _MOST_PANELS:
            parts.append(f"and {len(panels) - _MOST_PANELS} more panels")
        legends = [*self.legends, *(legend for axis in panels if (legend := axis.get_legend()))]
        entries = dict.fromkeys(text.get_text() for legend in legends for text in legend.get_texts())
        parts += [f"legend: {'; '.join(entries)}"] if entries else []
        return ". ".join([self.shows, *filter(None, parts)]).replace("\n", " ") + "."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> tuple[dict, dict]:
        """Return no picture, which is Matplotlib's to make, but the metadata beside it."""
        return {}, {"image/png": {"alt": self.alternative_text}}


class Drawn(NamedTuple):
    """A figure and its axes.

    As the last thing of a notebook's cell it shows nothing, since the figure is shown there anyway.
    """

    figure: Figure
    axes: Any

    def _ipython_display_(self) -> None:
        """Show nothing."""


def subplots(rows: int = 1, columns: int = 1, *, shows: str, **options: Any) -> tuple[Figure, Any]:
    """Make a figure and its axes, as Matplotlib does; its alternative text begins with what it shows, a phrase."""
    figure, axes = plt.subplots(rows, columns, FigureClass=Figure, **options)
    assert isinstance(figure, Figure)
    figure.shows = shows
    return figure, axes


def panels(count: int, columns: int, size: tuple[float, float], shows: str, **options: Any) -> tuple[Figure, Any]:
    """Make a figure of so many panels, at most ``columns`` beside each other, and return it and its axes ``[count]``.

    The size is that of a panel, in inches; what it shows and the options are as for ``subplots``.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    whole = (size[0] * columns, size[1] * rows)
    figure, axes = subplots(rows, columns, shows=shows, figsize=whole, squeeze=False, **options)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    return figure, axes.flatten()[:count]


def legend_below(figure: Figure, columns: int, **options: Any) -> None:
    """Draw one legend of all panels below them, each entry once."""
    handles: dict = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=columns, **options)


def name_rows(axis: Axes, names: Sequence[str], figure: str = "") -> None:
    """Write beside each row what it shows, the first one on top; if they are of a loss or an accuracy, draw a grid."""
    axis.set_yticks(range(len(names)), names, fontsize="small", parse_math=False)  # names may be a user's own
    axis.set_ylim(len(names) - 0.5, -0.6)
    axis.spines["left"].set_visible(False)
    if figure:
        axis.grid(axis="x")
        within_bounds(axis, figure, "x")


def whiskers(summary: pd.DataFrame, runs: str = "runs", ends: str = "") -> np.ndarray:
    """Return how far the interval of each mean reaches, in columns ``mean`` and ``high``; NaN below four runs."""
    reach = summary[f"high{ends}"] - summary[f"mean{ends}"]
    return reach.where(summary[f"{runs}{ends}"] >= FEWEST_FOR_INTERVAL).to_numpy(float)


def within_bounds(axis: Axes, figure: str, scale: str = "y") -> None:
    """End a scale, ``x`` or ``y``, where its figure ends: a loss at zero, an accuracy also at one; others nowhere."""
    low, high = axis.get_xlim() if scale == "x" else axis.get_ylim()
    if figure in ("loss", "accuracy"):
        axis.set(**{f"{scale}lim": (max(0.0, low), min(1.0, high) if figure == "accuracy" else high)})


def _panel(axis: Axes) -> str:
    parts = [" ".join(filter(None, (axis.get_title(loc=side) for side in ("left", "center", "right"))))]
    for name, scale in (("x axis", axis.xaxis), ("y axis", axis.yaxis)):
        label, ticks = scale.get_label_text(), [tick.get_text() for tick in scale.get_ticklabels()]
        # Names of categories, and not places on a scale.
        names = [tick for tick in ticks if any(map(str.isalpha, tick)) and "mathdefault" not in tick]
        if label or names:
            parts.append(": ".join(filter(None, [f"{name}, {label}" if label else name, ", ".join(names)])))
    return "; ".join(filter(None, parts))


def styles(orderings: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and hatch of each ordering, in the order in which orderings are shown everywhere."""
    others = [name for name in order_orderings(orderings) if name not in _SOURCE_STYLES and not is_baseline(name)]
    chosen = {name: _OTHER_STYLES[i % len(_OTHER_STYLES)] for i, name in enumerate(others)}
    chosen |= _SOURCE_STYLES
    return {name: chosen.get(name, _BASELINE_STYLE) for name in order_orderings(orderings)}


def line_styles(names: Sequence[str]) -> dict[str, Look]:
    """Return how the line of each ordering is drawn: colour, dashes and marker, the baseline in black."""
    return {
        name: {
            "color": "black" if is_baseline(name) else colour,
            "linestyle": _LINES[(i + i // len(_LINES)) % len(_LINES)],
            "marker": _MARKERS[i % len(_MARKERS)],
            "linewidth": 1.4,
            "markersize": 4.5,
        }
        for i, (name, (colour, _)) in enumerate(styles(names).items())
    }
