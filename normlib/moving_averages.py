"""BatchNorm's moving averages in a model: found, read, set and put back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

from normlib.tensorflow_quietly import tf

Statistics: TypeAlias = list[tuple[np.ndarray, np.ndarray]]


def batch_norm_layers(model: tf.keras.Model) -> list[tf.keras.layers.BatchNormalization]:
    """Return all BatchNorm layers of a model, those within its layers included."""
    # Keras has no public way to layers within layers, wrappers and blocks of one's own among them.
    layers = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in layers if isinstance(layer, tf.keras.layers.BatchNormalization)]


def moving_statistics(model: tf.keras.Model) -> Statistics:
    """Return moving mean and moving variance of each BatchNorm layer, ``[channels]``."""
    return [(np.array(layer.moving_mean), np.array(layer.moving_variance)) for layer in batch_norm_layers(model)]


def assign_statistics(model: tf.keras.Model, statistics: Statistics) -> None:
    """Give each BatchNorm layer a moving mean and a moving variance."""
    for layer, (mean, variance) in zip(batch_norm_layers(model), statistics, strict=True):
        for weight, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            weight.assign(tf.cast(value, weight.dtype))


@contextlib.contextmanager
def keeping_statistics(model: tf.keras.Model) -> Iterator[None]:
    """Put all BatchNorm layers' moving averages back afterwards, which passing batches in training mode moves."""
    kept = moving_statistics(model)
    try:
        yield
    finally:
        assign_statistics(model, kept)
