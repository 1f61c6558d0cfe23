"""Plot of a study that was run in two places: records of both sides in, figure and axes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.agreement import FIGURES, PLACE, agreement
from normlib.analysis.conditions import Varies
from normlib.analysis.statistics import MEASURES
from normlib.report.figures import Drawn, Figure, subplots

# Okabe and Ito's colours, and markers for those who do not tell colours apart; and where in its row a side stands.
_LOOKS = {"a": ("o", "#0072B2", -0.17), "b": ("s", "#D55E00", 0.17)}
_UNITS = {"loss": "cross-entropy, nats", "accuracy": "share of images"}


def plot_agreement(
    records_a: pd.DataFrame, records_b: pd.DataFrame, varies: Varies = (), measures: Sequence[str] = FIGURES
) -> tuple[Figure, np.ndarray]:
    """Draw the figures of two sides of a study beside each other: means over runs with their 95 % intervals.

    Args:
        records_a: One row a run, as ``load_records`` gives: side A.
        records_b: Side B.
        varies: What the study varies besides the ordering.
        measures: Columns to draw, one panel each, two beside each other.

    Returns:
        The figure and its axes ``[len(measures)]``; a row a condition and ordering that both sides have. Beside a row
        stands *differs* or *undecided* where it does not agree, see ``normlib.analysis.agreement``.

    Raises:
        RequestError: A measure that there is not, or runs of one side that must not be averaged.
    """
    figures = agreement(records_a, records_b, varies, measures)
    rows = figures[["condition", "ordering"]].drop_duplicates()
    columns = min(2, len(measures))
    panels = -(-len(measures) // columns)
    figure, axes = subplots(
        panels,
        columns,
        figsize=(5.5 * columns, panels * (1.1 + 0.42 * len(rows)) + 0.5),
        squeeze=False,
        sharey=True,
        layout="constrained",
        shows="One study run in two places: the means of both with their 95 % intervals, and which of them differ",
    )
    for axis, measure in zip(axes.flat, measures, strict=False):
        _draw_measure(axis, rows.merge(figures[figures["measure"] == measure], sort=False), measure)
    for axis in axes.flat[len(measures) :]:
        axis.set_visible(False)
    names = [": ".join(filter(None, row)) for row in rows.itertuples(index=False)]
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(rows)), names, fontsize="small", parse_math=False)
    axes[0, 0].set_ylim(len(rows) - 0.4, -0.6)
    for side, name in zip(_LOOKS, name_sides(records_a, records_b), strict=True):
        marker, colour, _ = _LOOKS[side]
        axes[0, 0].errorbar([], [], xerr=[], fmt=marker, color=colour, markersize=5, capsize=4, label=name)
    legend = {"title": "means over runs, with their 95 % intervals", "title_fontsize": "small", "fontsize": "small"}
    figure.legend(loc="outside lower center", ncols=1, frameon=False, **legend)
    return Drawn(figure, axes.flatten()[: len(measures)])


def name_sides(records_a: pd.DataFrame, records_b: pd.DataFrame) -> tuple[str, str]:
    """Return what both sides are called in a figure: A and B, and in which facts of their places they differ."""
    facts = [{name: ", ".join(sorted({*side[name].map(str)})) for name in PLACE} for side in (records_a, records_b)]
    apart = [name for name in PLACE if facts[0][name] != facts[1][name]] or ["stack"]
    told = (
        ", ".join(f"threads: {side[name]}" if name == "threads" else side[name] for name in apart) for side in facts
    )
    name_a, name_b = (f"{letter}: {name}" for letter, name in zip("AB", told, strict=True))
    return name_a, name_b


def _draw_measure(axis: Axes, figures: pd.DataFrame, measure: str) -> None:
    places = np.arange(len(figures))
    for side, (marker, colour, shift) in _LOOKS.items():
        means = figures[f"mean_{side}"].to_numpy(float)
        reach = np.nan_to_num(figures[f"high_{side}"].to_numpy(float) - means)  # of one run there is no interval
        axis.errorbar(means, places + shift, xerr=reach, fmt=marker, color=colour, markersize=5, capsize=4)
    for place, verdict in enumerate(figures["verdict"]):
        if verdict != "agrees":
            axis.text(1.02, place, verdict, va="center", fontsize="small", transform=axis.get_yaxis_transform())
    axis.set_title(MEASURES[measure], loc="left", fontsize="medium")
    axis.set_xlabel(_UNITS[measure.rsplit("_", maxsplit=1)[1]])
    axis.locator_params(axis="x", nbins=6)
    axis.grid(axis="x", color="#EEEEEE")
    axis.spines[["top", "right", "left"]].set_visible(False)
