"""Figures of measures: bars, the readings of runs, the moving-average gap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.comparison import Comparison, as_comparison
from normlib.analysis.conditions import Varies
from normlib.analysis.statistics import comparable_runs, follows_source, summarize
from normlib.errors import checked
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, has_batch_norm
from normlib.report import style
from normlib.runs.measures import MEASURES, READINGS
from normlib.runs.store import Record, check_one_instance, load_original_stack, to_frame

_LONGEST_LABEL = 12  # characters below a bar; a line a slot where one is longer
_SLOTS = {
    "source_cnn": "after the first / the second convolution",
    "resnet20": "after the first / the second convolution of each block",
}
_LOSSES = {reading: MEASURES["eval_loss"].in_reading(reading).column for reading in READINGS}


@checked
@style.in_style()
def plot_bars(
    records: pd.DataFrame | Comparison, measures: str | Sequence[str] | None = None
) -> tuple[style.Figure, np.ndarray]:
    """Draw a bar for each ordering: mean, every run, interval, the source's figure, the baseline across.

    Below four runs there is no interval. Beside the source's figure stands the spread of its own stack: twenty runs of
    its cells with TensorFlow 2.2.

    Args:
        records: One row a run, as ``load_records`` or ``compare`` gives; or ``normlib.Results``.
        measures: Columns to draw, one panel each; or the name of one. None: accuracy and loss, of the measure that
            ``Results``, or what ``compare`` gave, are about; of another table the running figures of training.

    Returns:
        The figure and its axes, an array ``[len(measures)]``. Accuracy axes are cut, and say so; others start at zero.

    Raises:
        RequestError: No runs, or runs that differ in more than ordering and seed.
    """
    asked = getattr(records, "measure", None) or "train_loss"  # what compare gives knows what it was asked
    own = MEASURES[asked] if isinstance(asked, str) else asked
    records = comparable_runs(records.records if isinstance(records, Comparison) else records)
    measures = [measures] if isinstance(measures, str) else measures or own.panels
    width = max(3.8, 0.95 * records["ordering"].nunique()) * len(measures)
    enough = records["ordering"].value_counts().max() >= style.FEWEST_FOR_INTERVAL
    shows = f"Bars: the mean of each ordering{' with its 95 % interval' if enough else ''} and every run as a dot"
    figure, axes = style.subplots(1, len(measures), figsize=(width, 4.4), squeeze=False, shows=shows)
    for axis, measure in zip(axes[0], measures, strict=True):
        _draw_bars(axis, records, measure)
    style.legend_below(figure, columns=min(2, len(measures)))
    return style.Drawn(figure, axes[0])


def _draw_bars(axis: Axes, records: pd.DataFrame, measure: str) -> None:
    summary = summarize(records, measure)
    bars, baseline = summary, find_baseline(summary.index)
    if baseline and len(summary) > 1:
        bars = summary.drop(index=baseline)
    _draw_means(axis, bars)
    _draw_runs(axis, records, measure, bars.index)
    if len(bars) < len(summary):
        label = f"mean without normalization ({baseline})"
        axis.axhline(summary.loc[baseline, "mean"], color="#444444", linestyle="--", linewidth=1.2, label=label)
    beside = _draw_source(axis, records, measure, bars.index)
    axis.set_xlabel(_SLOTS.get(records["model"].iloc[0], "what stands in the slots, in data-flow order"))
    known = MEASURES.get(measure)
    axis.set_title(known.phrase if known else measure)
    if known and known.figure == "accuracy":  # which lie close together, so the axis starts below the lowest
        reach = style.whiskers(summary)
        drawn = np.concatenate([records[measure], summary["mean"] - reach, summary["mean"] + reach, beside])
        low, high = np.nanmin(drawn), np.nanmax(drawn)
        margin = max(0.2 * (high - low), 0.002)
        start = max(0.0, np.floor((low - margin) * 100) / 100)
        axis.set_ylim(start, min(1.0, high + margin))
        axis.set_title(f"{known.phrase} (axis starts at {start:.2f})")


def _draw_means(axis: Axes, bars: pd.DataFrame) -> None:
    places, looks = np.arange(len(bars)), style.styles(list(bars.index))
    colours, hatches = zip(*(looks[name] for name in bars.index), strict=True)
    axis.bar(places, bars["mean"], width=0.7, color=colours, hatch=hatches, edgecolor="white")
    # Near the foot of the bar, where neither runs nor whiskers are.
    foot, box = axis.get_xaxis_transform(), style.Look(facecolor="white", edgecolor="none", pad=1.5)
    for place, mean in enumerate(bars["mean"]):
        axis.text(place, 0.06, f"{mean:.3f}", ha="center", transform=foot, fontsize="small", bbox=box)
    reach = style.whiskers(bars)
    if not np.isnan(reach).all():
        label = "bar and whisker: mean and its 95 % interval"
        look = style.Look(fmt="none", ecolor="black", capsize=5, linewidth=1.5, label=label)
        axis.errorbar(places, bars["mean"], yerr=reach, **look)
    long = max(map(len, bars.index)) > _LONGEST_LABEL
    axis.set_xticks(places, [name.replace("/", "/\n") if long else name for name in bars.index])
    axis.set_xlim(-0.5, len(bars) - 0.5)  # a diverged ordering has no bar, and its label needs a place


def _draw_runs(axis: Axes, records: pd.DataFrame, measure: str, orderings: Sequence[str]) -> None:
    look = style.Look(s=13, facecolor="white", edgecolor="black", linewidth=0.7, zorder=3)
    for place, ordering in enumerate(orderings):
        values = records.loc[records["ordering"] == ordering].sort_values("seed")[measure]
        spread = np.linspace(-0.28, 0.14, len(values)) if len(values) > 1 else np.zeros(1)
        axis.scatter(place + spread, values, label="one run" if place == 0 else None, **look)


def _draw_source(axis: Axes, records: pd.DataFrame, measure: str, orderings: Sequence[str]) -> list[float]:
    """Draw what the source printed, and the spread of its own stack; return the figures drawn.

    Nothing is drawn where the runs do not follow its protocol, or for a measure that it did not print.
    """
    known = MEASURES.get(measure)
    places = {place + 0.26: ordering for place, ordering in enumerate(orderings) if ordering in SOURCE_INSTANCES}
    if known is None or known.reading or not places or not follows_source(records):
        return []
    spread = load_original_stack().groupby("ordering")[known.figure].agg(["min", "max"]).loc[list(places.values())]
    label = "20 runs on the source's own stack: lowest to highest"
    axis.vlines(list(places), spread["min"], spread["max"], color="#555555", linewidth=5, alpha=0.5, label=label)
    printed = [getattr(SOURCE_INSTANCES[ordering], known.figure) for ordering in places.values()]
    look = style.Look(marker="D", s=46, facecolor="#FFD92F", edgecolor="black", zorder=4)
    axis.scatter(list(places), printed, label="the source's single run", **look)
    return [*printed, *spread["min"], *spread["max"]]


# Okabe and Ito's colours, as everywhere, and a marker each.
_READING_STYLES = {"inference": ("o", "#D55E00"), "debiased": ("^", "#0072B2"), "recalibrated": ("s", "#009E73")}


@checked
@style.in_style()
def plot_readings(records: Sequence[Record]) -> tuple[style.Figure, Axes]:
    """Draw the running training loss and the evaluation loss in each reading of one instance on one axis.

    Args:
        records: Runs of one instance.

    Returns:
        The figure and its axes: a row a figure, a circle a run, a bar at their mean.
    """
    check_one_instance(records)
    frame = to_frame(records)
    colour = style.styles([records[0].ordering])[records[0].ordering][0]
    rows = {"train_loss": MEASURES["train_loss"].phrase}
    rows |= {column: f"evaluation: {reading}" for reading, column in _LOSSES.items()}
    figure, axis = style.subplots(figsize=(8, 2.3), shows="The evaluation loss of each run in three readings")
    for place, column in enumerate(rows):
        look = {"color": "black" if column == "train_loss" else colour}
        axis.plot(frame[column], [place] * len(frame), "o", markersize=6, markerfacecolor="white", **look)
        axis.plot([frame[column].mean()] * 2, [place - 0.3, place + 0.3], linewidth=3, **look)
    style.name_rows(axis, list(rows.values()), "loss")
    axis.set_xlabel("loss (circle: one run; bar: mean)")
    return style.Drawn(figure, axis)


@checked
@style.in_style()
def plot_gap(records: pd.DataFrame | Comparison, varies: Varies | None = None) -> tuple[style.Figure, Axes]:
    """Draw the evaluation loss in each reading, and the baseline's beside it: the moving-average gap.

    Args:
        records: One row a run, as ``load_records`` gives; or ``normlib.Results``, which know what varies.
        varies: What the study varies besides the ordering.

    Returns:
        The figure and its axes; a row a condition and ordering. Means with Student's t intervals at 95 %, from four
        runs on.
    """
    runs = as_comparison(records, varies=varies)
    rows = runs.summary(_LOSSES["inference"]).index
    shows = "The evaluation loss of each ordering in three readings: means, from four runs on with 95 % intervals"
    figure, axis = style.subplots(figsize=(8.5, 1.3 + 0.5 * len(rows)), shows=shows)
    several = rows.get_level_values("ordering").map(has_batch_norm).to_numpy(bool)
    parts = [(several, shift, reading, *look, reading) for shift, (reading, look) in enumerate(_READING_STYLES.items())]
    parts.append((~several, 1, "inference", "o", "black", "no BatchNorm: one reading"))
    for shown, shift, reading, marker, colour, entry in parts:
        if shown.any():
            summary, heights = runs.summary(_LOSSES[reading])[shown], np.flatnonzero(shown) + 0.27 * (shift - 1)
            look = {"fmt": marker, "color": colour, "markersize": 5, "capsize": 3, "label": entry}
            axis.errorbar(summary["mean"], heights, xerr=style.whiskers(summary), **look)
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axis.axhline(y - 0.5, color="#DDDDDD", linewidth=0.8)
    style.name_rows(axis, [f"{condition}  {ordering}".strip() for condition, ordering in rows], "loss")
    axis.set_xlabel(MEASURES["eval_loss"].phrase)
    style.legend_below(figure, columns=4)
    return style.Drawn(figure, axis)
