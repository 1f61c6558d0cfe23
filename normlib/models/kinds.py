"""Kinds of normalization: one table says all that normlib knows of each.

All in it have a scale for each channel, and all but RMSNorm an offset. A kind of one's own is an import path,
``my_norms:Centred``.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from normlib import stack
from normlib.errors import RequestError, describe_error

EMPTY = "none"  # what a slot is called in which nothing stands
_HALF = ("float16", "bfloat16")
_LIBRARIES = ("keras", "tf_keras", "tensorflow_addons", "normlib")


@dataclass(frozen=True)
class Kind:
    """All that is known of a kind of normalization.

    Args:
        name: What it is called.
        colour: Of its boxes; black text is read on it at more than 10 to 1.
        bases: Names of the classes, Keras', addons' or normlib's, of which its layers are.
        groups: Number of groups, from the number of channels and the number that is set; None: it has no groups.
        has_offset: Whether its layers have an offset for each channel.
    """

    name: str
    colour: str
    bases: tuple[str, ...]
    groups: Callable[[int, int], int] | None = None
    has_offset: bool = True


KINDS = {
    "bn": Kind("BatchNorm", "#9CCBEB", ("BatchNormalization", "BatchNormalizationBase")),
    "gn": Kind("GroupNorm", "#FFD58A", ("GroupNormalization",), lambda channels, groups: groups),
    "ln": Kind("LayerNorm", "#A8DDB5", ("GroupNormalization",), lambda channels, groups: 1),
    "in": Kind("InstanceNorm", "#E5B8D3", ("GroupNormalization",), lambda channels, groups: channels),
    "lnc": Kind("LayerNorm of channels", "#D3E59B", ("LayerNormalization",)),
    "rms": Kind("RMSNorm", "#F6BFA6", ("RMSNormalization",), has_offset=False),
    "dyt": Kind("DyT", "#D4D4D4", ("DynamicTanh",)),
}


# What is a user's own, a kind or a model, is named by where Python imports it from: ``package.module:name``.
_OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_LONGEST_PATH = 200  # characters
_OWN_COLOUR = "#D9C7F0"
_own_classes: dict[type, str] = {}  # kinds by the classes of the layers that they gave, for find_kind


def is_own(path: object) -> bool:
    """Tell whether a text is the import path of a kind or a model of one's own."""
    return isinstance(path, str) and len(path) <= _LONGEST_PATH and _OWN.fullmatch(path) is not None


def path_of(setting: str, function: Callable[..., Any]) -> str:
    """Return the import path under which this process finds a function, a notebook's own among them.

    Raises:
        RequestError: It is not found under its name, as a lambda or a function within another.
    """
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    path = f"{module}:{name}"
    if not is_own(path) or getattr(sys.modules.get(str(module)), name, None) is not function:
        allowed = "a function that stands at the top of a module or of a notebook"
        raise RequestError(setting, name or type(function).__name__, allowed)
    return path


def call_own(setting: str, path: str, expected: str, call: Callable[[Any], Any], returns: type) -> Any:
    """Import what is a user's own, and return what a call of it gives.

    Args:
        setting: What names it.
        path: ``package.module:name``.
        expected: What it has to be, as a phrase.
        call: Calls what was imported.
        returns: The class of what that has to give.

    Raises:
        RequestError: It cannot be imported, fails, or gives something else.
    """
    module, _, name = path.partition(":")
    with refuse_failure(setting, path, f"must be {expected}"):
        found = call(getattr(importlib.import_module(module), name))
    if not isinstance(found, returns):
        raise RequestError(setting, path, f"{expected}; it returned {found!r:.80}")
    return found


