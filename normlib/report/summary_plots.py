"""Plots of how runs went: places by single seeds, learning curves, and readings. Records in, figure and axes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.conditions import Varies, split_records
from normlib.analysis.gaps import READING_COLUMNS
from normlib.analysis.rankings import places
from normlib.analysis.statistics import MEASURES, half_width, order_orderings, summarize
from normlib.checks import checked
from normlib.models.ordering import has_batch_norm, is_baseline
from normlib.report.curves import examples_an_epoch, interval_means
from normlib.report.figures import Drawn, Figure, subplots
from normlib.report.plots import styles
from normlib.runs.records import Record, to_frame

_READING_LOOKS = {"inference": ("o", "#D55E00"), "debiased": ("^", "#0072B2"), "recalibrated": ("s", "#009E73")}
_ONE_READING = {"inference": ("o", "black")}
_LINES = ("-", "--", "-.", ":")


@checked
def plot_places(records: pd.DataFrame, measure: str) -> tuple[Figure, Axes]:
    """Draw the lottery of one run each: in which share of seeds each ordering took each place.

    Args:
        records: One row a run, as ``load_records`` gives, of one condition.
        measure: A column, such as ``train_loss``.

    Returns:
        The figure and its axes; a row an ordering, the best mean on top, a column a place.
    """
    shares = places(records, measure)
    size = len(shares)
    figure, axis = subplots(
        figsize=(2.2 + 0.75 * size, 1.3 + 0.42 * size),
        layout="constrained",
        shows="In which share of single seeds each ordering took each place",
    )
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for y, row in enumerate(shares.to_numpy()):
        for x, share in enumerate(row):
            if share > 0:
                axis.text(x, y, f"{share:.0%}", ha="center", va="center", fontsize="small")
    axis.set_xticks(range(size), shares.columns)
    axis.set_yticks(range(size), shares.index)
    axis.tick_params(length=0)
    axis.set_xlabel("place")
    axis.set_title(f"Share of single seeds, by {MEASURES.get(measure, measure)}", loc="left", fontsize="medium")
    axis.spines[:].set_visible(False)
    return Drawn(figure, axis)


@checked
def plot_training(
    runs: Sequence[Record], varies: Varies = (), own: Sequence[str] = (), measure: str = "loss"
) -> tuple[Figure, np.ndarray]:
    """Draw learning curves: the mean over seeds of each ordering, and its 95 % interval as a band.

    Args:
        runs: Records, as ``normlib.runs.records.read_records`` gives.
        varies: What the study varies besides the ordering; a panel a condition.
        own: Settings that each ordering has its own values of, which may therefore differ.
        measure: ``loss`` or ``accuracy``, means over the images since the point before, while the weights change.

    Returns:
        The figure and its axes ``[conditions]``. The first point, of an untrained model, is left out.
    """
    records = to_frame(runs)
    parts = split_records(records.assign(**dict.fromkeys(own, "each ordering's own value")), varies)
    by_key = {run.key: run for run in runs}
    columns = min(3, len(parts))
    rows = -(-len(parts) // columns)
    size = (7.5, 4.2) if len(parts) == 1 else (3.6 * columns, 2.9 * rows)
    figure, axes = subplots(
        rows,
        columns,
        figsize=size,
        squeeze=False,
        sharey=True,
        layout="constrained",
        shows="Learning curves: the mean over seeds of each ordering with its 95 % interval as a band",
    )
    look = styles([run.instance["ordering"] for run in runs])
    lines = {ordering: _LINES[(i + i // len(_LINES)) % len(_LINES)] for i, ordering in enumerate(look)}
    handles: dict = {}
    for axis, (condition, part) in zip(axes.flat, parts.items(), strict=False):
        for ordering in order_orderings(part["ordering"]):
            curves = [_curve(by_key[key]) for key in part.loc[part["ordering"] == ordering, "key"]]
            _draw_curve(axis, curves, measure, ordering, look[ordering][0], lines[ordering])
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
        axis.set_title(condition, fontsize="small", loc="left")
        axis.set_xlabel("training images seen")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"training {measure}")
    for axis in axes.flat[len(parts) :]:
        axis.set_visible(False)
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, frameon=False, fontsize="small")
    return Drawn(figure, axes.flatten()[: len(parts)])


@checked
def plot_gap(records: pd.DataFrame, varies: Varies = ()) -> tuple[Figure, Axes]:
    """Draw the evaluation loss in each reading, and the baseline's beside it: the moving-average gap.

    Args:
        records: One row a run, as ``load_records`` gives.
        varies: What the study varies besides the ordering.

    Returns:
        The figure and its axes; a row a condition and ordering. Means with Student's t intervals at 95 %.
    """
    rows = []
    for condition, part in split_records(records, varies).items():
        summaries = {name: summarize(part, f"{column}_loss") for name, column in READING_COLUMNS.items()}
        rows += [(condition, name, summaries) for name in order_orderings(part["ordering"])]
    figure, axis = subplots(
        figsize=(8.5, 1.3 + 0.36 * len(rows)),
        layout="constrained",
        shows="The evaluation loss of each ordering in three readings: means with 95 % intervals",
    )
    for y, (_, ordering, summaries) in enumerate(rows):
        looks = _READING_LOOKS if has_batch_norm(ordering) else _ONE_READING
        for (reading, (marker, colour)), shift in zip(
            looks.items(), (-0.2, 0, 0.2) if len(looks) > 1 else (0,), strict=True
        ):
            row = summaries[reading].loc[ordering]
            reach = np.nan_to_num(row["high"] - row["mean"])
            axis.errorbar(row["mean"], y + shift, xerr=reach, fmt=marker, color=colour, capsize=3)
    for reading, (marker, colour) in _READING_LOOKS.items():
        axis.plot([], [], marker, color=colour, label=reading)
    axis.plot([], [], "o", color="black", label="no BatchNorm: one reading")
    axis.set_yticks(range(len(rows)), [f"{condition}  {name}".strip() for condition, name, _ in rows], fontsize="small")
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axis.axhline(y - 0.5, color="#DDDDDD", linewidth=0.8)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(MEASURES["eval_loss"])
    axis.grid(axis="x", color="#EEEEEE")
    axis.spines[["top", "right", "left"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return Drawn(figure, axis)


def _curve(run: Record) -> pd.DataFrame:
    return interval_means(run.curve, run.instance["batch_size"], examples_an_epoch(run)).iloc[1:]


def _draw_curve(axis: Axes, curves: list[pd.DataFrame], measure: str, ordering: str, colour: str, line: str) -> None:
    values = np.stack([curve[measure] for curve in curves])
    images, mean = curves[0]["images"], values.mean(axis=0)
    dark = "black" if is_baseline(ordering) else colour
    axis.plot(images, mean, color=dark, linestyle=line, linewidth=1.6, label=ordering)
    if len(curves) > 1:
        with np.errstate(invalid="ignore"):  # an infinite loss has no spread
            reach = half_width(values.std(axis=0, ddof=1), len(curves))
        axis.fill_between(images, mean - reach, mean + reach, color=dark, alpha=0.15, linewidth=0)
