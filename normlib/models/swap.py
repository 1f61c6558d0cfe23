"""Swap: put other normalization where a Keras model has some."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable

import pandas as pd

from normlib import stack
from normlib.errors import RequestError, checked, one_of, real_number, told, whole_number
from normlib.models import batch_norm, copies, graphs, zoo
from normlib.models.kinds import KINDS, check_kept, dtype_name, find_kind, is_own, normalization_layer, own_layer
from normlib.models.ordering import Ordering
from normlib.tf import KERAS_3, tf

_SHOWN = 3  # layers named in a message
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

    Returns:
        The copy, not compiled: a plain Sequential or Functional model, without methods that its class adds.

    Raises:
        RequestError: A model without slots, not Sequential or Functional, not built, with such layers inside layers
            of other kinds, or with layers that cannot be made anew from their configurations; an ordering with
            more slots than the model; ``in`` where a group would be one number; settings that are not allowed.
    """
    places = _slots(model, _replaced(replace))
    repeated = _repeat(ordering, len(places))
    if groups is not None and channels_per_group is not None:
        raise RequestError("groups", groups, f"None where channels_per_group is given ({channels_per_group!r})")
    name, number = ("groups", groups) if channels_per_group is None else ("channels_per_group", channels_per_group)
    number = zoo.OWN_MODEL.groups if number is None else whole_number(name, number, minimum=1)
    changes = _changes(momentum, epsilon)
    provider = stack.resolve_provider(provider)

    made, misfits, anew = {}, [], set()
    for slot, (place, kinds) in enumerate(zip(places, repeated, strict=True), start=1):
        # A kind of one's own may pass over the number of groups, so that none is refused or warned of.
        grouped = "gn" in kinds or any(map(is_own, kinds))
        taken, fits = _choose_groups(place, name, number, strict and "gn" in kinds) if grouped else (1, True)
        fits = fits or "gn" not in kinds
        misfits += [] if fits else [(place, taken)]
        _check_kinds(place, kinds, slot, ordering)
        for kind in filter(is_own, kinds):
            _check_own_kind(kind, place, taken)
        made[id(place.layer)] = _replacement(place, kinds, taken, provider, changes)
        if not (kinds == ("bn",) and batch_norm.is_batch_norm(place.layer)):
            anew.add(id(place.layer))
    if misfits:
        warnings.warn(_misfit_text(misfits, name, number), stacklevel=2)
    copy = copies.copy_model(model, made, anew)
    if keep_affine:
        for place in places:
            _carry_affine(place.layer, made[id(place.layer)])
    return copy


def slots(model: tf.keras.Model) -> pd.DataFrame:
    """Return one row a normalization layer, in data-flow order, those within other layers included.

    Args:
        model: Any Keras model that is built.

    Returns:
        Indexed by ``slot``, from 1: ``layer`` (its path, ``outer/inner``), ``kind`` (GroupNorm is ``ln`` with one group
        and ``in`` with a group per channel; Keras' LayerNormalization is ``ln``), ``channels``, ``groups`` (None unless
        it is GroupNorm), ``output shape`` (``None``: the batch, or not known), ``parameters``, and ``can be swapped``:
        whether ``swap`` can replace it, which it cannot inside wrappers and layers of one's own.

    Raises:
        RequestError: No Keras model, one that is not built, or one with moving averages in a layer that is not Keras'
            BatchNorm.
    """
    graphs.check_model(model)
    batch_norm.batch_norm_layers(model)
    places = [
        (place, kind)
        for place in graphs.find_places(model)
        if (kind := find_kind(place.layer, place.channels)) is not None
    ]
    index = pd.RangeIndex(1, len(places) + 1, name="slot")
    channels = [place.channels or None for place, _ in places]
    frame = pd.DataFrame(index=index)
    frame["layer"] = pd.Series([place.path for place, _ in places], index, dtype=object)
    frame["kind"] = pd.Series([kind for _, kind in places], index, dtype=object)
    frame["channels"] = pd.Series(channels, index, dtype="Int64" if None in channels else "int64")
    frame["groups"] = pd.Series([getattr(place.layer, "groups", None) for place, _ in places], index, dtype=object)
    frame["output shape"] = pd.Series([str(place.shape) for place, _ in places], index, dtype=object)
    frame["parameters"] = pd.Series([place.layer.count_params() for place, _ in places], index, dtype="int64")
    frame["can be swapped"] = pd.Series([place.in_graph for place, _ in places], index, dtype=bool)
    return frame


