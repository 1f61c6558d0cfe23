"""BatchNorm layers in any Keras model: found, their moving averages read, debiased and set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from normlib.errors import RequestError
from normlib.models import graphs
from normlib.tf import tf

# Mean and variance, [channels], by the ``id`` of a layer.
Statistics: TypeAlias = dict[int, tuple[np.ndarray, np.ndarray]]

# The class by whose ``call`` all of Keras' BatchNorm layers normalize.
KERAS_CLASS = next(base for base in tf.keras.layers.BatchNormalization.__mro__ if "call" in vars(base))
_ROUNDING = 1e-4  # of float32, in the variance that hundreds of steps have moved, relative to the initial one


def is_batch_norm(layer: tf.keras.layers.Layer) -> bool:
    """Tell whether a layer is one of Keras' BatchNorm layers, or of a class of one's own that is made from one."""
    return isinstance(layer, KERAS_CLASS)


def batch_norm_layers(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """Return all BatchNorm layers of a model by path, in data-flow order, those within its layers included.

    A layer that has not been built, since it was never called, has no averages yet, and is left out.

    Raises:
        RequestError: A layer that has moving averages, as BatchNorm, but is none of Keras'.
    """
    return {path: layer for path, layer in find(model).items() if layer.built}


def find(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """Return the same, with those that have not been built."""
    found = {}
    for path, layer in ((place.path, place.layer) for place in graphs.find_places(model)):
        if is_batch_norm(layer):
            found[path] = layer
        elif hasattr(layer, "moving_mean") or hasattr(layer, "running_mean"):
            allowed = f"one whose BatchNorm is Keras' BatchNormalization; {path!r} is {type(layer).__name__}"
            raise RequestError("model", model.name, allowed)
    return found


def moving_statistics(model: tf.keras.Model) -> Statistics:
    """Return moving mean and moving variance of each BatchNorm layer."""
    return {
        id(layer): (np.array(layer.moving_mean), np.array(layer.moving_variance))
        for layer in batch_norm_layers(model).values()
    }


def initial_statistics(model: tf.keras.Model) -> Statistics:
    """Return what each BatchNorm layer's initializers give for its moving averages."""
    return {
        id(layer): (np.array(layer.moving_mean_initializer(shape)), np.array(layer.moving_variance_initializer(shape)))
        for layer in batch_norm_layers(model).values()
        for shape in [layer.moving_mean.shape]
    }


def assign_statistics(model: tf.keras.Model, statistics: Statistics) -> None:
    """Give BatchNorm layers a moving mean and a moving variance; those that are not named keep theirs."""
    for layer in batch_norm_layers(model).values():
        if id(layer) not in statistics:
            continue
        mean, variance = statistics[id(layer)]
        values = [(layer.moving_mean, mean), (layer.moving_variance, variance)]
        if getattr(layer, "renorm", False):  # it makes its moving variance of these when it trains on
            values.append((layer.moving_stddev, np.sqrt(variance + layer.epsilon)))
        for weight, value in values:
            weight.assign(tf.cast(value, weight.dtype))


def debias_statistics(model: tf.keras.Model, updates: Mapping[int, float], initial: Statistics) -> Statistics:
    """Take the initial values' share out of the moving averages.

    With momentum ``m``, after ``T`` updates, ``debiased = (moving - m ** T * initial) / (1 - m ** T)``. A variance may
    come out negative where the numbers are not those of the layer.

    Args:
        model: A Keras model.
        updates: How often each BatchNorm layer has moved its averages, by its ``id``; those left out keep theirs.
        initial: The averages before the first update.
    """
    debiased = {}
    for layer in batch_norm_layers(model).values():
        if not updates.get(id(layer)) or layer.momentum == 1:
            continue
        share = layer.momentum ** updates[id(layer)]
        renorm = getattr(layer, "renorm", False)  # the average is then of the standard deviation
        moving = (layer.moving_mean, layer.moving_stddev if renorm else layer.moving_variance)
        mean, variance = initial[id(layer)]
        before = (mean, np.sqrt(variance) if renorm else variance)
        mean, spread = (
            (np.array(m) - share * np.array(i, np.float64)) / (1 - share) for m, i in zip(moving, before, strict=True)
        )
        variance = np.sign(spread) * spread**2 - layer.epsilon if renorm else spread
        # A channel that is always 0 has variance 0, but for rounding.
        least = -_ROUNDING * share / (1 - share) * np.array(before[1], np.float64)
        debiased[id(layer)] = (mean, np.where((variance < 0) & (variance >= least), 0.0, variance))
    return debiased
