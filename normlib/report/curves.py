"""Learning curves, of one instance's runs and of a whole study, as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib import datasets
from normlib.analysis.conditions import Varies
from normlib.analysis.statistics import half_width, order_orderings, split_records
from normlib.errors import checked
from normlib.models.ordering import find_baseline
from normlib.report import style
from normlib.runs.store import Record, check_one_instance, to_frame
from normlib.studies.results import Results

_MOST_CURVES = 5  # drawn as they are


def interval_means(record: Record) -> pd.DataFrame:
    """Turn the running figures of a run into means over the images between two points.

    Keras's running figure at a step is the mean over all images of the epoch so far, so it lags behind. With ``n``
    images and running figure ``r`` at two points, the images between them have the mean
    ``(n2 * r2 - n1 * r1) / (n2 - n1)``.

    Args:
        record: The run. Of a file, which need not be where its records are, its steps give the images of an epoch: of
            the last one, up to ``batch_size - 1`` images too many.

    Returns:
        One row a point: ``images``, those seen since the start of the run; ``loss`` and ``accuracy``, means over the
        images since the point before.
    """
    points, settings = pd.DataFrame(record.curve), record.instance
    seen = points["step"] * settings["batch_size"]
    examples = seen.max()
    if not datasets.is_file(settings["dataset"]):
        examples = len(datasets.parse_split(settings["fit_split"], datasets.DATASETS[settings["dataset"]].sizes))
        seen = np.minimum(seen, examples)
    before = seen.groupby(points["epoch"]).shift(fill_value=0)
    means = {"images": (points["epoch"] - 1) * examples + seen}
    for measure in ("loss", "accuracy"):
        running_sum = points[measure] * seen
        sum_before = running_sum.groupby(points["epoch"]).shift(fill_value=0)
        means[measure] = (running_sum - sum_before) / (seen - before)
    return pd.DataFrame(means)


@checked
@style.in_style()
def plot_learning_curves(records: Sequence[Record]) -> tuple[style.Figure, np.ndarray]:
    """Draw how loss and accuracy went while one instance was trained: a thin line a run, their mean thick.

    Args:
        records: Runs of one instance.

    Returns:
        The figure and its axes ``[2]``. Solid: means over the images since the point before. Dashed: the running
        figure, which Keras prints and the source reports; it averages over the epoch so far, so it lags behind.
    """
    check_one_instance(records)
    means = [interval_means(record) for record in records]
    colour = style.styles([records[0].ordering])[records[0].ordering][0]
    shows = "Learning curves of each run: the running figure and that of the latest images"
    figure, axes = style.subplots(1, 2, figsize=(9, 3.4), shows=shows)
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        running = np.mean([record.curve[measure] for record in records], axis=0)
        images = means[0]["images"]
        for run in means if len(means) > 1 else []:
            axis.plot(images, run[measure], color=colour, alpha=0.35, linewidth=0.8)
        mean = pd.concat([run[measure] for run in means], axis=1).mean(axis=1)
        axis.plot(images, mean, color=colour, linewidth=2, label="mean over the images since the last point")
        axis.plot(images, running, color="black", linestyle="--", label="running figure, as Keras prints it")
        axis.set(xlabel="training images seen", ylabel=f"training {measure}")
        style.within_bounds(axis, measure)
    axes[0].legend()
    return style.Drawn(figure, axes)


@checked
@style.in_style()
def plot_training(
    runs: Sequence[Record] | Results, varies: Varies = (), own: Sequence[str] = (), measure: str = "loss"
) -> tuple[style.Figure, np.ndarray]:
    """Draw learning curves: the mean over seeds of each ordering, and its 95 % interval as a band.

    Curves of many orderings lie on each other. Of more than five, what is drawn is each one's difference from the
    baseline, pair by pair, where that was run, without bands.

    Args:
        runs: Records, as ``normlib.read_records`` gives; or ``normlib.Results``, which know the next two.
        varies: What the study varies besides the ordering; a panel a condition.
        own: Settings that each ordering has its own values of, which may therefore differ.
        measure: ``loss`` or ``accuracy``, means over the images since the point before, while the weights change.

    Returns:
        The figure and its axes ``[conditions]``. The first point, of an untrained model, is left out. Below four runs
        there is no band.
    """
    if isinstance(runs, Results):
        parts, runs = runs.parts, runs.runs
    else:
        parts = split_records(to_frame(runs).assign(**dict.fromkeys(own, "each ordering's own value")), varies)
    by_key = {run.key: run for run in runs}
    drawn = {condition: _curves(part, by_key, measure) for condition, part in parts.items()}
    baseline = find_baseline(run.ordering for run in runs)
    many = any(len(curves) > _MOST_CURVES for curves in drawn.values())
    apart = baseline if many and all(baseline in curves for curves in drawn.values()) else None
    shows = "'s difference from the baseline" if apart else ", from four runs on with its 95 % interval as a band"
    shows = f"Learning curves: the mean over seeds of each ordering{shows}"
    figure, axes = style.panels(len(parts), 3, (7.5, 4.2) if len(parts) == 1 else (3.6, 2.9), shows, sharey=True)
    looks = style.line_styles([run.ordering for run in runs])
    for axis, (condition, curves) in zip(axes, drawn.items(), strict=True):
        for ordering, curve in curves.items():
            if apart:  # by the seeds and numbers of images that both have
                ours, others = curve.align(curves[apart], join="inner")
                curve = ours - others
            _draw_curve(axis, curve, apart is None, **{**looks[ordering], "label": ordering, "marker": None})
        axis.set_title(condition, fontsize="small")
        axis.set_xlabel("training images seen")
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel(f"training {measure}" + (f", minus that of {apart}" if apart else ""))
    if not apart:
        style.within_bounds(axes[0], measure)
    style.legend_below(figure, columns=5)
    return style.Drawn(figure, axes)


def _curves(part: pd.DataFrame, by_key: Mapping[str, Record], measure: str) -> dict[str, pd.DataFrame]:
    """Return the curves of each ordering: images seen down, seeds across; without the first point."""
    curves: dict[str, dict[int, pd.Series]] = {ordering: {} for ordering in order_orderings(part["ordering"])}
    for ordering, seed, key in part[["ordering", "seed", "key"]].itertuples(index=False):
        curves[ordering][seed] = interval_means(by_key[key]).iloc[1:].set_index("images")[measure]
    return {ordering: pd.DataFrame(seeds) for ordering, seeds in curves.items()}


def _draw_curve(axis: Axes, curve: pd.DataFrame, band: bool, **look: Any) -> None:
    mean, runs = curve.mean(axis=1, skipna=False), len(curve.columns)
    axis.plot(mean.index, mean, **look)
    if band and runs >= style.FEWEST_FOR_INTERVAL:
        with np.errstate(invalid="ignore"):  # an infinite loss has no spread
            reach = half_width(curve.std(axis=1, skipna=False), runs)
        axis.fill_between(mean.index, mean - reach, mean + reach, color=look["color"], alpha=0.15, linewidth=0)
