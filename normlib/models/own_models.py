"""Models of one's own, ``package.module:function``: imported when a run needs them, and checked before fit."""

from __future__ import annotations

import importlib
import inspect
import json
import sys

import numpy as np

from normlib.errors import RequestError, told
from normlib.models.instance import Instance
from normlib.models.swapping import swap
from normlib.tensorflow_quietly import tf

_DEFAULTS = Instance()


def own_model(instance: Instance) -> tuple[tf.keras.Model, tf.keras.losses.Loss | str]:
    """Build a model of one's own, its BatchNorm layers replaced as the ordering says.

    The function may have the parameters ``input_shape`` (height, width and channels) and ``classes``, as those of
    ``keras.applications`` have; others need defaults.

    Args:
        instance: The settings; its ``model`` is ``package.module:function``.

    Returns:
        Model from images as the data set has them to probabilities or logits ``[batch, classes]``, not compiled, and
        the cross-entropy of these. Which they are is told by the outputs: probabilities add up to 1, logits have both
        signs.

    Raises:
        RequestError: It cannot be imported, fails, or returns something else than a model of such images and classes
            with a BatchNorm layer.
    """
    shape, classes = instance.data_facts.image_shape, instance.data_facts.classes
    with_channels = (*shape, 1) if len(shape) == 2 else shape
    model = _call(instance.model, input_shape=with_channels, classes=classes)
    _check_shapes(instance, model, with_channels)
    model = swap(
        model,
        instance.ordering,
        instance.groups,
        channels_per_group=instance.channels_per_group,
        momentum=_if_changed(instance, "momentum"),
        epsilon=_if_changed(instance, "epsilon"),
        provider=instance.provider,
    )
    if len(model.input_shape) != len(shape) + 1:
        # One way to hand images to all models: as the data set has them.
        model = tf.keras.Sequential([tf.keras.Input(shape), tf.keras.layers.Reshape(with_channels), model])
    return model, _cross_entropy(instance, model)


def _if_changed(instance: Instance, name: str) -> float | None:
    value = getattr(instance, name)
    return None if value == getattr(_DEFAULTS, name) else value


def _call(name: str, **facts: object) -> tf.keras.Model:
    """Import the function and call it with those of the facts that it takes."""
    module, _, function = name.partition(":")
    try:
        builder = getattr(importlib.import_module(module), function)
        taken = inspect.signature(builder).parameters
        model = builder(**{fact: value for fact, value in facts.items() if fact in taken})
    except (Exception, SystemExit) as error:  # whatever somebody's code raises
        allowed = f"a function that can be imported and called, and it gave {told(error)}"
        raise RequestError("model", name, allowed) from None
    if not isinstance(model, tf.keras.Model):
        raise RequestError("model", name, f"a function that returns a Keras model, and it returned {model!r:.80}")
    return model


def _check_shapes(instance: Instance, model: tf.keras.Model, with_channels: tuple[int, ...]) -> None:
    shape, classes = instance.data_facts.image_shape, instance.data_facts.classes
    allowed = f"a model of images {shape} or {with_channels} with {classes} outputs"
    try:
        images, outputs = model.input_shape, model.output_shape
    except AttributeError:  # Keras': neither Sequential nor Functional, or not built
        raise RequestError("model", instance.model, f"{allowed}, Sequential or Functional, and built") from None
    single = isinstance(images, tuple) and isinstance(outputs, tuple)
    fits = single and any(_fits(images[1:], wanted) for wanted in (shape, with_channels))
    if not fits or outputs != (None, classes):
        raise RequestError("model", instance.model, f"{allowed}; it takes {images} and gives {outputs}")


def _fits(found: tuple[int | None, ...], wanted: tuple[int, ...]) -> bool:
    return len(found) == len(wanted) and all(f in (None, w) for f, w in zip(found, wanted, strict=True))


def _cross_entropy(instance: Instance, model: tf.keras.Model) -> tf.keras.losses.Loss | str:
    """Return the loss for what a model gives; outputs that are neither probabilities nor logits are refused."""
    images = np.random.default_rng(0).random((2, *instance.data_facts.image_shape), np.float32)
    try:
        found = np.asarray(model(images, training=False), np.float64)
    except Exception as error:  # of layers that cannot take such images after all
        raise RequestError("model", instance.model, f"a model of such images, and it gave {told(error)}") from None
    if (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-2):
        return "sparse_categorical_crossentropy"
    # Logits may happen to be positive; a last layer without an activation of its own gives nothing else.
    if not np.isfinite(found).all() or ((found >= 0).all() and found.any() and _last_activation(model) != "linear"):
        allowed = "a model whose outputs are probabilities, which add up to 1, or logits, which have both signs"
        raise RequestError("model", instance.model, f"{allowed}; these are from {found.min():.3g} to {found.max():.3g}")
    return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _last_activation(model: tf.keras.layers.Layer) -> str:
    while getattr(model, "layers", None):
        model = model.layers[-1]
    return getattr(getattr(model, "activation", None), "__name__", "")


def _check_all() -> None:
    """Build each instance that comes through standard input; print what the first refusal is made of."""
    for settings in json.load(sys.stdin):
        try:
            own_model(Instance.of(**settings))
        except RequestError as error:
            print(json.dumps(error.arguments, default=str))
            sys.exit(1)


if __name__ == "__main__":
    _check_all()
