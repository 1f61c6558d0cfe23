"""Plots of the runs of several orderings: records in, figure and axes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.statistics import MEASURES, check_comparable, follows_source, order_orderings, summarize
from normlib.checks import checked
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, is_baseline
from normlib.report.figures import Drawn, Figure, subplots
from normlib.runs.records import load_original_stack

# Okabe and Ito's colours, which colour-blind readers can tell apart; hatches for those who print in grey.
_SOURCE_STYLES = {
    "bn/none": ("#0072B2", ""),
    "gn/none": ("#E69F00", "//"),
    "gn/bn": ("#009E73", ".."),
    "bn/gn": ("#CC79A7", "xx"),
}
_SLOTS = {
    "source_cnn": "after the first / the second convolution",
    "resnet20": "after the first / the second convolution of each block",
}
_BASELINE_STYLE = ("#999999", "")
_OTHER_STYLES = [
    (colour, hatch)
    for hatches in (("--", "\\\\", "oo", "++"), ("||", "**", "//", "xx"))
    for colour, hatch in zip(("#56B4E9", "#D55E00", "#F0E442", "#BBBBBB"), hatches, strict=True)
]


def styles(orderings: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return colour and hatch of each ordering, in the order in which orderings are shown everywhere."""
    others = [name for name in order_orderings(orderings) if name not in _SOURCE_STYLES and not is_baseline(name)]
    chosen = {name: _OTHER_STYLES[i % len(_OTHER_STYLES)] for i, name in enumerate(others)}
    chosen |= _SOURCE_STYLES
    return {name: chosen.get(name, _BASELINE_STYLE) for name in order_orderings(orderings)}


@checked
def plot_bars(
    records: pd.DataFrame, measures: str | Sequence[str] = ("train_accuracy", "train_loss")
) -> tuple[Figure, np.ndarray]:
    """Draw a bar for each ordering: mean, every run, interval, the source's figure, the baseline across.

    Beside the source's figure stands the spread of its own stack: twenty runs of its cells with TensorFlow 2.2.

    Args:
        records: One row a run, as ``load_records`` or ``compare`` gives.
        measures: Columns to draw, one panel each; or the name of one.

    Returns:
        The figure and its axes, an array ``[len(measures)]``. Accuracy axes are cut, and say so; others start at zero.

    Raises:
        RequestError: No runs, or runs that differ in more than ordering and seed.
    """
    check_comparable(records)
    measures = [measures] if isinstance(measures, str) else measures
    width = max(3.8, 0.95 * records["ordering"].nunique()) * len(measures)
    figure, axes = subplots(
        1,
        len(measures),
        figsize=(width, 4.4),
        squeeze=False,
        layout="constrained",
        shows="Bars: the mean of each ordering with its 95 % interval and every run as a dot",
    )
    for axis, measure in zip(axes[0], measures, strict=True):
        _draw_bars(axis, records, measure)
    handles: dict = {}
    for axis in axes[0]:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return Drawn(figure, axes[0])


def _draw_bars(axis: Axes, records: pd.DataFrame, measure: str) -> None:
    summary = summarize(records, measure)
    baseline = find_baseline(summary.index)
    bars = summary.drop(index=baseline) if len(summary) > 1 and baseline else summary
    _draw_means(axis, bars)
    _draw_runs(axis, records, measure, bars.index)
    if len(bars) < len(summary):
        label = f"mean without normalization ({baseline})"
        axis.axhline(summary.loc[baseline, "mean"], color="#444444", linestyle="--", linewidth=1.2, label=label)
    beside = _draw_source(axis, records, measure, bars.index)
    axis.set_xlabel(_SLOTS.get(records["model"].iloc[0], "what stands in the slots, in data-flow order"))
    axis.set_title(MEASURES.get(measure, measure), loc="left", fontsize="medium")
    axis.spines[["top", "right"]].set_visible(False)
    if measure.endswith("accuracy"):
        drawn = [records[measure], summary["low"], summary["high"], beside]
        _cut_axis(axis, np.concatenate(drawn))


def _draw_means(axis: Axes, bars: pd.DataFrame) -> None:
    look = styles(list(bars.index))
    places = np.arange(len(bars))
    axis.bar(
        places,
        bars["mean"],
        width=0.7,
        color=[look[name][0] for name in bars.index],
        hatch=[look[name][1] for name in bars.index],
        edgecolor="white",
    )
    for place, mean in enumerate(bars["mean"]):
        # Near the foot of the bar, where neither runs nor whiskers are.
        axis.text(
            place, 0.06, f"{mean:.3f}", ha="center", transform=axis.get_xaxis_transform(), fontsize="small",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    axis.errorbar(
        places,
        bars["mean"],
        yerr=(bars["high"] - bars["mean"]).fillna(0),
        fmt="none",
        ecolor="black",
        capsize=5,
        linewidth=1.5,
        label="bar and whisker: mean and its 95 % interval",
    )
    axis.set_xticks(places, bars.index)
    axis.set_xlim(-0.5, len(bars) - 0.5)  # a diverged ordering has no bar, and its label needs a place


def _draw_runs(axis: Axes, records: pd.DataFrame, measure: str, orderings: Sequence[str]) -> None:
    for place, ordering in enumerate(orderings):
        values = records.loc[records["ordering"] == ordering].sort_values("seed")[measure]
        spread = np.linspace(-0.28, 0.14, len(values)) if len(values) > 1 else [0.0]
        axis.scatter(
            place + np.asarray(spread),
            values,
            s=13,
            facecolor="white",
            edgecolor="black",
            linewidth=0.7,
            zorder=3,
            label="one run" if place == 0 else None,
        )


def _draw_source(axis: Axes, records: pd.DataFrame, measure: str, orderings: Sequence[str]) -> list[float]:
    """Draw what the source printed, and the spread of its own stack; return the figures drawn.

    Nothing is drawn where the runs do not follow its protocol, or for a measure that it did not print.
    """
    figure = {"train_loss": "loss", "train_accuracy": "accuracy"}.get(measure)
    places = {place + 0.26: ordering for place, ordering in enumerate(orderings) if ordering in SOURCE_INSTANCES}
    if figure is None or not places or not follows_source(records):
        return []
    spread = load_original_stack().groupby("ordering")[figure].agg(["min", "max"]).loc[list(places.values())]
    label = "20 runs on the source's own stack: lowest to highest"
    axis.vlines(list(places), spread["min"], spread["max"], color="#555555", linewidth=5, alpha=0.5, label=label)
    printed = [getattr(SOURCE_INSTANCES[ordering], figure) for ordering in places.values()]
    axis.scatter(
        list(places),
        printed,
        marker="D",
        s=46,
        facecolor="#FFD92F",
        edgecolor="black",
        zorder=4,
        label="the source's single run",
    )
    return [*printed, *spread["min"], *spread["max"]]


def _cut_axis(axis: Axes, values: np.ndarray) -> None:
    """Start the axis of accuracies, which lie close together, below the lowest value, and say so."""
    low, high = np.nanmin(values), np.nanmax(values)
    margin = max(0.2 * (high - low), 0.002)
    start = max(0.0, np.floor((low - margin) * 100) / 100)
    axis.set_ylim(start, min(1.0, high + margin))
    axis.set_title(f"{axis.get_title(loc='left')} (axis starts at {start:.2f})", loc="left", fontsize="medium")
