"""Kinds of normalization: one table says all that normlib knows of each.

All have a scale and an offset for each channel.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normlib import stack

EMPTY = "none"  # what a slot is called in which nothing stands
_HALF = ("float16", "bfloat16")
_LIBRARIES = ("keras", "tf_keras", "tensorflow_addons", "normlib")


@dataclass(frozen=True)
class Kind:
    """All that is known of a kind of normalization.

    Args:
        name: What it is called in pictures.
        description: What it is called in messages.
        colour: Of its boxes; black text is read on it at more than 10 to 1.
        bases: Names of the classes, Keras', addons' or normlib's, of which its layers are.
        groups: Number of groups, from the number of channels and the number that is set; None: it has no groups.
    """

    name: str
    description: str
    colour: str
    bases: tuple[str, ...]
    groups: Callable[[int, int], int] | None = None


KINDS = {
    "bn": Kind("BatchNorm", "BatchNorm", "#9CCBEB", ("BatchNormalization", "BatchNormalizationBase")),
    "gn": Kind("GroupNorm", "GroupNorm", "#FFD58A", ("GroupNormalization",), lambda channels, groups: groups),
    "ln": Kind(
        "LayerNorm",
        "GroupNorm with one group (LayerNorm over channels and positions)",
        "#A8DDB5",
        ("GroupNormalization", "LayerNormalization"),
        lambda channels, groups: 1,
    ),
    "in": Kind(
        "InstanceNorm",
        "GroupNorm with a group per channel (InstanceNorm)",
        "#E5B8D3",
        ("GroupNormalization",),
        lambda channels, groups: channels,
    ),
}


def find_kind(layer: Any, channels: int = 0) -> str | None:
    """Return the kind of a layer of any Keras model, or None where it is none of them.

    Args:
        layer: A Keras layer.
        channels: Number of channels that it normalizes, which tells GroupNorm's kinds from each other.
    """
    # By name: classes of addons are only there where addons has been imported.
    for base in type(layer).__mro__:
        of_library = base.__module__.split(".")[0] in _LIBRARIES
        if of_library and base.__name__ == "GroupNormalization":
            return "ln" if layer.groups == 1 else "in" if layer.groups == channels else "gn"
        found = [name for name, kind in KINDS.items() if of_library and base.__name__ in kind.bases]
        if found:
            return found[0]
    return None


def normalization_layer(
    kind: str,
    channels: int,
    groups: int,
    momentum: float = 0.99,
    provider: str = "auto",
    epsilon: float = 0.001,
    **options: object,
) -> Any:
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
    from normlib.tf import KERAS_3, tf

    options = {"axis": 3, "epsilon": epsilon, **options}
    number = KINDS[kind].groups
    if number is None:
        return tf.keras.layers.BatchNormalization(momentum=momentum, **options)
    options["groups"] = number(channels, groups)
    if stack.resolve_provider(provider) == "keras":
        provided = tf.keras.layers.GroupNormalization
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notice that addons gets no more releases, which the README says
            import tensorflow_addons
        provided = tensorflow_addons.layers.GroupNormalization
    made = provided(**options)
    return _in_float32(provided)(**options) if made.compute_dtype in _HALF and not KERAS_3 else made


@functools.cache
def _in_float32(provided: Any) -> Any:
    """Return a class of layers that normalize in float32, whatever their dtype policy, as Keras 3's do.

    Those of Keras 2 and of addons keep the variance in float16, in which it is infinite from a standard deviation of
    256 on: all that leaves is then 0.
    """
    from normlib.tf import tf

    @tf.keras.utils.register_keras_serializable("normlib", f"{provided.__module__.split('.')[0]}_float32")
    class GroupNormalization(provided):
        def add_weight(self, *args: Any, **options: Any) -> tf.Variable:
            return super().add_weight(*args, **{**options, "dtype": "float32", "experimental_autocast": False})

        def call(self, inputs: tf.Tensor) -> tf.Tensor:
            return tf.cast(super().call(tf.cast(inputs, tf.float32)), self.compute_dtype)

    return GroupNormalization
