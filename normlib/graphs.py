"""Graphs: the layers of Sequential and Functional models, those nested in them included; copies with other layers."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from normlib.errors import RequestError
from normlib.tensorflow_quietly import tf

KERAS_3 = tf.keras.layers.Layer.__module__.startswith("keras.src.layers")


@dataclass(frozen=True)
class Place:
    """Where a layer stands: its path (``outer/inner`` in a nested model) and the nodes at which the model calls it."""

    path: str
    layer: tf.keras.layers.Layer
    nodes: tuple[Any, ...]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of what leaves it. None: the batch, and where calls of a shared layer differ."""
        shapes = {tuple(tf.nest.flatten(node.outputs)[0].shape) for node in self.nodes}
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))

    @property
    def axis(self) -> int:
        """Of its channels; the last one, where it has several."""
        axis = getattr(self.layer, "axis", -1)  # Keras 2 makes a list of it
        axes = [axis] if isinstance(axis, int) else list(axis)
        return axes[-1] % len(self.shape)

    @property
    def channels(self) -> int:
        """Their number."""
        return cast(int, self.shape[self.axis])  # it has weights for each, so it knows how many there are

    @property
    def has_positions(self) -> bool:
        """Whether a channel of one example is more than one number."""
        return any(size != 1 for i, size in enumerate(self.shape) if i not in (0, self.axis))


def has_graph(layer: tf.keras.layers.Layer) -> bool:
    """Tell whether a layer is itself a Sequential or Functional model, built."""
    return bool(_nodes_by_depth(layer))


def check_graph(model: tf.keras.Model) -> None:
    """Refuse what is no Sequential or Functional model, or not built.

    Raises:
        RequestError: It is.
    """
    if isinstance(model, tf.keras.Model) and has_graph(model):
        return
    value = "an unbuilt Sequential" if isinstance(model, tf.keras.Sequential) else type(model).__name__
    raise RequestError("model", value, "a Keras model, Sequential or Functional, that is built")


def find_places(model: tf.keras.Model, path: str = "", seen: set[int] | None = None) -> Iterator[Place]:
    """Yield each layer once, in data-flow order, a nested model before the layers in it.

    Args:
        model: A Sequential or Functional model, built.
        path: Of the model in an outer one, with a slash behind it.
        seen: The ``id`` of each layer that has been yielded.
    """
    seen = set() if seen is None else seen
    called: dict = {}
    # Not each layer's own list of nodes: that has its calls in other models, too.
    for node in itertools.chain.from_iterable(_nodes_by_depth(model).values()):
        called.setdefault(id(node.operation if hasattr(node, "operation") else node.layer), []).append(node)
    for layer in model.layers:
        if id(layer) not in seen:
            seen.add(id(layer))
            yield Place(path + layer.name, layer, tuple(called.get(id(layer), ())))
            if has_graph(layer):
                yield from find_places(layer, f"{path}{layer.name}/", seen)


def copy_model(model: tf.keras.Model, made: dict[int, tf.keras.layers.Layer], anew: set[int]) -> tf.keras.Model:
    """Return a copy of a model, some layers of which may be others; layers that are shared stay shared.

    Args:
        model: A Sequential or Functional model, built. It is left as it is.
        made: The copy's layers by the ``id`` of the model's own; here it gets those that are not yet in it.
        anew: Which of the model's own, by ``id``, do not hand on their weights.

    Returns:
        The copy, not compiled.

    Raises:
        RequestError: A layer that cannot be made anew from its configuration.
    """

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in made:
            made[id(layer)] = _copy_graph(layer, clone) if has_graph(layer) else _made_anew(layer, model)
        return made[id(layer)]

    copy = _copy_graph(model, clone)
    if getattr(copy, "inputs", None) is None:
        copy.build(model.input_shape)  # Keras 2, a Sequential that got its shape from build or from data
    if copy.trainable != model.trainable:
        copy.trainable = model.trainable
    for place in find_places(model):
        layer = made.get(id(place.layer))
        if layer is None:  # an input
            continue
        # From the outside in, since a model hands it on to its layers, which may have been told otherwise since.
        if layer.trainable != place.layer.trainable:
            layer.trainable = place.layer.trainable
        if not has_graph(place.layer) and id(place.layer) not in anew:
            _give_weights(layer, place.layer, model)
    return copy


def _nodes_by_depth(model: tf.keras.layers.Layer) -> Any:
    # Keras has no public way to them; Keras 3 keeps those of a Sequential one level down.
    return getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", None)


def _copy_graph(model: tf.keras.Model, clone: Callable) -> tf.keras.Model:
    # Keras 3 gives a layer what the one in its place was called with; Keras 2 leaves out itself what it does not take.
    how = {"call_function": _call} if KERAS_3 and not isinstance(model, tf.keras.Sequential) else {}
    with _as_uncompiled(model):
        return tf.keras.models.clone_model(model, clone_function=clone, **how)


def _call(layer: tf.keras.layers.Layer, *args: object, **options: object) -> object:
    """Call a layer, without ``training`` and ``mask`` if it takes none, as GroupNorm."""
    taken = inspect.signature(layer.call).parameters
    dropped = {"training", "mask"} - set(taken) if not isinstance(layer, tf.keras.Model) else set()
    return layer(*args, **{name: value for name, value in options.items() if name not in dropped})


@contextlib.contextmanager
def _as_uncompiled(model: tf.keras.Model) -> Iterator[None]:
    """Let Keras 3 not compile the clone of a compiled model, which Keras 2 does not either."""
    compiled = getattr(model, "compiled", False)
    if compiled:
        model.compiled = False
    try:
        yield
    finally:
        if compiled:
            model.compiled = True


def _made_anew(layer: tf.keras.layers.Layer, model: tf.keras.Model) -> tf.keras.layers.Layer:
    try:
        return type(layer).from_config(layer.get_config())
    except (KeyError, NotImplementedError, TypeError, ValueError):
        raise _no_copy(layer, model) from None


def _give_weights(layer: tf.keras.layers.Layer, original: tf.keras.layers.Layer, model: tf.keras.Model) -> None:
    try:
        layer.set_weights(original.get_weights())
    except ValueError:
        raise _no_copy(original, model) from None
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()  # preprocessing layers compute with what they derive from their weights


def _no_copy(layer: tf.keras.layers.Layer, model: tf.keras.Model) -> RequestError:
    allowed = f"one whose layers get_config describes in full; that of {type(layer).__name__} {layer.name!r} does not"
    return RequestError("model", model.name, allowed)
