"""BatchNorm layers in any Keras model: found, their moving averages read, debiased and set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from normlib.errors import RequestError
from normlib.models import graphs
from normlib.models.layers import BatchNormalizationInParts
from normlib.tf import tf

# Mean and variance, [channels], by the path of a layer.
Statistics: TypeAlias = dict[str, tuple[np.ndarray, np.ndarray]]

# The class by whose ``call`` all of Keras' BatchNorm layers normalize; normlib has one of its own.
KERAS_CLASS = next(base for base in tf.keras.layers.BatchNormalization.__mro__ if "call" in vars(base))
CALLED_CLASSES: tuple[Any, ...] = (KERAS_CLASS, BatchNormalizationInParts)
# What multiplies by a kernel and adds an offset, and nothing else.
_LINEAR = tuple(getattr(tf.keras.layers, name) for name in ("Dense", "Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D"))
_UNKNOWN = ("renorm", "virtual_batch_size")  # options that only Keras 2 has, with averages or axes of their own
_ROUNDING = 1e-4  # of float32, in the variance that hundreds of steps have moved, relative to the initial one


def is_batch_norm(layer: tf.keras.layers.Layer) -> bool:
    """Tell whether a layer is one of Keras' BatchNorm layers, or of a class of one's own that is made from one."""
    return isinstance(layer, KERAS_CLASS)


def batch_norm_layers(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """Return all BatchNorm layers of a model by path, in data-flow order, those within its layers included.

    Those that have not been built, since they were never called, are left out: they have no averages yet.

    Raises:
        RequestError: A layer that has moving averages, as BatchNorm, but is none of Keras', or is one of Keras 2 with
            ``renorm`` or ``virtual_batch_size``.
    """
    found, problem = {}, ""
    for place in graphs.find_places(model):
        if is_batch_norm(place.layer):
            if place.layer.built:
                found[place.path] = place.layer
            if any(getattr(place.layer, option, None) for option in _UNKNOWN):
                found_in = f"its BatchNorm {place.path!r} has {' or '.join(_UNKNOWN)}"
                problem = f"{found_in}, which normlib cannot read: leave it out"
        elif hasattr(place.layer, "moving_mean") or hasattr(place.layer, "running_mean"):
            kind = type(place.layer).__name__
            problem = f"its BatchNorm {place.path!r} is {kind}, which is not made from Keras' BatchNormalization"
        if problem:
            raise RequestError("model", model.name, problem=problem)
    return found


def folding_places(model: tf.keras.Model) -> list[tuple[graphs.Place, tf.keras.layers.Layer]]:
    """Return the BatchNorm layers that inference can do without, each with the layer into which it folds.

    That is a convolution or Dense layer without activation whose output goes to this BatchNorm only: its kernel and
    offset can be rescaled once and for all (Jacob et al. 2018, arXiv 1712.05877, section 3.2).

    Args:
        model: A Keras model that is built.
    """
    places = [place for place in graphs.find_places(model) if place.nodes]
    layer_of = {id(node): place.layer for place in places for node in place.nodes}
    used = Counter(
        id(layer_of.get(id(parent))) for place in places for node in place.nodes for parent in node.parent_nodes
    )
    outputs = {id(output) for output in tf.nest.flatten(model.outputs)}
    found = []
    for place in places:
        if not is_batch_norm(place.layer) or len(place.nodes) > 1 or place.axis != len(place.shape or ()) - 1:
            continue
        parents = place.nodes[0].parent_nodes
        before = layer_of.get(id(parents[0])) if len(parents) == 1 else None
        linear = isinstance(before, _LINEAR) and before.activation is tf.keras.activations.linear
        if linear and used[id(before)] == 1 and not outputs & {*map(id, tf.nest.flatten(parents[0].outputs))}:
            found.append((place, before))
    return found


def moving_statistics(model: tf.keras.Model) -> Statistics:
    """Return moving mean and moving variance of each BatchNorm layer."""
    return {
        path: (np.array(layer.moving_mean), np.array(layer.moving_variance))
        for path, layer in batch_norm_layers(model).items()
    }


def initial_statistics(model: tf.keras.Model) -> Statistics:
    """Return what each BatchNorm layer's initializers give for its moving averages."""
    return {
        path: (np.array(layer.moving_mean_initializer(shape)), np.array(layer.moving_variance_initializer(shape)))
        for path, layer in batch_norm_layers(model).items()
        for shape in [layer.moving_mean.shape]
    }


def assign_statistics(model: tf.keras.Model, statistics: Statistics) -> None:
    """Give BatchNorm layers a moving mean and a moving variance; those that are not named keep theirs."""
    layers = batch_norm_layers(model)
    for path, (mean, variance) in statistics.items():
        for weight, value in ((layers[path].moving_mean, mean), (layers[path].moving_variance, variance)):
            weight.assign(tf.cast(value, weight.dtype))


def debias_statistics(model: tf.keras.Model, updates: Mapping[str, float], initial: Statistics) -> Statistics:
    """Take the initial values' share out of the moving averages, by the formula of ``normlib.debias``.

    A variance may come out negative where the numbers are not those of the layer.

    Args:
        model: A Keras model.
        updates: How often each BatchNorm layer has moved its averages, by its path; those left out keep theirs.
        initial: The averages before the first update.
    """
    debiased = {}
    for path, layer in batch_norm_layers(model).items():
        if not updates.get(path) or layer.momentum == 1:
            continue
        share = layer.momentum ** updates[path]
        mean, variance = (
            (np.array(moving) - share * np.array(before, np.float64)) / (1 - share)
            for moving, before in zip((layer.moving_mean, layer.moving_variance), initial[path], strict=True)
        )
        # A channel that is always 0 has variance 0, but for rounding.
        least = -_ROUNDING * share / (1 - share) * np.array(initial[path][1], np.float64)
        debiased[path] = (mean, np.where((variance < 0) & (variance >= least), 0.0, variance))
    return debiased