def _replaced(replace: str | Iterable[str]) -> set[str]:
    kinds = [replace] if isinstance(replace, str) else replace
    try:
        kinds = list(kinds)
    except TypeError:
        raise RequestError("replace", replace, f"one or more of {', '.join(KINDS)}") from None
    for kind in kinds:
        if not (isinstance(kind, str) and is_own(kind)):
            one_of("replace", kind, KINDS)
    if not kinds:
        raise RequestError("replace", replace, f"one or more of {', '.join(KINDS)}")
    return set(kinds)


def _slots(model: tf.keras.Model, replaced: set[str]) -> list[graphs.Place]:
    graphs.check_model(model, graph=True)
    batch_norm.batch_norm_layers(model)
    places = list(graphs.find_places(model))
    found = [place for place in places if find_kind(place.layer, place.channels) in replaced]
    names = " or ".join(sorted(replaced, key=[*KINDS, *sorted(replaced)].index))
    for place in found:
        if not place.in_graph:
            outer = next(
                p
                for p in places
                if p.in_graph and not graphs.has_graph(p.layer) and place.path.startswith(f"{p.path}/")
            )
            inside = f"{type(outer.layer).__name__} {outer.path!r}"
            allowed = f"one whose {names} swap can reach; it cannot reach that inside {inside}"
            raise RequestError("model", model.name, allowed)
    if not found:
        there = sorted({kind for place in places if (kind := find_kind(place.layer, place.channels)) is not None})
        hint = f"; what it has is replaced with replace={', '.join(map(repr, there))}" if there else ""
        raise RequestError("model", model.name, f"one with {names}, in whose place to swap; it has no slot{hint}")
    return found


@graphs.keeping_seeds()
def _check_own_kind(kind: str, place: graphs.Place, groups: int) -> None:
    """Refuse a kind of one's own that cannot stand in a slot, or does not keep shape and dtype there."""
    for node in place.nodes:
        before = tf.nest.flatten(node.outputs)[0]
        entrance = tf.keras.Input(batch_shape=tuple(before.shape), dtype=dtype_name(before.dtype))
        try:
            after = own_layer(kind, place.channels, groups)(entrance)
        except RequestError:
            raise
        except Exception as error:  # whatever somebody's code raises
            raise RequestError("kind", kind, f"one that can stand in {place.path}, and it gave {told(error)}") from None
        check_kept(kind, place.path, entrance, after)


def _carry_affine(original: tf.keras.layers.Layer, replacement: tf.keras.layers.Layer) -> None:
    last = replacement.layers[-1] if isinstance(replacement, tf.keras.Sequential) else replacement
    for name in ("gamma", "beta"):
        value, other = getattr(original, name, None), getattr(last, name, None)
        if value is not None and other is not None:
            other.assign(tf.cast(tf.reshape(value, other.shape), other.dtype))


def _repeat(ordering: str, count: int) -> list[tuple[str, ...]]:
    pattern = Ordering.parse(ordering, None).slots
    if len(pattern) > count:
        allowed = f"at most as many slots as the model has, which is {count}, and this has {len(pattern)}"
        raise RequestError("ordering", ordering, allowed)
    return list(itertools.islice(itertools.cycle(pattern), count))


