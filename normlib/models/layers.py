"""Normalization layers that Keras lacks on one of the stacks, with the names of weights that its others have."""

from __future__ import annotations

from typing import Any

from normlib.errors import RequestError
from normlib.models.graphs import axes_of
from normlib.tf import tf


def _widened(inputs: Any) -> Any:
    return inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)


def _weigh(layer: Any, inputs: Any, axis: int) -> Any:
    """Multiply by a layer's scale, add its offset, where it has them, and give its dtype."""
    shape = [1] * len(inputs.shape)
    shape[axis] = -1
    if layer.scale:
        inputs = inputs * tf.cast(tf.reshape(layer.gamma, shape), inputs.dtype)
    if layer.center:
        inputs = inputs + tf.cast(tf.reshape(layer.beta, shape), inputs.dtype)
    return tf.cast(inputs, layer.compute_dtype)


@tf.keras.utils.register_keras_serializable("normlib")
class BatchNormalizationInParts(tf.keras.layers.BatchNormalization):
    """BatchNorm that takes mean and variance over parts of the batch while it trains, as if each were a batch.

    Hoffer, Hubara and Soudry 2017, arXiv 1705.08741, algorithm 1 ("ghost batches"). Parts are of consecutive examples;
    what is left over is a part of its own. The moving averages take the mean of the parts' means, and of their (biased)
    variances, once a step; in the paper, they take one part after the other. The variance stays below that of the
    population, which ``recalibrate`` gives, by the variance between parts, however long the model trains. At inference
    it is Keras' BatchNorm. (Keras 2 has ``virtual_batch_size``, with nothing left over; Keras 3 has no parts.)

    Args:
        statistics_batch: Examples a part.
        options: As for Keras' BatchNormalization.

    Raises:
        RequestError: It is called with a mask.
    """

    def __init__(self, statistics_batch: int, **options: Any):
        super().__init__(**options)
        self.statistics_batch = statistics_batch
        self.supports_jit = False  # XLA has no segment_mean, and Keras 3 compiles for it where there is a GPU

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        """Normalize ``[batch, ..., channels]``, in float32 or wider."""
        if mask is not None:
            raise RequestError("mask", type(mask).__name__, "None where BatchNorm takes parts of the batch")
        rank = len(inputs.shape)
        (axis,) = (axis % rank for axis in axes_of(self))
        shape = [-1, *(inputs.shape[axis] if i == axis else 1 for i in range(1, rank))]
        wide = _widened(inputs)
        mean, variance = self.moving_mean, self.moving_variance
        if training and self.trainable:
            positions = [i for i in range(1, rank) if i != axis]
            part = tf.range(tf.shape(inputs)[0]) // self.statistics_batch  # of each example

            def mean_of_part(values: Any, moving: Any) -> Any:
                means = tf.math.segment_mean(tf.reduce_mean(values, positions), part)
                moving.assign(moving + (tf.cast(tf.reduce_mean(means, 0), moving.dtype) - moving) * (1 - self.momentum))
                return tf.gather(means, part)

            mean = mean_of_part(wide, self.moving_mean)
            variance = mean_of_part(tf.square(wide - tf.reshape(mean, shape)), self.moving_variance)
        mean, variance = (tf.cast(tf.reshape(moment, shape), wide.dtype) for moment in (mean, variance))
        return _weigh(self, (wide - mean) * tf.math.rsqrt(variance + self.epsilon), axis)

    def get_config(self) -> dict[str, Any]:
        """Return what the layer can be made anew from."""
        return {**super().get_config(), "statistics_batch": self.statistics_batch}


@tf.keras.utils.register_keras_serializable("normlib")
class RMSNormalization(tf.keras.layers.LayerNormalization):
    """Divide by the root mean square over channels: ``gamma * x / sqrt(mean(x ** 2) + epsilon)``.

    Zhang and Sennrich 2019, Root mean square layer normalization, arXiv 1910.07467, equation 4. Keras has it from 3.10,
    without initializers, and TensorFlow 2.15 has none.

    Args:
        options: As for Keras' LayerNormalization over one axis; there is no offset, whatever ``center`` says.
    """

    def __init__(self, **options: Any):
        super().__init__(**{**options, "center": False})

    def call(self, inputs: Any) -> Any:
        """Normalize ``[batch, ..., channels]``, in float32 or wider."""
        wide, (axis,) = _widened(inputs), axes_of(self)
        square = tf.reduce_mean(tf.square(wide), axis=axis, keepdims=True)
        return _weigh(self, wide * tf.math.rsqrt(square + self.epsilon), axis)


@tf.keras.utils.register_keras_serializable("normlib")
class DynamicTanh(tf.keras.layers.LayerNormalization):
    """No normalization but a bound: ``gamma * tanh(alpha * x) + beta``, one alpha for the layer, 0.5 at first.

    Zhu, Chen, He, LeCun and Liu 2025, Transformers without normalization, arXiv 2503.10622, equation 1 and section 4.
    It takes the options of Keras' LayerNormalization over one axis; there is no epsilon in it.
    """

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        start = tf.keras.initializers.Constant(0.5)
        self.alpha = self.add_weight(name="alpha", shape=(), dtype="float32", initializer=start)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Bound ``[batch, ..., channels]``, in float32 or wider."""
        wide = _widened(inputs)
        return _weigh(self, tf.tanh(tf.cast(self.alpha, wide.dtype) * wide), *axes_of(self))
