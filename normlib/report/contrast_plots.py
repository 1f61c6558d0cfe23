"""Figures of comparisons: declared contrasts, who wins where, the lottery of single seeds, one study in two places."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from normlib.analysis.agreement import compare_figures
from normlib.analysis.comparison import Columns, Comparison, as_comparison
from normlib.analysis.conditions import Varies, expand, label
from normlib.analysis.contrasts import Contrasts
from normlib.analysis.rankings import places
from normlib.errors import checked
from normlib.models.ordering import is_baseline
from normlib.report import style
from normlib.report.tables import provenance
from normlib.runs.measures import MAIN_MEASURES, MEASURES


@checked
@style.in_style()
def plot_contrasts(
    records: pd.DataFrame | Comparison,
    contrasts: Contrasts | None = None,
    measure: str | None = None,
    margin: float | None = None,
    varies: Columns | None = None,
    arm: str = "ordering",
    seed: str = "seed",
) -> tuple[style.Figure, Axes]:
    """Draw each declared contrast: every pair a circle, the mean difference, its interval, and the margin as a band.

    Args:
        records: One row a run, as ``load_records`` gives, or any table of scores; or ``normlib.Results``, which know
            all else.
        contrasts: The declared contrasts, as text by name: ``{"order": "bn/gn - gn/bn"}``.
        measure: A column, such as ``train_loss``.
        margin: The largest difference, either way, that does not matter.
        varies: What varies besides the ordering; each contrast has a row for each condition that it does not name.
        arm: The column that names what is compared.
        seed: The column by which runs are paired.

    Returns:
        The figure and its axes; a row a contrast and condition, contrasts together. Below four pairs there is no
        interval.
    """
    asked = {"contrasts": contrasts, "measure": measure, "margin": margin, "varies": varies}
    runs = as_comparison(records, arm, seed, **asked)
    estimates = runs.estimates
    shows = "mean differences, from four pairs on with 95 % intervals; pairs as dots; verdicts in words"
    figure, axis = style.subplots(figsize=(9, 1.3 + 0.62 * len(estimates)), shows=f"Declared contrasts: {shows}")
    label = f"margin: differences that do not matter, ± {runs.margin:g}"
    axis.axvspan(-runs.margin, runs.margin, color="#E6E6E6", label=label)
    axis.axvline(0, color="black", linewidth=0.8)
    circle = {"s": 16, "facecolor": "white", "edgecolor": "#0072B2"}
    later = circle | {"edgecolor": "#BBBBBB", "marker": "D"}
    for y, (pairs, (_, row)) in enumerate(zip(runs.differences, estimates.iterrows(), strict=True)):
        seeds = next((seeds for seeds in runs.looks if len(seeds) == row["look"]), pairs.index)
        for some, look in ((pairs[~pairs.index.isin(seeds)], later), (pairs[pairs.index.isin(seeds)], circle)):
            axis.scatter(some, np.full(len(some), y - 0.2), **look)
    reach = style.whiskers(estimates, "pairs")
    if estimates["mean"].notna().any():
        label = "mean difference" if np.isnan(reach).all() else "mean difference, 95 % interval"
        mean = {"fmt": "s", "color": "black", "markersize": 5, "capsize": 4, "label": label}
        axis.errorbar(estimates["mean"], np.arange(len(estimates)) + 0.1, xerr=reach, **mean)
    if estimates["pairs"].any():
        axis.scatter([], [], label="one pair of runs", **circle)
    if runs.looks and estimates["later_pairs"].any():
        axis.scatter([], [], label="a pair that came after the decision", **later)
    texts = [
        f"{row.verdict}: {name}\n{textwrap.fill(row.condition or row.contrast, 64)}"
        for name, row in estimates.iterrows()
    ]
    style.name_rows(axis, texts)
    said = f"difference in {runs.measure.phrase}"
    left, right = ("better", "worse") if runs.measure.lower_is_better else ("worse", "better")
    axis.set_xlabel(f"← first {left}      {said}      first {right} →" if runs.measure.figure else said)
    style.legend_below(figure, columns=3)
    return style.Drawn(figure, axis)


@checked
@style.in_style()
def plot_winners(
    records: pd.DataFrame | Comparison, measure: str | None = None, varies: Varies | None = None
) -> tuple[style.Figure, Axes]:
    """Draw a map of the conditions: which ordering has the best mean in each, and how far it is ahead.

    Args:
        records: One row a run, as ``load_records`` gives; or ``normlib.Results``, which know all else.
        measure: A column, such as ``train_loss``.
        varies: What the study varies besides the ordering. The last group runs across, all others down.

    Returns:
        The figure and its axes; a cell a condition, with the winner's colour and name, its lead over the next best
        with its 95 % interval, that over the baseline, and the number of seeds with which it comes first; below four
        pairs only the leads. Hatched: the interval holds zero, or there is none.
    """
    runs = as_comparison(records, measure=measure, varies=varies)
    across, down = expand(runs.varies[-1:]), expand(runs.varies[:-1])
    looks = style.styles(list(runs.records["ordering"].unique()))
    shows = "A map of the conditions: the ordering with the best mean in each, and how far it is ahead"
    figure, axis = style.subplots(figsize=(2 + 2.6 * len(across), 1.2 + 1.05 * len(down)), shows=shows)
    for y, outer in enumerate(down):
        for x, inner in enumerate(across):
            condition = label({**outer, **inner}, runs.varies)
            if condition in runs.winners.index:
                _draw_cell(axis, x, y, runs.winners.loc[condition], looks)
    axis.set_xticks(range(len(across)), [label(condition, runs.varies[-1:]) for condition in across])
    axis.set_yticks(range(len(down)), [label(condition, runs.varies[:-1]) for condition in down])
    axis.set(xlim=(-0.5, len(across) - 0.5), ylim=(len(down) - 0.5, -0.5))
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    title = (
        f"Best mean {runs.measure.phrase}, and its lead over the next best, from {style.FEWEST_FOR_INTERVAL} pairs on "
        "with\n95 % interval (of orderings chosen after looking, not corrected); hatched: not clear of zero"
    )
    axis.set_title(title, fontsize="small", loc="center")
    return style.Drawn(figure, axis)


def _draw_cell(axis: Axes, x: int, y: int, winner: pd.Series, looks: dict[str, tuple[str, str]]) -> None:
    enough = winner["pairs"] >= style.FEWEST_FOR_INTERVAL
    clear = enough and winner["low"] > 0
    look = style.Look(facecolor=looks[winner["winner"]][0], hatch=None if clear else "//", edgecolor="white")
    axis.add_patch(Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, alpha=0.45, **look))
    interval = f" [{winner['low']:.3f}, {winner['high']:.3f}]" if enough else ""
    lead = f"{winner['lead']:.3f}{interval} ahead of" if winner["pairs"] else "no pairs with"
    lines = ["exactly as good as" if winner["rival"] in winner["equals"] else lead, winner["rival"]]
    if not (is_baseline(winner["winner"]) or is_baseline(winner["rival"])) and not math.isnan(winner["baseline_lead"]):
        lines[1] += f", {winner['baseline_lead']:.3f} of {winner['baseline']}"
    if enough:
        lines.append(f"first with {winner['first']:.0f} of {winner['seeds']:.0f} seeds")
    axis.text(x, y - 0.24, winner["winner"], ha="center", va="center", weight="bold")
    axis.text(x, y + 0.16, "\n".join(lines), ha="center", va="center", fontsize="small")


@checked
@style.in_style()
def plot_places(records: pd.DataFrame | Comparison, measure: str | None = None) -> tuple[style.Figure, Axes]:
    """Draw the lottery of one run each: in which share of seeds each ordering took each place.

    Args:
        records: One row a run, as ``load_records`` gives, of one condition; or ``normlib.Results``.
        measure: A column, such as ``train_loss``.

    Returns:
        The figure and its axes; a row an ordering, the best mean on top, a column a place.
    """
    runs = as_comparison(records, measure=measure)
    shares = places(runs.records, runs.measure.column)
    size = len(shares)
    shows = "In which share of single seeds each ordering took each place"
    figure, axis = style.subplots(figsize=(2.2 + 0.75 * size, 1.3 + 0.42 * size), shows=shows)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1.4, aspect="auto")
    for y, row in enumerate(shares.to_numpy()):
        for x, share in enumerate(row):
            if share > 0:
                axis.text(x, y, f"{share:.0%}", ha="center", va="center", fontsize="small")
    axis.set_xticks(range(size), shares.columns)
    axis.set_yticks(range(size), shares.index)
    axis.tick_params(length=0)
    axis.set_xlabel("place")
    axis.set_title(f"Share of single seeds, by {runs.measure.phrase}")
    axis.spines[:].set_visible(False)
    return style.Drawn(figure, axis)


# Where in its row a side stands, and how it is drawn.
_SIDES: dict[str, tuple[float, style.Look]] = {
    "a": (-0.17, {"fmt": "o", "color": "#0072B2"}),
    "b": (0.17, {"fmt": "s", "color": "#D55E00"}),
}


@style.in_style()
def plot_agreement(
    a: Comparison, b: Comparison, measures: Sequence[str] = MAIN_MEASURES
) -> tuple[style.Figure, np.ndarray]:
    """Draw the figures of two sides of a study beside each other: means over runs with their 95 % intervals.

    Args:
        a: Side A.
        b: Side B, of the same study.
        measures: Columns to draw, one panel each, two beside each other.

    Returns:
        The figure and its axes ``[len(measures)]``; a row a condition and ordering that both sides have. Beside a row
        stands *differs* or *undecided* where it does not agree, see ``normlib.analysis.agreement``.
    """
    figures = compare_figures(a, b, measures)
    rows = figures[["condition", "ordering"]].drop_duplicates()
    shows = "One study run in two places: the means of both, from four runs on with 95 % intervals, and which differ"
    figure, axes = style.panels(len(measures), 2, (5.5, 1.5 + 0.42 * len(rows)), shows, sharey=True)
    for axis, measure in zip(axes, measures, strict=True):
        part = figures[figures["measure"] == measure].reset_index()
        for (letter, (shift, look)), side in zip(_SIDES.items(), (a, b), strict=True):
            facts = provenance(side.records)["value"]
            label = f"{letter.upper()}: {facts['stack']}; {facts['processor']}; threads: {facts['threads']}"
            look = {**look, "markersize": 5, "capsize": 4, "label": label}
            reach = style.whiskers(part, "runs", f"_{letter}")
            axis.errorbar(part[f"mean_{letter}"], part.index + shift, xerr=reach, **look)
        for y, verdict in enumerate(part["verdict"]):
            if verdict != "agrees":
                axis.text(1.02, y, verdict, va="center", fontsize="small", transform=axis.get_yaxis_transform())
        axis.set_title(MEASURES[measure].phrase)
        axis.set_xlabel(MEASURES[measure].unit)
        axis.locator_params(axis="x", nbins=6)
        names = [": ".join(filter(None, row)) for row in rows.itertuples(index=False)]
        style.name_rows(axis, names, MEASURES[measure].figure)
    style.legend_below(figure, columns=1, title="means over runs, from four on with 95 % intervals")
    return style.Drawn(figure, axes)
