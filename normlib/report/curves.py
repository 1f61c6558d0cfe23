"""Learning curves, of one instance's runs and of a whole study, as figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib import datasets
from normlib.analysis.conditions import Varies
from normlib.analysis.statistics import half_width, order_orderings, split_records
from normlib.datasets import parse_split
from normlib.errors import checked
from normlib.report.style import Drawn, Figure, in_style, legend_below, line_styles, panels, styles, subplots
from normlib.runs.store import Record, check_one_instance, to_frame
from normlib.studies.results import Results


def examples_an_epoch(record: Record) -> int:
    """Return the number of images that a run was fitted on.

    Of a file, which need not be where its records are, that is what its steps give: of the last one, up to
    ``batch_size - 1`` images too many.
    """
    settings = record.instance
    if datasets.is_file(settings["dataset"]):
        return max(record.curve["step"]) * settings["batch_size"]
    return len(parse_split(settings["fit_split"], datasets.DATASETS[settings["dataset"]].sizes))


def interval_means(record: Record) -> pd.DataFrame:
    """Turn the running figures of a run into means over the images between two points.

    Keras's running figure at a step is the mean over all images of the epoch so far, so it lags behind. With ``n``
    images and running figure ``r`` at two points, the images between them have the mean
    ``(n2 * r2 - n1 * r1) / (n2 - n1)``.

    Args:
        record: The run.

    Returns:
        One row a point: ``images``, those seen since the start of the run; ``loss`` and ``accuracy``, means over the
        images since the point before.
    """
    points, examples = pd.DataFrame(record.curve), examples_an_epoch(record)
    seen = np.minimum(points["step"] * record.instance["batch_size"], examples)
    before = seen.groupby(points["epoch"]).shift(fill_value=0)
    means = {"images": (points["epoch"] - 1) * examples + seen}
    for measure in ("loss", "accuracy"):
        running_sum = points[measure] * seen
        sum_before = running_sum.groupby(points["epoch"]).shift(fill_value=0)
        means[measure] = (running_sum - sum_before) / (seen - before)
    return pd.DataFrame(means)


@checked
@in_style()
def plot_learning_curves(records: Sequence[Record]) -> tuple[Figure, np.ndarray]:
    """Draw how loss and accuracy went while one instance was trained: a thin line a run, their mean thick.

    Args:
        records: Runs of one instance.

    Returns:
        The figure and its axes ``[2]``. Solid: means over the images since the point before. Dashed: the running
        figure, which Keras prints and the source reports; it averages over the epoch so far, so it lags behind.
    """
    check_one_instance(records)
    means = [interval_means(record) for record in records]
    colour = styles([records[0].ordering])[records[0].ordering][0]
    shows = "Learning curves of each run: the running figure and that of the latest images"
    figure, axes = subplots(1, 2, figsize=(9, 3.4), shows=shows)
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        running = np.mean([record.curve[measure] for record in records], axis=0)
        images = means[0]["images"]
        for run in means if len(means) > 1 else []:
            axis.plot(images, run[measure], color=colour, alpha=0.35, linewidth=0.8)
        mean = pd.concat([run[measure] for run in means], axis=1).mean(axis=1)
        axis.plot(images, mean, color=colour, linewidth=2, label="mean over the images since the last point")
        axis.plot(images, running, color="black", linestyle="--", label="running figure, as Keras prints it")
        axis.set(xlabel="training images seen", ylabel=f"training {measure}")
    axes[0].legend()
    return Drawn(figure, axes)


@checked
@in_style()
def plot_training(
    runs: Sequence[Record] | Results, varies: Varies = (), own: Sequence[str] = (), measure: str = "loss"
) -> tuple[Figure, np.ndarray]:
    """Draw learning curves: the mean over seeds of each ordering, and its 95 % interval as a band.

    Args:
        runs: Records, as ``normlib.read_records`` gives; or ``normlib.Results``, which know the next two.
        varies: What the study varies besides the ordering; a panel a condition.
        own: Settings that each ordering has its own values of, which may therefore differ.
        measure: ``loss`` or ``accuracy``, means over the images since the point before, while the weights change.

    Returns:
        The figure and its axes ``[conditions]``. The first point, of an untrained model, is left out.
    """
    if isinstance(runs, Results):
        parts, runs = runs.parts, runs.runs
    else:
        parts = split_records(to_frame(runs).assign(**dict.fromkeys(own, "each ordering's own value")), varies)
    by_key = {run.key: run for run in runs}
    shows = "Learning curves: the mean over seeds of each ordering with its 95 % interval as a band"
    figure, axes = panels(len(parts), 3, (7.5, 4.2) if len(parts) == 1 else (3.6, 2.9), shows, sharey=True)
    looks = line_styles([run.ordering for run in runs])
    for axis, (condition, part) in zip(axes, parts.items(), strict=True):
        for ordering in order_orderings(part["ordering"]):
            keys = part.loc[part["ordering"] == ordering, "key"]
            curves = [interval_means(by_key[key]).iloc[1:] for key in keys]
            _draw_curve(axis, curves, measure, label=ordering, **{**looks[ordering], "marker": None})
        axis.set_title(condition, fontsize="small")
        axis.set_xlabel("training images seen")
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel(f"training {measure}")
    legend_below(figure, columns=5)
    return Drawn(figure, axes)


def _draw_curve(axis: Axes, curves: list[pd.DataFrame], measure: str, **look: Any) -> None:
    values = np.stack([curve[measure] for curve in curves])
    images, mean = curves[0]["images"], values.mean(axis=0)
    axis.plot(images, mean, **look)
    if len(curves) > 1:
        with np.errstate(invalid="ignore"):  # an infinite loss has no spread
            reach = half_width(values.std(axis=0, ddof=1), len(curves))
        axis.fill_between(images, mean - reach, mean + reach, color=look["color"], alpha=0.15, linewidth=0)
