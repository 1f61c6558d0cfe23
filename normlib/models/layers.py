"""Normalization layers that Keras lacks on one of the stacks, with the names of weights that its others have."""

from __future__ import annotations

from typing import Any

from normlib.tf import tf


class _ScaledByChannel(tf.keras.layers.Layer):
    """A layer with a scale, and perhaps an offset, for each channel, computed in float32 or wider.

    Args:
        axis: The axis of channels.
        center: Whether there is an offset.
        scale: Whether there is a scale.
        options: Initializers, regularizers and constraints of ``gamma`` and ``beta``, as Keras' BatchNormalization has
            them, and arguments of any Keras layer.
    """

    def __init__(self, axis: int = -1, center: bool = True, scale: bool = True, **options: Any):
        own = {"gamma": ("ones", scale), "beta": ("zeros", center)}
        self._weights_of = {
            name: {
                role: getattr(tf.keras, f"{role}s").get(options.pop(f"{name}_{role}", first))
                for role, first in (("initializer", start), ("regularizer", None), ("constraint", None))
            }
            for name, (start, _) in own.items()
        }
        super().__init__(**options)
        self.axis, self.center, self.scale = axis, center, scale
        self.gamma = self.beta = None
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        for name, wanted in (("gamma", self.scale), ("beta", self.center)):
            if wanted:
                shape, how = (input_shape[self.axis],), self._weights_of[name]
                setattr(self, name, self.add_weight(name=name, shape=shape, dtype="float32", **how))
        super().build(input_shape)

    def _weigh(self, inputs: Any) -> Any:
        """Multiply by the scale, add the offset, and give the layer's dtype."""
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        if self.gamma is not None:
            inputs = inputs * tf.cast(tf.reshape(self.gamma, shape), inputs.dtype)
        if self.beta is not None:
            inputs = inputs + tf.cast(tf.reshape(self.beta, shape), inputs.dtype)
        return tf.cast(inputs, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Return what the layer can be made anew from."""
        weights = {
            f"{name}_{role}": getattr(tf.keras, f"{role}s").serialize(value)
            for name, how in self._weights_of.items()
            for role, value in how.items()
        }
        return {**super().get_config(), "axis": self.axis, "center": self.center, "scale": self.scale, **weights}


@tf.keras.utils.register_keras_serializable("normlib")
class RMSNormalization(_ScaledByChannel):
    """Divide by the root mean square over channels: ``gamma * x / sqrt(mean(x ** 2) + epsilon)``.

    Zhang and Sennrich 2019, Root mean square layer normalization, arXiv 1910.07467, equation 4. Keras has it from 3.10,
    without initializers, and TensorFlow 2.15 has none.

    Args:
        axis: The axis of channels.
        epsilon: What is added to the mean square.
        options: As for all layers here; there is no offset.
    """

    def __init__(self, axis: int = -1, epsilon: float = 0.001, **options: Any):
        super().__init__(axis, **{**options, "center": False})
        self.epsilon = epsilon

    def call(self, inputs: Any) -> Any:
        """Normalize ``[batch, ..., channels]``."""
        wide = inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)
        square = tf.reduce_mean(tf.square(wide), axis=self.axis, keepdims=True)
        return self._weigh(wide * tf.math.rsqrt(square + self.epsilon))

    def get_config(self) -> dict[str, Any]:
        """Return what the layer can be made anew from."""
        return {**super().get_config(), "epsilon": self.epsilon}


@tf.keras.utils.register_keras_serializable("normlib")
class DynamicTanh(_ScaledByChannel):
    """No normalization but a bound: ``gamma * tanh(alpha * x) + beta``, one alpha for the layer, 0.5 at first.

    Zhu, Chen, He, LeCun and Liu 2025, Transformers without normalization, arXiv 2503.10622, equation 1 and section 4.

    Args:
        axis: The axis of channels.
        alpha_initializer: Of alpha.
        options: As for all layers here.
    """

    def __init__(self, axis: int = -1, alpha_initializer: Any = None, **options: Any):
        super().__init__(axis, **options)
        self._alpha_initializer = tf.keras.initializers.get(alpha_initializer or tf.keras.initializers.Constant(0.5))

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        self.alpha = self.add_weight(name="alpha", shape=(), dtype="float32", initializer=self._alpha_initializer)
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """Bound ``[batch, ..., channels]``."""
        wide = inputs if inputs.dtype == tf.float64 else tf.cast(inputs, tf.float32)
        return self._weigh(tf.tanh(tf.cast(self.alpha, wide.dtype) * wide))

    def get_config(self) -> dict[str, Any]:
        """Return what the layer can be made anew from."""
        initializer = tf.keras.initializers.serialize(self._alpha_initializer)
        return {**super().get_config(), "alpha_initializer": initializer}
