"""The layers behind ``bn``, ``gn``, ``ln`` and ``in``, all with a scale and an offset for each channel."""

from __future__ import annotations

import warnings

from normlib import stack
from normlib.tensorflow_quietly import tf


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
        return tf.keras.layers.GroupNormalization(groups=groups, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notice that addons gets no more releases, which the README says
        import tensorflow_addons
    return tensorflow_addons.layers.GroupNormalization(groups=groups, **options)
