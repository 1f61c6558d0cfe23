"""The model of an instance, compiled, and what it is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from normlib.checks import checked
from normlib.models import graphs, zoo
from normlib.models.instance import Instance
from normlib.models.own_models import own_model
from normlib.tensorflow_quietly import tf, use_threads

if TYPE_CHECKING:
    import pandas


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
        RequestError: A model of one's own that cannot be built, see ``own_models``.
    """
    use_threads()  # before TensorFlow's first operation, which fixes their number
    build = instance.model_facts.build
    model, loss = (build(tf.keras, instance), "sparse_categorical_crossentropy") if build else own_model(instance)
    model.compile(optimizer=_optimizer(instance), loss=loss, metrics=["accuracy"])
    return model


def describe_layers(model: tf.keras.Model) -> pandas.DataFrame:
    """Return one row a layer: its class, output shape (``None``: the batch) and numbers of weights.

    The same on Keras 2 and 3, whose ``model.summary()`` differ.

    Raises:
        RequestError: No Keras model, or one that is not built.
    """
    import pandas as pd

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
