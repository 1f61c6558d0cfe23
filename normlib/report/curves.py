"""Learning curves: what a record's running figures say of the images on the way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from normlib import catalog
from normlib.runs.records import Record
from normlib.splits import parse_split


def examples_an_epoch(record: Record) -> int:
    """Return the number of images that a run was fitted on.

    Of a file, which need not be where its records are, that is what its steps give: of the last one, up to
    ``batch_size - 1`` images too many.
    """
    settings = record.instance
    if catalog.is_file(settings["dataset"]):
        return max(record.curve["step"]) * settings["batch_size"]
    return len(parse_split(settings["fit_split"], catalog.DATASETS[settings["dataset"]].sizes))


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
