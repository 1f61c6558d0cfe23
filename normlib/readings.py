"""Readings: three ways to read a trained model that has BatchNorm.

At inference, BatchNorm uses moving averages of batch statistics, and after few steps these still carry their initial
values. A comparison that mixes up the layer with its moving average says little, so each model is read

- ``inference``: as Keras evaluates it;
- ``debiased``: with the initial values' share taken out of the moving averages, as Adam corrects its moments (Kingma
  and Ba 2015, arXiv 1412.6980, section 3);
- ``recalibrated``: with the statistics of the population, recomputed with the trained weights (Wu and Johnson 2021,
  arXiv 2105.07576, section 3.2).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from normlib.checks import whole_number
from normlib.errors import RequestError
from normlib.moving_averages import (
    Statistics,
    assign_statistics,
    batch_norm_layers,
    keeping_statistics,
    moving_statistics,
)
from normlib.pipelines import without_autotuning
from normlib.tensorflow_quietly import tf

READINGS = ("inference", "debiased", "recalibrated")
EVALUATION_BATCH = 1000  # images a step when nothing is learned; it decides speed, and the last bits of the loss


def debias(model: tf.keras.Model, steps: int, in_place: bool = False) -> tf.keras.Model:
    """Take the initial values' share out of all BatchNorm layers' moving averages.

    With momentum ``m``, after ``T`` steps, ``debiased = (moving - m ** T * initial) / (1 - m ** T)``.

    Args:
        model: Any Keras model; without BatchNorm nothing changes.
        steps: Number of training steps that the model has taken.
        in_place: Change the model that is given, instead of a copy.

    Returns:
        The changed model: a copy, compiled as the given one is, or the given one.

    Raises:
        RequestError: Steps below one, or a model that cannot be copied.
    """
    whole_number("steps", steps, minimum=1)
    return _with_statistics(model, _debiased(model, steps), in_place)


def recalibrate(model: tf.keras.Model, x: np.ndarray, batch_size: int = 32, in_place: bool = False) -> tf.keras.Model:
    """Give all BatchNorm layers the statistics of the population in place of their moving averages.

    All BatchNorm layers normalize by their batch together, dropout is off, and the images pass once, in their order.
    Mean and (biased) variance of the population are those of the batches put together by the law of total variance,
    batches weighted by their size, in float64.

    Args:
        model: Any Keras model; without BatchNorm nothing changes.
        x: The images that the model was trained on, ``[n, ...]``.
        batch_size: Images a batch; that of training, for the statistics that the weights were trained with.
        in_place: Change the model that is given, instead of a copy.

    Returns:
        The changed model: a copy, compiled as the given one is, or the given one.

    Raises:
        RequestError: A batch size below one, no images, or a model that cannot be copied.
    """
    whole_number("batch_size", batch_size, minimum=1)
    if len(x) == 0:
        raise RequestError("x", "empty", "at least one image")
    return _with_statistics(model, population(model, x, batch_size), in_place)


def moving_average_gap(
    model: tf.keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    calibration_x: np.ndarray | None = None,
    batch_size: int = 32,
) -> pd.DataFrame:
    """Evaluate a compiled model in each reading; the model is left as it is.

    Args:
        model: Any compiled Keras model with a loss and one metric, trained for at least one step.
        x: Images to evaluate on, ``[n, ...]``.
        y: Their labels, ``[n]``.
        calibration_x: Images to recompute statistics from, ``[m, ...]``: those that the model was trained on, for what
            records call ``recalibrated``. None: ``x``.
        batch_size: Images a batch when statistics are recomputed.

    Returns:
        Indexed by reading: ``loss``, ``accuracy``, and ``loss_removed``, how much lower the loss is than in the reading
        before it.

    Raises:
        RequestError: A model that has not been trained, or no images.
    """
    steps = int(model.optimizer.iterations) if getattr(model, "optimizer", None) is not None else 0
    if steps == 0 or len(x) == 0:
        raise RequestError(
            "model", f"{steps} training steps, {len(x)} images", "a trained model, and at least one image"
        )
    calibration_x = x if calibration_x is None else calibration_x
    evaluation = evaluate_readings(model, x, y, calibration_x, steps, batch_size)
    frame = pd.DataFrame.from_dict(evaluation, orient="index").rename_axis("reading")
    return frame.assign(loss_removed=-frame["loss"].diff())


def evaluate_readings(
    model: tf.keras.Model, x: np.ndarray, y: np.ndarray, calibration_x: np.ndarray, steps: int, batch_size: int,
    initial: Statistics | None = None,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Return loss and accuracy in each reading; without BatchNorm they are the same. The model is left as it is.

    ``initial`` are the moving averages before the first step; None: what the layers' initializers give.
    """
    inference = _evaluate(model, x, y)
    if not batch_norm_layers(model):
        return {reading: dict(inference) for reading in READINGS}
    readings = {"inference": inference}
    for reading, statistics in (
        ("debiased", _debiased(model, steps, initial)),
        ("recalibrated", population(model, calibration_x, batch_size)),
    ):
        with keeping_statistics(model):
            assign_statistics(model, statistics)
            readings[reading] = _evaluate(model, x, y)
    return readings


