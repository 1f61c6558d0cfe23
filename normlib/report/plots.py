"""Figures of a study: bars, gap, places, training, and its figures beside a paper's."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.analysis.conditions import Varies, expand, label, split_records
from normlib.analysis.rankings import places
from normlib.analysis.statistics import (
    MEASURES,
    check_comparable,
    follows_source,
    half_width,
    order_orderings,
    summarize,
)
from normlib.analysis.verdicts import READING_COLUMNS
from normlib.errors import checked
from normlib.models.ordering import SOURCE_INSTANCES, find_baseline, has_batch_norm, is_baseline
from normlib.report.curves import examples_an_epoch, interval_means
from normlib.report.style import Drawn, Figure, styles, subplots
from normlib.runs.store import Record, load_original_stack, to_frame
from normlib.studies.study import Paper

_LONGEST_LABEL = 12  # characters below a bar; a line a slot where one is longer
_SLOTS = {
    "source_cnn": "after the first / the second convolution",
    "resnet20": "after the first / the second convolution of each block",
}


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
    long = max(map(len, bars.index)) > _LONGEST_LABEL
    axis.set_xticks(places, [name.replace("/", "/\n") if long else name for name in bars.index])
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
        runs: Records, as ``normlib.runs.store.read_records`` gives.
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
    look = styles([run.ordering for run in runs])
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
