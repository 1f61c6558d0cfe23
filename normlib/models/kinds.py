"""Kinds of normalization: one table says all that normlib knows of each.

All in it have a scale and an offset for each channel. A kind of one's own is an import path, ``my_norms:Centred``.
"""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from normlib import stack
from normlib.errors import RequestError, told

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


# What is a user's own, a kind or a model, is named by where Python imports it from: ``package.module:name``.
OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_OWN_COLOUR = "#D9C7F0"
_own_classes: dict[type, str] = {}  # kinds by the classes of the layers that they gave, for find_kind


def is_own(kind: str) -> bool:
    """Tell whether a kind is one's own."""
    return OWN.fullmatch(kind) is not None


def kind_of(name: str) -> Kind:
    """Return what is known of a kind; one's own is called by the part behind the colon."""
    return Kind(name.rpartition(":")[2], name, _OWN_COLOUR, ()) if is_own(name) else KINDS[name]


def find_kind(layer: Any, channels: int = 0) -> str | None:
    """Return the kind of a layer of any Keras model, or None where it is none of them.

    Args:
        layer: A Keras layer.
        channels: Number of channels that it normalizes, which tells GroupNorm's kinds from each other.
    """
    if type(layer) in _own_classes:
        return _own_classes[type(layer)]
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
        kind: ``bn``, ``gn``, ``ln`` or ``in``; or one's own, see ``own_layer``, to which only ``name`` is handed on.
        channels: Number of channels.
        groups: Number of groups for ``gn``; divides ``channels``.
        momentum: Of BatchNorm's moving averages.
        provider: Library that GroupNorm comes from: ``addons``, ``keras`` or ``auto``.
        epsilon: What is added to the variance.
        options: Further arguments of the Keras layer, such as ``axis`` (3 unless given), ``center``, ``scale``,
            ``gamma_initializer``, ``name`` and ``dtype``.
    """
    from normlib.tf import KERAS_3, tf

    if is_own(kind):
        return own_layer(kind, channels, groups, options.get("name"))
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


def own_layer(path: str, channels: int, groups: int, name: object = None) -> Any:
    """Return a layer of a kind of one's own.

    Args:
        path: ``package.module:name``, of a Keras layer class, which is called without arguments, or of a function from
            the numbers of channels and of groups to a layer. It is imported from where Python finds it.
        channels: Number of channels, the last axis.
        groups: Number of groups; divides ``channels``.
        name: What the layer is called; None: as it calls itself.

    Raises:
        RequestError: It cannot be imported, fails, or gives no layer.
    """
    from normlib.tf import KERAS_3, tf

    module, _, attribute = path.partition(":")
    allowed = "a Keras layer class, or a function of channels and groups that returns a layer"
    try:
        maker = getattr(importlib.import_module(module), attribute)
        layer = maker() if isinstance(maker, type) else maker(channels, groups)
    except (Exception, SystemExit) as error:  # whatever somebody's code raises
        raise RequestError("kind", path, f"{allowed}, and it gave {told(error)}") from None
    if not isinstance(layer, tf.keras.layers.Layer):
        raise RequestError("kind", path, f"{allowed}, and it gave {layer!r:.80}")
    if type(layer).__module__.split(".")[0] not in _LIBRARIES:
        _own_classes[type(layer)] = path
    if name is not None:
        setattr(layer, "name" if KERAS_3 else "_name", name)
    return layer


def check_kept(path: str, place: str, before: Any, after: Any) -> None:
    """Refuse a kind of one's own whose layer does not keep the shape and the dtype of what it normalizes.

    Args:
        path: The kind.
        place: Where it stands.
        before: What enters, a symbolic tensor of Keras.
        after: What leaves.

    Raises:
        RequestError: They differ.
    """
    found = [(tuple(tensor.shape), dtype_name(tensor.dtype)) for tensor in (before, after)]
    if found[0] != found[1]:
        told_both = " and gives ".join(f"{shape} of {dtype}" for shape, dtype in found)
        raise RequestError("kind", path, f"a layer that keeps shape and dtype; in {place} it takes {told_both}")


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype, which Keras 3 gives as text."""
    return getattr(dtype, "name", dtype)


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
