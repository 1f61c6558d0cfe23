"""Models with slots for normalization; the source notebook's CNN first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from normlib.instance import Instance
from normlib.normalization import normalization_layer
from normlib.tensorflow_quietly import tf, use_threads

if TYPE_CHECKING:
    import pandas


def build_model(instance: Instance) -> tf.keras.Model:
    """Build and compile the model of an instance.

    Args:
        instance: The settings.

    Returns:
        Compiled model: images, float ``[batch, height, width]``, to class probabilities ``[batch, classes]``; Adam,
        sparse categorical cross-entropy, accuracy.
    """
    use_threads()  # before TensorFlow's first operation, which fixes their number
    model = _BUILDERS[instance.model](instance)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(instance.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def describe_layers(model: tf.keras.Model) -> pandas.DataFrame:
    """Return one row a layer: its class, output shape (``None``: the batch) and numbers of weights.

    The same on Keras 2 and 3, whose ``model.summary()`` differ.
    """
    import pandas as pd

    rows = [
        {
            "layer": type(layer).__name__,
            "output shape": str(tuple(layer.output.shape)),
            "parameters": layer.count_params(),
            "of them trainable": count_weights(layer.trainable_weights),
        }
        for layer in model.layers
    ]
    return pd.DataFrame(rows, index=range(1, len(rows) + 1))


def count_weights(weights: list) -> int:
    """Return the number of scalars in a list of weights."""
    return sum(int(tf.size(weight)) for weight in weights)


def _source_cnn(instance: Instance) -> tf.keras.Model:
    """The source's CNN: two 3 x 3 convolutions of 10 filters, each with a slot behind it, and two dense layers."""
    keras = tf.keras
    facts = instance.data_facts
    layers = [keras.Input(facts.image_shape), keras.layers.Reshape((*facts.image_shape, 1))]
    for kinds, channels in zip(instance.layers.slots, instance.model_facts.slot_channels, strict=True):
        layers.append(keras.layers.Conv2D(filters=channels, kernel_size=(3, 3)))
        layers += [_normalization(kind, channels, instance) for kind in kinds]
        if instance.activation != "none":
            # After the slot: normalization right before the nonlinearity, as in Ioffe and Szegedy 2015, section 3.2.
            layers.append(keras.layers.Activation(instance.activation))
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(facts.classes, activation="softmax"),
    ]
    return keras.Sequential(layers)


def _normalization(kind: str, channels: int, instance: Instance) -> tf.keras.layers.Layer:
    groups = instance.groups or instance.model_facts.groups
    return normalization_layer(kind, channels, groups, instance.momentum, instance.provider)


_BUILDERS = {"source_cnn": _source_cnn}
