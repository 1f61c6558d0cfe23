"""Diagnosis: what happens inside a model while it is being trained, slot by slot and layer by layer."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd

from normlib import data
from normlib.errors import checked, seed_range, thread_count, whole_number
from normlib.models import zoo
from normlib.models.instance import Instance
from normlib.runs.store import Record
from normlib.runs.train import train


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """A run, and what was seen inside its model meanwhile.

    Args:
        record: The run's record, the same as without a diagnosis.
        frame: One row a figure: ``step``, the number of training steps taken before; ``quantity``; ``place``, the
            number of the slot, or of the layer for gradient norms, from 1 in data-flow order; ``layer``, its path in
            the model; ``value``.
    """

    record: Record
    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        wide = self.frame.pivot_table("value", ["quantity", "place", "layer"], "step", dropna=False, sort=False)
        ordering, seed = self.record.ordering, self.record.seed
        return f"<p>{ordering}, seed {seed}: figures by training step</p>{wide.dropna(how='all').to_html()}"


@checked
def diagnose(
    instance: Instance, seed: int, threads: int | None = None, points: int = 9, images: int = 1000
) -> Diagnosis:
    """Train one run as ``train`` does, and look inside its model meanwhile, which changes no bit of it.

    The first images that the run is fitted on are passed at each point, in batches of the instance's batch size,
    BatchNorm normalizing by its batch as in training, dropout off. The quantities:

    - ``cosine similarity``: of different samples' flattened outputs, the mean over all pairs, where they leave each
      slot (an empty one: the layer before it). Lubana, Dick and Tanaka 2021, arXiv 2106.05956, on informative
      activations. They take it behind the nonlinearity and within one training batch, here it is taken where
      normalization ends, and over all pairs of the images.
    - ``gradient norm``: Euclidean norm of the loss' gradient with respect to each layer's kernel, the loss being the
      mean over the images. There, on gradient explosion, the gradient is that with respect to each convolution's
      output, for a whole batch.
    - ``moving mean distance`` and ``moving variance distance``: ``||moving - population|| / ||population||`` for each
      BatchNorm layer, the population being that of ``recalibrate`` over these images. The estimation shift magnitude
      of Huang et al. 2022, arXiv 2203.10778, is the distance between estimated statistics and those that are expected;
      here it is divided by the latter, so that layers of different scale can be compared, and means the images that
      the model is trained on. Rows only where there is BatchNorm.

    Args:
        instance: The settings.
        seed: As for ``train``.
        threads: As for ``train``.
        points: Number of moments, from 2 up: before the first step, after the last one, and between them at steps
            that grow by a factor, since most happens early. Where there are fewer steps, all.
        images: Number of images, from 2 up; at most those that it is fitted on.

    Returns:
        The run's record, and the figures. Those of a run that diverges are not-a-numbers and infinities.

    Raises:
        RequestError: Points or images below 2, or as ``train``.
    """
    points = whole_number("points", points, minimum=2)
    images = whole_number("images", images, minimum=2)
    seed_range(seed, setting="seed")
    if threads is not None:
        thread_count(threads)
    x, y = data.load_split(instance.dataset, instance.fit_examples, instance.fit_sample, seed)
    from normlib.runs.probes import observe

    named = instance.model in zoo.MODELS
    callback, rows = observe(moments(instance.steps, points), named, x[:images], y[:images], instance.batch_size)
    record = train(instance, seed, threads, callbacks=[callback])
    return Diagnosis(record, pd.DataFrame(rows, columns=["step", "quantity", "place", "layer", "value"]))


def moments(steps: int, points: int) -> list[int]:
    """Return 0 and steps from 1 to the last one that grow by a factor, rounded, each once; all where they are few."""
    if points > steps:
        return list(range(steps + 1))
    chosen = [0]
    for step in np.geomspace(1, steps, points - 1) if points > 2 else [steps]:
        chosen.append(max(chosen[-1] + 1, round(step)))
    return chosen
