"""The model of an instance, compiled: one that comes with normlib, or one of one's own."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from normlib.errors import RequestError, checked, told
from normlib.models import graphs, kinds, zoo
from normlib.models.instance import Instance
from normlib.models.swap import swap
from normlib.tf import tf, use_threads

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
            build_model(Instance.of(**settings))
        except RequestError as error:
            print(json.dumps(error.arguments, default=str))
            sys.exit(1)


@checked
def build_model(instance: Instance) -> tf.keras.Model:
    """Build and compile the model of an instance.

    Args:
        instance: The settings.

    Returns:
        Compiled model: images, float ``[batch, height, width]`` or with channels, as the data set has them, to class
        probabilities ``[batch, classes]``, or logits where a model of one's own gives them; the instance's optimizer,
        sparse categorical cross-entropy, accuracy.

    Raises:
        RequestError: A model or a kind of one's own that cannot be built, see ``own_model`` and ``kinds.own_layer``.
    """
    use_threads()  # before TensorFlow's first operation, which fixes their number
    build = instance.model_facts.build
    model, loss = (_call_builder(build, instance), "sparse_categorical_crossentropy") if build else own_model(instance)
    model.compile(optimizer=_optimizer(instance), loss=loss, metrics=["accuracy"])
    return model


def _call_builder(build: Callable[..., tf.keras.Model], instance: Instance) -> tf.keras.Model:
    """Build a model that comes with normlib; its layers of one's own kinds keep shape and dtype."""
    if not instance.needs_own_code:
        return build(tf.keras, instance)
    try:
        model = build(tf.keras, instance)
    except RequestError:
        raise
    except Exception as error:  # of layers of one's own, which may raise anything when they are called
        allowed = f"kinds that can stand in the slots of {instance.model}, and it gave {told(error)}"
        raise RequestError("ordering", instance.ordering, allowed) from None
    for layer in model.layers:
        if (kind := kinds.find_kind(layer)) is not None and kinds.is_own(kind):
            kinds.check_kept(kind, layer.name, layer.input, layer.output)
    return model


def describe_layers(model: tf.keras.Model) -> pd.DataFrame:
    """Return one row a layer: its class, output shape (``None``: the batch) and numbers of weights.

    The same on Keras 2 and 3, whose ``model.summary()`` differ.

    Raises:
        RequestError: No Keras model, or one that is not built.
    """
    graphs.check_model(model)
    rows = [
        {
            "layer": type(layer).__name__,
            "output shape": ", ".join(str(tuple(output.shape)) for output in tf.nest.flatten(layer.output)),
            "parameters": layer.count_params(),
            "of them trainable": count_weights(layer.trainable_weights),
        }
        for layer in model.layers
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def count_weights(weights: Iterable[tf.Variable]) -> int:
    """Return the number of scalars in a list of weights."""
    return sum(int(tf.size(weight)) for weight in weights)


def _optimizer(instance: Instance) -> tf.keras.optimizers.Optimizer:
    decay = instance.weight_decay or None  # Keras' word for none
    if instance.optimizer == "sgd":
        return tf.keras.optimizers.SGD(instance.learning_rate, momentum=zoo.SGD_MOMENTUM, weight_decay=decay)
    return tf.keras.optimizers.Adam(instance.learning_rate, weight_decay=decay)


if __name__ == "__main__":
    _check_all()
