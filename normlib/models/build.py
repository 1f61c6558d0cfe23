"""The model of an instance, compiled: one that comes with normlib, or one of one's own."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from normlib.errors import RequestError, checked
from normlib.models import graphs, kinds, zoo
from normlib.models.instance import Instance
from normlib.models.swap import swap
from normlib.tf import tf, use_threads


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
    builder = instance.model_facts.build
    if builder is None:
        model, loss = own_model(instance)
    else:
        model, loss = _call_builder(builder, instance), "sparse_categorical_crossentropy"
    rate, decay = _learning_rate(instance), instance.weight_decay or None  # Keras' word for none
    if instance.optimizer == "sgd":
        optimizer = tf.keras.optimizers.SGD(rate, momentum=zoo.SGD_MOMENTUM, weight_decay=decay)
    else:
        optimizer = tf.keras.optimizers.Adam(rate, weight_decay=decay)
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"])
    return model


def _learning_rate(instance: Instance) -> Any:
    """Return the optimizer's learning rate: a number, or what Keras makes of the number of steps taken before."""
    rate, warmup, schedules = instance.learning_rate, instance.warmup, tf.keras.optimizers.schedules
    if instance.schedule == "cosine":
        steps = instance.steps - warmup
        if warmup:
            return schedules.CosineDecay(0.0, steps, warmup_target=rate, warmup_steps=warmup)
        return schedules.CosineDecay(rate, steps)
    return schedules.PolynomialDecay(0.0, warmup, end_learning_rate=rate) if warmup else rate


def _call_builder(builder: Callable[..., tf.keras.Model], instance: Instance) -> tf.keras.Model:
    """Build a model that comes with normlib; its layers of one's own kinds keep shape and dtype."""
    with kinds.refuse_failure("ordering", instance.ordering, f"a kind cannot stand in its slot of {instance.model}"):
        model = builder(tf.keras, instance)
    for layer in model.layers:
        if (kind := kinds.find_kind(layer)) and kinds.is_own(kind):
            kinds.check_kept(kind, layer.name, layer.input, layer.output)
    return model


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
    facts = {"input_shape": with_channels, "classes": classes}

    def call(function: Callable[..., tf.keras.Model]) -> tf.keras.Model:
        taken = inspect.signature(function).parameters
        return function(**{fact: value for fact, value in facts.items() if fact in taken})

    model = kinds.call_own("model", instance.model, "a function that returns a Keras model", call, tf.keras.Model)
    _check_shapes(instance.model, model, [shape, with_channels], classes)
    model = swap(
        model,
        instance.ordering,
        instance.groups,
        channels_per_group=instance.channels_per_group,
        provider=instance.provider,
        **{name: instance.changes[name] for name in ("momentum", "epsilon") if name in instance.changes},
    )
    if len(model.input_shape) != len(shape) + 1:
        # One way to hand images to all models: as the data set has them.
        model = tf.keras.Sequential([tf.keras.Input(shape), tf.keras.layers.Reshape(with_channels), model])
    return model, _cross_entropy(instance, model)


def _check_shapes(name: str, model: tf.keras.Model, shapes: list[tuple[int, ...]], classes: int) -> None:
    expected = f"a Sequential or Functional model from images {' or '.join(map(str, shapes))} to {classes} outputs"
    try:
        images, outputs = model.input_shape, model.output_shape
    except AttributeError:  # Keras': neither Sequential nor Functional, or not built
        raise RequestError("model", name, f"{expected} that is built") from None
    fits = isinstance(images, tuple) and any(tf.TensorShape(images[1:]).is_compatible_with(shape) for shape in shapes)
    if not fits or outputs != (None, classes):
        raise RequestError("model", name, f"{expected}; it takes {images} and gives {outputs}")


def _cross_entropy(instance: Instance, model: tf.keras.Model) -> tf.keras.losses.Loss | str:
    """Return the loss for what a model gives; outputs that are neither probabilities nor logits are refused."""
    images = np.random.default_rng(0).random((2, *instance.data_facts.image_shape), np.float32)
    with kinds.refuse_failure("model", instance.model, f"it does not take images {images.shape[1:]}"):
        found = np.asarray(model(images, training=False), np.float64)
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


def _check_all() -> None:
    """Build each instance that comes through standard input; print what the first refusal is made of."""
    for settings in json.load(sys.stdin):
        try:
            build_model(Instance.from_settings(**settings))
        except RequestError as error:
            print(json.dumps(error.arguments, default=str))
            sys.exit(1)


if __name__ == "__main__":
    _check_all()
