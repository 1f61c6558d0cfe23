"""What a study found beside what a paper reports, in one small picture: records in, figure and axes out."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.conditions import Varies, expand, label, split_records
from normlib.analysis.statistics import MEASURES, order_orderings, summarize
from normlib.checks import checked
from normlib.models.ordering import is_baseline
from normlib.report.figures import Drawn, Figure, subplots
from normlib.report.plots import styles
from normlib.studies.papers import Paper

_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


@checked
def plot_beside_paper(records: pd.DataFrame, measure: str, varies: Varies, paper: Paper) -> tuple[Figure, np.ndarray]:
    """Draw a measure along the setting that a paper's figure goes along, and the paper's figure beside it.

    Args:
        records: One row a run, as ``load_records`` gives.
        measure: A column, such as ``eval_accuracy``, which is drawn as the error in percent.
        varies: What the study varies: one group of settings.
        paper: What the paper reports.

    Returns:
        The figure and its axes ``[2]``: the study's means with Student's t intervals at 95 %, and the paper's numbers.
    """
    figure, axes = subplots(
        1,
        2,
        figsize=(8.2, 3.6),
        layout="constrained",
        shows="The runs along the setting that varies, and the figures of a paper beside them",
    )
    look = _look([*records["ordering"], *paper.lines])
    _draw_study(axes[0], records, measure, varies, paper.against, look)
    for ordering, line in paper.lines.items():
        values = list(line)
        axes[1].plot([_place(v) for v in values], list(line.values()), label=ordering, **look[ordering])
    _label(axes[1], paper.against, sorted({value for line in paper.lines.values() for value in line}))
    axes[1].set_title(textwrap.fill(paper.reports, 48), fontsize="small", loc="left")
    axes[1].set_ylabel("error, %")
    handles: dict = {}
    for axis in axes[::-1]:  # those with intervals take the place of those without
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, frameon=False)
    return Drawn(figure, axes)


def _draw_study(axis: Axes, records: pd.DataFrame, measure: str, varies: Varies, against: str, look: dict) -> None:
    parts = split_records(records, varies)
    values = {label(condition, varies): condition[against] for condition in expand(varies)}
    error = measure.endswith("accuracy")
    orderings = order_orderings(records["ordering"])
    summaries = {values[name]: summarize(part, measure) for name, part in parts.items()}
    for number, ordering in enumerate(orderings):
        rows = {value: summary.loc[ordering] for value, summary in summaries.items() if ordering in summary.index}
        means = np.array([100 * (1 - row["mean"]) if error else row["mean"] for row in rows.values()])
        reach = np.array([(100 if error else 1) * (row["high"] - row["mean"]) for row in rows.values()])
        # Beside each other, so that intervals of the same value can be told apart.
        places = [_place(value) + 0.05 * (number - (len(orderings) - 1) / 2) for value in rows]
        axis.errorbar(places, means, np.nan_to_num(reach), label=ordering, capsize=3, **look[ordering])
    _label(axis, against, sorted(values.values()))
    named = MEASURES[measure].replace("accuracy", "error")
    axis.set_title(f"here: {named}, mean and 95 % interval", fontsize="small", loc="left")
    axis.set_ylabel(f"{named.split(',')[0]}, %" if error else named)


def _look(orderings: list[str]) -> dict[str, dict]:
    """Return how each ordering is drawn: with a colour and, for those who do not tell it, a marker of its own."""
    return {
        ordering: {
            "color": "black" if is_baseline(ordering) else colour,
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": "--" if is_baseline(ordering) else "-",
            "markersize": 5,
            "linewidth": 1.3,
        }
        for number, (ordering, (colour, _)) in enumerate(styles(orderings).items())
    }


def _place(value: float) -> float:
    """Return where a value stands: batch sizes and numbers of groups are usually doubled from one to the next."""
    return float(np.log2(value))


def _label(axis: Axes, against: str, values: list[float]) -> None:
    axis.set_xticks([_place(value) for value in values], [f"{value:g}" for value in values])
    axis.set_xlabel(f"{against.replace('_', ' ')} (log scale)")
    axis.grid(axis="y", color="#EEEEEE")
    axis.spines[["top", "right"]].set_visible(False)
