"""Plots of some runs of one instance: records in, figure and axes out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from normlib.checks import checked
from normlib.report.curves import examples_an_epoch, interval_means
from normlib.report.figures import Drawn, Figure, subplots
from normlib.report.plots import styles
from normlib.runs.records import Record


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
