"""The layers behind ``bn``, ``gn``, ``ln`` and ``in``, all with a scale and an offset for each channel."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from normlib import stack
from normlib.tensorflow_quietly import KERAS_3, tf

_HALF = ("float16", "bfloat16")


def normalization_layer(
    kind: str,
    channels: int,
    groups: int,
    momentum: float = 0.99,
    provider: str = "auto",
    epsilon: float = 0.001,
    **options: object,
) -> tf.keras.layers.Layer:
    """Return a layer that normalizes images ``[batch, height, width, channels]``.

    Each computes ``scale * (x - mean) / sqrt(variance + epsilon) + offset``, with the mean and the (biased) variance
    over

    - ``bn``: batch and positions, for each channel; at inference, their moving averages (Ioffe and Szegedy 2015,
      arXiv 1502.03167, algorithms 1 and 2);
    - ``gn``: positions and the channels of a group, for each image and group of consecutive channels (Wu and He 2018,
      arXiv 1803.08494, section 3.1);
    - ``ln``: as ``gn``, one group; ``in``: as ``gn``, a group per channel (there, section 3.1 as well).

    Args:
        kind: ``bn``, ``gn``, ``ln`` or ``in``.
        channels: Number of channels.
        groups: Number of groups for ``gn``; divides ``channels``.
        momentum: Of BatchNorm's moving averages.
        provider: Library that GroupNorm comes from: ``addons``, ``keras`` or ``auto``.
        epsilon: What is added to the variance.
        options: Further arguments of the Keras layer, such as ``axis`` (3 unless given), ``center``, ``scale``,
            ``gamma_initializer``, ``name`` and ``dtype``.
    """
    options = {"axis": 3, "epsilon": epsilon, **options}
    if kind == "bn":
        return tf.keras.layers.BatchNormalization(momentum=momentum, **options)
    groups = {"gn": groups, "ln": 1, "in": channels}[kind]
    if stack.resolve_provider(provider) == "keras":
        provided = tf.keras.layers.GroupNormalization
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notice that addons gets no more releases, which the README says
            import tensorflow_addons
        provided = tensorflow_addons.layers.GroupNormalization
    layer = provided(groups=groups, **options)
    if layer.compute_dtype in _HALF and not KERAS_3:
        return _in_float32(provided)(groups=groups, **options)
    return layer


@functools.cache
def _in_float32(provided: type) -> type:
    """Return a class of layers that normalize in float32, whatever their dtype policy, as Keras 3's do.

    Those of Keras 2 and of addons keep the variance in float16, in which it is infinite from a standard deviation of
    256 on: all that leaves is then 0.
    """

    @tf.keras.utils.register_keras_serializable("normlib", f"{provided.__module__.split('.')[0]}_float32")
    class GroupNormalization(provided):
        def add_weight(self, *args: Any, **options: Any) -> tf.Variable:
            return super().add_weight(*args, **{**options, "dtype": "float32", "experimental_autocast": False})

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.cast(super().call(tf.cast(inputs, tf.float32)), self.compute_dtype)

    return GroupNormalization
