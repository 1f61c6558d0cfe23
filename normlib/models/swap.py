"""Swap: put other normalization where a Keras model has some."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable

import pandas as pd

from normlib import stack
from normlib.errors import RequestError, checked, one_of, real_number, whole_number
from normlib.models import batch_norm, copies, graphs, zoo
from normlib.models.kinds import KINDS, check_own_kind, find_kind, is_own, kind_of, normalization_layer
from normlib.models.ordering import Ordering
from normlib.tf import KERAS_3, tf

# What a layer that replaces a BatchNorm takes over from it, as Keras writes it into a layer's configuration.
_TAKEN_OVER = (
    *("center", "scale", "epsilon", "dtype", "trainable"),
    *(f"{weight}_{role}" for weight in ("gamma", "beta") for role in ("initializer", "regularizer", "constraint")),
)


@checked
def swap(
    model: tf.keras.Model,
    ordering: str,
    groups: int | None = None,
    *,
    replace: str | Iterable[str] = "bn",
    keep_affine: bool = False,
    channels_per_group: int | None = None,
    momentum: float | None = None,
    epsilon: float | None = None,
    provider: str = "auto",
    strict: bool = False,
) -> tf.keras.Model:
    """Return a copy of a model in which other normalization stands where it has BatchNorm, or another kind.

    The layers of the kinds that are replaced are its slots, those of models nested in it among them, in data-flow
    order; a layer that is called more than once is one slot. What replaces one takes over its axis, whether it has a
    scale and an offset, their initializers, regularizers and constraints, epsilon, dtype policy, whether it is
    trainable, and its name; several layers in a slot are a Sequential of that name. Scale and offset start from their
    initializers, as new layers do, unless they are kept. All other layers keep their weights, and so does BatchNorm in
    a slot where it stands alone.

    Args:
        model: A Sequential or Functional model with such layers. It is left as it is.
        ordering: What stands in the slots, repeated from the first to the last one: ``"gn"`` in all of them,
            ``"gn/bn"`` in turn, ``"bn+gn/none"`` both stacked and nothing in turn. Kinds as ``normalization_layer``.
        groups: Number of groups for ``gn``. None: 32, as Wu and He 2018 (arXiv 1803.08494, section 3.1).
        replace: The kind of the layers that are replaced, as ``slots`` names it, or several kinds.
        keep_affine: Carry the values of scale and offset over, to the last layer of each slot; an empty slot has none.
        channels_per_group: Channels of a group for ``gn``, instead of ``groups`` (there, table 3).
        momentum: Of BatchNorm's moving averages, from 0 up to, but not including, 1. None: each layer's own.
        epsilon: Of all normalization, above 0. None: each layer's own.
        provider: Library that GroupNorm comes from: ``addons``, ``keras`` or ``auto``.
        strict: Refuse groups that do not divide a layer's channels, instead of taking the next smaller number that
            does and saying so in one warning. Where a channel is one number, fewer groups than channels are needed.

    ``rms`` has no offset to take over; one warning says of which layers. ``dyt`` has no epsilon.

    Returns:
        The copy, not compiled: a plain Sequential or Functional model, without methods that its class adds.

    Raises:
        RequestError: A model without slots, not Sequential or Functional, not built, with such layers inside layers
            of other kinds, or with layers that cannot be made anew from their configurations; an ordering with
            more slots than the model; ``in`` where a group would be one number; ``gn``, ``ln`` or ``in`` in place of a
            transformer's normalization of tokens; settings that are not allowed.
    """
    places = _slots(model, replace)
    if groups is not None and channels_per_group is not None:
        problem = f"channels_per_group is given too ({channels_per_group!r}): set one of the two"
        raise RequestError("groups", groups, problem=problem)
    name, number = ("groups", groups) if channels_per_group is None else ("channels_per_group", channels_per_group)
    number = zoo.OWN_MODEL.groups if number is None else whole_number(name, number, minimum=1)
    layers = Ordering.parse(ordering, len(places), repeated=True)
    checks = {
        "momentum": (momentum, "a number from 0 up to, but not including, 1", lambda value: 0 <= value < 1),
        "epsilon": (epsilon, "a number above 0", lambda value: value > 0),
    }
    changes = {setting: real_number(setting, *check) for setting, check in checks.items() if check[0] is not None}
    provider = stack.resolve_provider(provider)

    made: copies.Layers = {}
    kept, misfits, lost = [], [], []
    for slot, (place, kinds) in enumerate(zip(places, layers.slots, strict=True), start=1):
        if kinds == ("bn",) and batch_norm.is_batch_norm(place.layer):
            kept.append(place.layer)
            continue
        _check_kinds(place, kinds, slot, ordering)
        if kinds and not kind_of(kinds[-1]).has_offset and getattr(place.layer, "center", False):
            lost.append(place.path)
        own, grouped = [kind for kind in kinds if is_own(kind)], "gn" in kinds
        taken, fits = _choose_groups(place, name, number, strict and grouped) if own or grouped else (1, True)
        if grouped and not fits:  # a kind of one's own may pass over the number of groups
            misfits.append(f"{place.path} ({place.channels} channels, {taken} group{'s' * (taken > 1)})")
        for kind, node in itertools.product(own, place.nodes):
            with graphs.keeping_seeds():
                check_own_kind(kind, place.path, tf.nest.flatten(node.outputs)[0], place.channels, taken)
        made[id(place.layer)] = _replacement(place, kinds, taken, provider, changes)
    if misfits:
        text = f"{name} {number} does not fit all layers; the nearest divisor below is taken for"
        warnings.warn(f"{text} {graphs.shortened(misfits)}", stacklevel=3)
    if lost:
        warnings.warn(f"no offset is taken over, since rms has none, from {graphs.shortened(lost)}", stacklevel=3)
    copy = copies.copy_model(model, made)
    for layer in kept:
        for setting, value in changes.items():
            setattr(made[id(layer)], setting, value)
    if keep_affine:
        for place in places:
            _carry_affine(place.layer, made[id(place.layer)])
    return copy


@checked
def slots(model: tf.keras.Model) -> pd.DataFrame:
    """Return one row a normalization layer, in data-flow order, those within other layers included.

    Args:
        model: Any Keras model that is built.

    Returns:
        Indexed by ``slot``, from 1: ``layer`` (its path, ``outer/inner``), ``kind`` (GroupNorm is ``ln`` with one group
        and ``in`` with a group per channel; Keras' LayerNormalization is ``lnc`` over one axis, else ``ln``),
        ``channels``, ``groups`` (None unless it is GroupNorm), ``output shape`` (``None``: the batch, or not known),
        ``parameters``, and ``can be swapped``: whether ``swap`` can replace it, which it cannot inside wrappers and
        layers of one's own.

    Raises:
        RequestError: No Keras model, one that is not built, or one with moving averages in a layer that is not Keras'
            BatchNorm.
    """
    graphs.check_model(model)
    batch_norm.batch_norm_layers(model)
    columns = ["layer", "kind", "channels", "groups", "output shape", "parameters", "can be swapped"]
    rows = [
        (
            *(place.path, kind, place.channels or None, getattr(place.layer, "groups", None), str(place.shape)),
            *(place.layer.count_params(), place.in_graph),
        )
        for place in graphs.find_places(model)
        if (kind := find_kind(place.layer, place.channels)) is not None
    ]
    table = pd.DataFrame(rows, pd.RangeIndex(1, len(rows) + 1, name="slot"), columns, dtype=object)
    return table.astype({"channels": "Int64", "parameters": "int64", "can be swapped": bool})


def _slots(model: tf.keras.Model, replace: str | Iterable[str]) -> list[graphs.Place]:
    replaced = [replace] if isinstance(replace, str) else list(replace)
    if not replaced:
        one_of("replace", replace, KINDS)
    for kind in replaced:
        if not is_own(kind):
            one_of("replace", kind, KINDS)
    graphs.check_model(model, graph=True)
    batch_norm.batch_norm_layers(model)
    places = [(place, find_kind(place.layer, place.channels)) for place in graphs.find_places(model)]
    found = [place for place, kind in places if kind in replaced]
    names = " or ".join(dict.fromkeys(replaced))
    if not found:
        there = sorted({repr(kind) for _, kind in places if kind})
        hint = f"; what it has is replaced with replace={', '.join(there)}" if there else ""
        raise RequestError("model", model.name, problem=f"it has no slot, which is a layer of the kind {names}{hint}")
    for place in found:
        if not place.in_graph:
            around = (outer for outer, _ in places if outer.in_graph and place.path.startswith(f"{outer.path}/"))
            outer = next(outer for outer in around if not graphs.has_graph(outer.layer))
            problem = f"swap cannot reach the {names} inside {type(outer.layer).__name__} {outer.path!r}"
            raise RequestError("model", model.name, problem=problem)
    return found


def _choose_groups(place: graphs.Place, name: str, number: int, strict: bool) -> tuple[int, bool]:
    """Return the number of groups for a layer, and whether it is what was set."""
    channels = place.channels
    wanted = number if name == "groups" else channels // number
    # With a group per channel where a channel is one number, nothing but the offset would be left.
    most = channels if place.has_positions else channels // 2
    divisors = [divisor for divisor in range(1, most + 1) if channels % divisor == 0]
    if not divisors:
        problem = f"GroupNorm cannot replace {place.path!r}, which normalizes one channel without positions"
        raise RequestError(name, number, problem=problem)
    taken = max((divisor for divisor in divisors if divisor <= wanted), default=1)
    fits = number == (taken if name == "groups" else channels / taken)
    if strict and not fits:
        fitting = divisors if name == "groups" else [channels // divisor for divisor in reversed(divisors)]
        allowed = f"a divisor of the {channels} channels of {place.path!r}: {', '.join(map(str, fitting))}"
        raise RequestError(name, number, allowed)
    return taken, fits


def _check_kinds(place: graphs.Place, kinds: tuple[str, ...], slot: int, ordering: str) -> None:
    where = f"slot {slot} ({place.path!r}, {place.shape})"
    alone = [kind for kind in kinds if kind == "in" or (kind == "ln" and place.channels == 1)]
    tokens = place.shape is not None and len(place.shape) == 3 and find_kind(place.layer) in ("lnc", "rms", "dyt")
    grouped = [kind for kind in kinds if not is_own(kind) and KINDS[kind].groups]
    single = [kind for kind in kinds if kind in ("lnc", "rms") and place.channels == 1]
    if any(map(is_own, kinds)) and (place.shape is None or place.axis != len(place.shape) - 1):
        problem = f"{where} normalizes another axis than the last, where no kind of your own can stand"
    elif kinds and len(graphs.axes_of(place.layer)) != 1:
        problem = f"{where} normalizes over several axes, where only bn or none can stand"
    elif single:
        problem = f"{where} has one channel, which is all that {single[0]!r} would normalize over"
    elif tokens and grouped:
        problem = f"{where} normalizes tokens, of which {grouped[0]!r} would take all of an example together: see 'lnc'"
    elif alone and not place.has_positions:
        problem = f"{where} has no positions, so that a group of {alone[0]!r} would be one number"
    else:
        return
    raise RequestError("ordering", ordering, problem=problem)


def _replacement(
    place: graphs.Place, kinds: tuple[str, ...], groups: int, provider: str, changes: dict[str, float]
) -> tf.keras.layers.Layer:
    """Return the layer, or the Sequential of layers, that stands in a slot instead of another."""
    config = {**place.layer.get_config(), **changes}
    options = {key: config[key] for key in _TAKEN_OVER if key in config} | {"axis": place.axis}

    def layer(kind: str, name: str) -> tf.keras.layers.Layer:
        if kind == "bn" and batch_norm.is_batch_norm(place.layer):
            return type(place.layer).from_config({**config, "name": name})
        return normalization_layer(
            kind, place.channels, groups, config.get("momentum", 0.99), provider, name=name, **options
        )

    name = place.layer.name
    if len(kinds) == 1:
        return layer(kinds[0], name)
    if not kinds:
        replacement = tf.keras.layers.Identity(name=name, dtype=config["dtype"], trainable=config["trainable"])
    else:
        # A name for each weight that no other has: Keras 2 writes those of a nested model side by side into one file.
        names = [f"{name}_{number}_{kind.rpartition(':')[2]}" for number, kind in enumerate(kinds, 1)]
        # Keras 3 would hold all calls to the shape of the first; Keras 2 cannot clone with it, and widens it itself.
        entrance = [tf.keras.Input(batch_shape=place.shape, dtype=place.layer.compute_dtype)] if KERAS_3 else []
        replacement = tf.keras.Sequential([*entrance, *map(layer, kinds, names)], name=name)
    replacement.supports_masking = True  # as BatchNorm
    return replacement


def _carry_affine(original: tf.keras.layers.Layer, replacement: tf.keras.layers.Layer) -> None:
    last = replacement.layers[-1] if isinstance(replacement, tf.keras.Sequential) else replacement
    for name in ("gamma", "beta"):
        value, other = getattr(original, name, None), getattr(last, name, None)
        if value is not None and other is not None:
            other.assign(tf.cast(tf.reshape(value, other.shape), other.dtype))
