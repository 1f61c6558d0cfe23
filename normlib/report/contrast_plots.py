"""Plots of declared contrasts, and of who wins where: records in, figure and axes out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from normlib.analysis.conditions import Varies, expand, label, split_records
from normlib.analysis.rankings import winners
from normlib.analysis.statistics import MEASURES
from normlib.analysis.verdicts import Contrast, estimate, paired_differences
from normlib.errors import checked
from normlib.models.ordering import is_baseline
from normlib.report.style import Drawn, Figure, styles, subplots


@checked
def plot_contrasts(
    records: pd.DataFrame, contrasts: Sequence[Contrast], measure: str, margin: float, varies: Varies = ()
) -> tuple[Figure, Axes]:
    """Draw each declared contrast: every pair a circle, the mean difference, its interval, and the margin as a band.

    Args:
        records: One row a run, as ``load_records`` gives.
        contrasts: The declared contrasts.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter.
        varies: What the study varies besides the ordering; each contrast has a row for each condition.

    Returns:
        The figure and its axes; a row a contrast and condition, contrasts together.
    """
    estimates = estimate(records, contrasts, measure, margin, varies)
    parts = split_records(records, varies)
    rows = [(contrast, row) for contrast in contrasts for _, row in estimates.loc[[contrast.name]].iterrows()]
    figure, axis = subplots(
        figsize=(9, 1.3 + 0.62 * len(rows)),
        layout="constrained",
        shows="Declared contrasts: mean differences with 95 % intervals, pairs as dots, verdicts in words",
    )
    axis.axvspan(-margin, margin, color="#E6E6E6", label=f"margin: differences that do not matter, ± {margin:g}")
    axis.axvline(0, color="black", linewidth=0.8)
    for place, (contrast, row) in enumerate(rows):
        part = parts.get(row["condition"], records.iloc[:0])
        _draw_contrast(axis, place, paired_differences(part, contrast, measure) if len(part) else pd.Series(), row)
    axis.scatter([], [], s=16, facecolor="white", edgecolor="#0072B2", label="one pair of runs")
    axis.errorbar(
        [], [], xerr=[], fmt="s", color="black", markersize=5, capsize=4, label="mean difference, 95 % interval"
    )
    told = [textwrap.fill(f"{row['condition'] or row['contrast']}: {row['verdict']}", 64) for _, row in rows]
    names = [f"{contrast.name}\n{text}" for (contrast, _), text in zip(rows, told, strict=True)]
    axis.set_yticks(range(len(rows)), names, fontsize="small", parse_math=False)  # names are the study's, not ours
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(f"difference in {MEASURES.get(measure, measure)}")
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize="small")
    return Drawn(figure, axis)


@checked
def plot_winners(records: pd.DataFrame, measure: str, varies: Varies) -> tuple[Figure, Axes]:
    """Draw a map of the conditions: which ordering has the best mean in each, and how far it is ahead.

    Args:
        records: One row a run, as ``load_records`` gives.
        measure: A column, such as ``train_loss``.
        varies: What the study varies besides the ordering. The last group runs across, all others down.

    Returns:
        The figure and its axes; a cell a condition, with the winner's colour and name, its lead over the next best
        with its 95 % interval, that over the baseline, and the number of seeds with which it comes first. Hatched: the
        interval holds zero, or there is none.
    """
    found = winners(records, measure, varies)
    across = expand(varies[-1:])
    down = expand(varies[:-1])
    look = styles(list(records["ordering"].unique()))
    figure, axis = subplots(
        figsize=(2 + 2.6 * len(across), 1.2 + 1.05 * len(down)),
        layout="constrained",
        shows="A map of the conditions: the ordering with the best mean in each, and how far it is ahead",
    )
    for y, outer in enumerate(down):
        for x, inner in enumerate(across):
            condition = label({**outer, **inner}, varies)
            if condition in found.index:
                _draw_cell(axis, x, y, found.loc[condition], look)
    axis.set_xticks(range(len(across)), [label(condition, varies[-1:]) for condition in across])
    axis.set_yticks(range(len(down)), [label(condition, varies[:-1]) for condition in down])
    axis.set(xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_title(
        f"Best mean {MEASURES.get(measure, measure)}, and its lead over the next best with 95 % interval\n"
        "(of orderings chosen after looking, not corrected); hatched: not clear of zero",
        fontsize="small",
    )
    return Drawn(figure, axis)


def _draw_contrast(axis: Axes, place: int, pairs: pd.Series, row: pd.Series) -> None:
    axis.scatter(
        pairs,
        np.full(len(pairs), place - 0.2),
        s=16,
        facecolor="white",
        edgecolor="#0072B2",
    )
    if np.isfinite(row["mean"]):
        axis.errorbar(
            row["mean"],
            place + 0.1,
            xerr=row["high"] - row["mean"],
            fmt="s",
            color="black",
            markersize=5,
            capsize=4,
        )


def _draw_cell(axis: Axes, x: int, y: int, winner: pd.Series, look: dict[str, tuple[str, str]]) -> None:
    clear = winner["low"] > 0
    axis.add_patch(
        Rectangle(
            (x - 0.48, y - 0.47),
            0.96,
            0.94,
            facecolor=look[winner["winner"]][0],
            alpha=0.45,
            hatch=None if clear else "//",
            edgecolor="white",
        )
    )
    interval = "" if math.isnan(winner["low"]) else f" [{winner['low']:.3f}, {winner['high']:.3f}]"
    lines = [f"{winner['lead']:.3f}{interval} ahead of", winner["rival"]]
    if not (is_baseline(winner["winner"]) or is_baseline(winner["rival"])) and not math.isnan(winner["baseline_lead"]):
        lines[1] += f", {winner['baseline_lead']:.3f} of {winner['baseline']}"
    lines.append(f"first with {winner['first']:.0f} of {winner['seeds']:.0f} seeds")
    axis.text(x, y - 0.24, winner["winner"], ha="center", va="center", weight="bold")
    axis.text(x, y + 0.16, "\n".join(lines), ha="center", va="center", fontsize="small")