@contextlib.contextmanager
def refuse_failure(setting: str, value: object, problem: str) -> Iterator[None]:
    """Refuse a request at which somebody else's code fails meanwhile; running out of memory is no such failure.

    Args: as for ``RequestError``; what was raised is added to the problem.

    Raises:
        RequestError: Something was raised.
    """
    try:
        yield
    except (RequestError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's own, which this module does without
            raise
        raise RequestError(setting, value, problem=f"{problem}; it raised {describe_error(error)}") from error


def kind_of(name: str) -> Kind:
    """Return what is known of a kind; one's own is called by the part behind the colon."""
    return Kind(name.rpartition(":")[2], _OWN_COLOUR, ()) if is_own(name) else KINDS[name]


def find_kind(layer: Any, channels: int = 0) -> str | None:
    """Return the kind of a layer of any Keras model, or None where it is none of them.

    Args:
        layer: A Keras layer.
        channels: Number of channels that it normalizes, which tells GroupNorm's kinds from each other.
    """
    if type(layer) in _own_classes:
        return _own_classes[type(layer)]
    # By name: classes of addons are only there where addons has been imported.
    bases = [base.__name__ for base in type(layer).__mro__ if base.__module__.split(".")[0] in _LIBRARIES]
    if "GroupNormalization" in bases:
        return "ln" if layer.groups == 1 else "in" if layer.groups == channels else "gn"
    found = next((name for base in bases for name, kind in KINDS.items() if base in kind.bases), None)
    return "ln" if found == "lnc" and not isinstance(layer.axis, int) and len(layer.axis) > 1 else found


def normalization_layer(
    kind: str,
    channels: int,
    groups: int,
    momentum: float = 0.99,
    provider: str = "auto",
    epsilon: float = 0.001,
    statistics_batch: int | None = None,
    **options: object,
) -> Any:
    """Return a layer that normalizes images ``[batch, height, width, channels]``.

    Each computes ``scale * (x - mean) / sqrt(variance + epsilon) + offset``, with the mean and the (biased) variance
    over

    - ``bn``: batch and positions, for each channel; at inference, their moving averages (Ioffe and Szegedy 2015,
      arXiv 1502.03167, algorithms 1 and 2);
    - ``gn``: positions and the channels of a group, for each image and group of consecutive channels (Wu and He 2018,
      arXiv 1803.08494, section 3.1);
    - ``ln``: as ``gn``, one group; ``in``: as ``gn``, a group per channel (there, section 3.1 as well);
    - ``lnc``: channels, for each image and position or token (Ba, Kiros and Hinton 2016, arXiv 1607.06450, section 3;
      as in ConvNeXt and transformers).

    ``rms`` divides by the root mean square over channels, without a mean and an offset, and ``dyt`` computes
    ``scale * tanh(alpha * x) + offset``: see ``normlib.models.layers``.

    Args:
        kind: One of ``KINDS``; or one's own, see ``own_layer``, to which only ``name`` is handed on.
        channels: Number of channels.
        groups: Number of groups for ``gn``; divides ``channels``.
        momentum: Of BatchNorm's moving averages.
        provider: Library that GroupNorm comes from: ``addons``, ``keras`` or ``auto``.
        epsilon: What is added to the variance.
        statistics_batch: Examples of a part of the batch over which BatchNorm takes its statistics; None: all.
        options: Further arguments of the Keras layer, such as ``axis`` (3 unless given), ``center``, ``scale``,
            ``gamma_initializer``, ``name`` and ``dtype``.
    """
    from normlib.tf import KERAS_3, tf

    if is_own(kind):
        return own_layer(kind, channels, groups, options.get("name"))
    options = {"axis": 3, "epsilon": epsilon, **options}
    number = KINDS[kind].groups
    if number is None:
        from normlib.models import layers

        if kind == "bn":
            options["momentum"] = momentum
            if statistics_batch:
                return layers.BatchNormalizationInParts(statistics_batch, **options)
            return tf.keras.layers.BatchNormalization(**options)
        provided = {
            "lnc": tf.keras.layers.LayerNormalization,
            "rms": layers.RMSNormalization,
            "dyt": layers.DynamicTanh,
        }
        return provided[kind](**options)
    options["groups"] = number(channels, groups)
    if stack.resolve_provider(provider) == "keras":
        provided = tf.keras.layers.GroupNormalization
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the notice that addons gets no more releases, which docs/stacks.md says
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
    from normlib.tf import tf

    def call(maker: Callable[..., Any]) -> Any:
        return maker() if isinstance(maker, type) else maker(channels, groups)

    expected = "a Keras layer class, or a function of channels and groups that returns a layer"
    layer = call_own("kind", path, expected, call, tf.keras.layers.Layer)
    if type(layer).__module__.split(".")[0] not in _LIBRARIES:
        _own_classes[type(layer)] = path
    if name is not None:
        rename_layer(layer, name)
    return layer


def rename_layer(layer: Any, name: object) -> None:
    """Give a layer a name after it was made."""
    from normlib.tf import KERAS_3

    setattr(layer, "name" if KERAS_3 else "_name", name)


def check_own_kind(path: str, place: str, before: Any, channels: int, groups: int) -> None:
    """Refuse a kind of one's own that cannot stand in a place of a model.

    Args: as for ``own_layer``; ``before`` is what enters in that place, a symbolic tensor of Keras.

    Raises:
        RequestError: Its layer fails, or changes shape or dtype.
    """
    from normlib.tf import tf

    entrance = tf.keras.Input(batch_shape=tuple(before.shape), dtype=_dtype_name(before))
    with refuse_failure("kind", path, f"it cannot stand in {place}"):
        after = own_layer(path, channels, groups)(entrance)
    check_kept(path, place, entrance, after)


def check_kept(path: str, place: str, before: Any, after: Any) -> None:
    """Refuse a kind of one's own whose layer changed the shape or the dtype of what it normalized."""
    enters, leaves = (f"{tuple(tensor.shape)} of {_dtype_name(tensor)}" for tensor in (before, after))
    if enters != leaves:
        problem = f"it does not keep shape and dtype: in {place} it takes {enters} and gives {leaves}"
        raise RequestError("kind", path, problem=problem)


def _dtype_name(tensor: Any) -> str:
    return getattr(tensor.dtype, "name", tensor.dtype)  # Keras 3 has text


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