def _changes(momentum: float | None, epsilon: float | None) -> dict[str, float]:
    changes = {}
    if momentum is not None:
        allowed = "a number from 0 up to, but not including, 1"
        changes["momentum"] = real_number("momentum", momentum, allowed, lambda value: 0 <= value < 1)
    if epsilon is not None:
        changes["epsilon"] = real_number("epsilon", epsilon, "a number above 0", lambda value: value > 0)
    return changes


def _choose_groups(place: graphs.Place, name: str, number: int, strict: bool) -> tuple[int, bool]:
    """Return the number of groups for a layer, and whether it is what was asked for."""
    channels = place.channels
    wanted = number if name == "groups" else channels // number
    # With a group per channel where a channel is one number, nothing but the offset would be left.
    most = channels if place.has_positions else channels // 2
    divisors = [divisor for divisor in range(1, most + 1) if channels % divisor == 0]
    if not divisors:
        allowed = f"no GroupNorm in place of {place.path!r}, which normalizes one channel without positions"
        raise RequestError(name, number, allowed)
    taken = max((divisor for divisor in divisors if divisor <= wanted), default=1)
    fits = number == (taken if name == "groups" else channels / taken)
    if strict and not fits:
        fitting = divisors if name == "groups" else [channels // divisor for divisor in reversed(divisors)]
        allowed = f"what divides the {channels} channels of layer {place.path!r}: {', '.join(map(str, fitting))}"
        raise RequestError(name, number, allowed)
    return taken, fits


def _misfit_text(misfits: list[tuple[graphs.Place, int]], name: str, number: int) -> str:
    shown = [
        f"{place.path} ({place.channels} channels, {taken} {'group' if taken == 1 else 'groups'})"
        for place, taken in misfits[:_SHOWN]
    ]
    more = [f"{len(misfits) - _SHOWN} more"] if len(misfits) > _SHOWN else []
    return f"{name} {number} does not fit all layers; the nearest divisor below is taken for {', '.join(shown + more)}"


def _check_kinds(place: graphs.Place, kinds: tuple[str, ...], slot: int, ordering: str) -> None:
    same = kinds == ("bn",) and batch_norm.is_batch_norm(place.layer)
    if any(map(is_own, kinds)) and (place.shape is None or place.axis != len(place.shape) - 1):
        allowed = f"no kind of your own in slot {slot}, where {place.path!r} normalizes another axis than the last"
        raise RequestError("ordering", ordering, allowed)
    if kinds and not same and len(place.axes) != 1:
        allowed = f"bn or none in slot {slot}, whose layer {place.path!r} normalizes over several axes"
        raise RequestError("ordering", ordering, allowed)
    if not place.has_positions and ("in" in kinds or ("ln" in kinds and place.channels == 1)):
        kind = "in" if "in" in kinds else "ln"
        allowed = f"no {kind!r} in slot {slot}, {place.path!r} {place.shape}: without positions a group is one number"
        raise RequestError("ordering", ordering, allowed)


def _replacement(
    place: graphs.Place, kinds: tuple[str, ...], groups: int, provider: str, changes: dict[str, float]
) -> tf.keras.layers.Layer:
    """Return the layer, or the Sequential of layers, that stands in a slot instead of a BatchNorm."""
    config = {**graphs.config_of(place.layer), **changes}
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
        replacement = _stack(
            [layer(kind, f"{name}_{number}_{kind.rpartition(':')[2]}") for number, kind in enumerate(kinds, 1)], place
        )
    replacement.supports_masking = True  # as BatchNorm
    return replacement


def _stack(layers: list[tf.keras.layers.Layer], place: graphs.Place) -> tf.keras.Sequential:
    # Keras 3 would hold all calls to the shape of the first; Keras 2 cannot clone with it, and widens the shape itself.
    entrance = [tf.keras.Input(batch_shape=place.shape, dtype=place.layer.compute_dtype)] if KERAS_3 else []
    return tf.keras.Sequential([*entrance, *layers], name=place.layer.name)
