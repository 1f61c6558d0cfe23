"""Learning curves, and the readings of runs, as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib import datasets
from normlib.datasets import parse_split
from normlib.errors import checked
from normlib.report.style import Drawn, Figure, styles, subplots
from normlib.runs.store import Record


def examples_an_epoch(record: Record) -> int:
    """Return the number of images that a run was fitted on.

    Of a file, which need not be where its records are, that is what its steps give: of the last one, up to
    ``batch_size - 1`` images too many.
    """
    settings = record.instance
    if datasets.is_file(settings["dataset"]):
        return max(record.curve["step"]) * settings["batch_size"]
    return len(parse_split(settings["fit_split"], datasets.DATASETS[settings["dataset"]].sizes))


def interval_means(curve: dict[str, list[float]], batch_size: int, examples: int) -> pd.DataFrame:
    """Turn the running figures of a run into means over the images between two points.

    Keras's running figure at a step is the mean over all images of the epoch so far, so it lags behind. With ``n``
    images and running figure ``r`` at two points, the images between them have the mean
    ``(n2 * r2 - n1 * r1) / (n2 - n1)``.

    Args:
        curve: A record's ``curve``.
        batch_size: Images a step.
        examples: Images an epoch; the last step may have fewer than ``batch_size``.

    Returns:
        One row a point: ``images``, those seen since the start of the run; ``loss`` and ``accuracy``, means over the
        images since the point before.
    """
    points = pd.DataFrame(curve)
    seen = np.minimum(points["step"] * batch_size, examples)
    before = seen.groupby(points["epoch"]).shift(fill_value=0)
    means = {"images": (points["epoch"] - 1) * examples + seen}
    for measure in ("loss", "accuracy"):
        running_sum = points[measure] * seen
        sum_before = running_sum.groupby(points["epoch"]).shift(fill_value=0)
        means[measure] = (running_sum - sum_before) / (seen - before)
    return pd.DataFrame(means)


@checked
def plot_learning_curves(records: Sequence[Record]) -> tuple[Figure, np.ndarray]:
    """Draw how loss and accuracy went while one instance was trained: a thin line a run, their mean thick.

    Args:
        records: Runs of one instance.

    Returns:
        The figure and its axes ``[2]``. Solid: means over the images since the point before. Dashed: the running
        figure, which Keras prints and the source reports; it averages over the epoch so far, so it lags behind.
    """
    batch_size, ordering = (records[0].instance[name] for name in ("batch_size", "ordering"))
    means = [interval_means(record.curve, batch_size, examples_an_epoch(record)) for record in records]
    colour = styles([ordering])[ordering][0]
    figure, axes = subplots(
        1,
        2,
        figsize=(9, 3.4),
        layout="constrained",
        shows="Learning curves of each run: the running figure and that of the latest images",
    )
    for axis, measure in zip(axes, ("loss", "accuracy"), strict=True):
        running = np.mean([record.curve[measure] for record in records], axis=0)
        images = means[0]["images"]
        for run in means if len(means) > 1 else []:
            axis.plot(images, run[measure], color=colour, alpha=0.35, linewidth=0.8)
        mean = pd.concat([run[measure] for run in means], axis=1).mean(axis=1)
        axis.plot(images, mean, color=colour, linewidth=2, label="mean over the images since the last point")
        axis.plot(images, running, color="black", linestyle="--", label="running figure, as Keras prints it")
        axis.set_xlabel("training images seen")
        axis.set_ylabel(f"training {measure}")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize="small")
    return Drawn(figure, axes)


@checked
def plot_readings(records: Sequence[Record]) -> tuple[Figure, Axes]:
    """Draw the running training loss and the evaluation loss in each reading of one instance on one axis.

    Args:
        records: Runs of one instance.

    Returns:
        The figure and its axes: a row a figure, a circle a run, a bar at their mean.
    """
    frame = pd.DataFrame([record.row() for record in records])
    rows = {
        "running training loss": "train_loss",
        "evaluation: inference": "eval_loss",
        "evaluation: debiased": "debiased_loss",
        "evaluation: recalibrated": "recalibrated_loss",
    }
    figure, axis = subplots(
        figsize=(8, 2.3), layout="constrained", shows="The evaluation loss of each run in three readings"
    )
    for place, (name, column) in enumerate(rows.items()):
        colour = "black" if place == 0 else styles([frame["ordering"].iloc[0]])[frame["ordering"].iloc[0]][0]
        axis.scatter(frame[column], [place] * len(frame), s=36, facecolor="white", edgecolor=colour, zorder=3)
        axis.plot([frame[column].mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=3, label=name)
    axis.set_yticks(range(len(rows)), rows)
    axis.invert_yaxis()
    axis.set_xlabel("loss (circle: one run; bar: mean)")
    axis.grid(axis="x", color="#DDDDDD")
    axis.spines[["top", "right", "left"]].set_visible(False)
    return Drawn(figure, axis)