def _evaluate(model: tf.keras.Model, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    with without_autotuning():
        loss, accuracy = model.evaluate(x, y, batch_size=EVALUATION_BATCH, verbose=0)
    return {"loss": float(loss), "accuracy": float(accuracy)}


def _with_statistics(model: tf.keras.Model, statistics: Statistics, in_place: bool) -> tf.keras.Model:
    changed = model if in_place else _copy(model)
    assign_statistics(changed, statistics)
    return changed


def _copy(model: tf.keras.Model) -> tf.keras.Model:
    try:
        copy = tf.keras.models.clone_model(model)
    except (ValueError, NotImplementedError):
        allowed = "a Sequential or Functional model; others can be changed with in_place=True"
        raise RequestError("model", type(model).__name__, allowed) from None
    copy.set_weights(model.get_weights())
    if getattr(model, "optimizer", None) is not None:
        copy.compile_from_config(model.get_compile_config())
    return copy


def _debiased(model: tf.keras.Model, steps: int, initial: Statistics | None = None) -> Statistics:
    layers = batch_norm_layers(model)
    initial = initial or [
        (layer.moving_mean_initializer(shape), layer.moving_variance_initializer(shape))
        for layer in layers
        for shape in [layer.moving_mean.shape]
    ]
    shares = [layer.momentum**steps for layer in layers]
    return [
        tuple((m - share * np.array(i, np.float64)) / (1 - share) for m, i in zip(moving, before, strict=True))
        for share, moving, before in zip(shares, moving_statistics(model), initial, strict=True)
    ]


def population(model: tf.keras.Model, x: np.ndarray, batch_size: int) -> Statistics:
    """Return mean and variance of the population at each BatchNorm layer; the model is left as it is."""
    moments = _batch_moments(model, batch_norm_layers(model), x)
    starts = range(0, len(x), batch_size)
    with keeping_statistics(model):
        found = [moments(tf.convert_to_tensor(x[start : start + batch_size])) for start in starts]
    return put_together(found, [min(batch_size, len(x) - start) for start in starts])


def put_together(moments: list[list], sizes: list[int]) -> Statistics:
    """Return each layer's mean and variance of the population, by the law of total variance.

    Args:
        moments: For each batch, each layer's mean and biased variance, float64 ``[channels]``.
        sizes: Number of images of each batch, by which it is weighted.
    """
    statistics = []
    for batches in zip(*moments, strict=True):
        means, variances = (np.array([np.array(batch[i]) for batch in batches]) for i in (0, 1))
        mean = np.average(means, axis=0, weights=sizes)
        statistics.append((mean, np.average(variances + means**2, axis=0, weights=sizes) - mean**2))
    return statistics


def _batch_moments(model: tf.keras.Model, layers: list, x: np.ndarray) -> Callable:
    """Return a function of a batch: float64 mean and biased variance of what enters each BatchNorm layer.

    They are taken from what enters, not from the layer's own averages: Keras 2 stores the variance with N / (N - 1).
    """

    @tf.function(input_signature=[tf.TensorSpec([None, *x.shape[1:]], x.dtype)], autograph=False)
    def moments(batch: tf.Tensor) -> list:
        found: dict = {}
        with contextlib.ExitStack() as stack:
            for layer in layers:
                stack.enter_context(normalizing_by_batch(layer, found))
            model(batch, training=False)  # dropout off
        return [found[id(layer)] for layer in layers]

    return moments


@contextlib.contextmanager
def normalizing_by_batch(layer: tf.keras.layers.BatchNormalization, found: dict) -> Iterator[None]:
    """Make a layer normalize by its batch, whatever the model is told, and note the moments of what enters it."""
    original = layer.call

    @tf.autograph.experimental.do_not_convert
    def call(inputs: tf.Tensor, *_: object, **__: object) -> tf.Tensor:
        axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
        others = [i for i in range(len(inputs.shape)) if i != axis % len(inputs.shape)]
        found[id(layer)] = tf.nn.moments(tf.cast(inputs, tf.float64), others)
        return original(inputs, training=True)

    layer.call = call
    try:
        yield
    finally:
        del layer.call
