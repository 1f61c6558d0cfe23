"""Graphs: the layers of Keras models wherever they stand, and the variables that they hold."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from normlib.errors import RequestError
from normlib.tf import KERAS_3, tf

_VARIABLE = (tf.Variable, tf.keras.Variable) if KERAS_3 else (tf.Variable,)
# Variables that Keras 2 keeps for a model's or a layer's own bookkeeping.
_COUNTERS = {"_steps_per_execution", "_train_counter", "_test_counter", "_predict_counter"}


@dataclass(frozen=True)
class Place:
    """Where a layer stands.

    Args:
        path: Its name behind those of what it stands in, ``outer/inner``.
        layer: The layer.
        nodes: Those at which a graph calls it; none of a layer that another layer's own code calls.
        in_graph: Whether it stands in the graph of the model, or of a model nested in that.
    """

    path: str
    layer: tf.keras.layers.Layer
    nodes: tuple[Any, ...]
    in_graph: bool

    @property
    def shape(self) -> tuple[int | None, ...] | None:
        """Of what leaves it; None: not known. In it, None: the batch, and where calls of a shared layer differ."""
        shapes = {tuple(tf.nest.flatten(node.outputs)[0].shape) for node in self.nodes}
        if not shapes or len({len(shape) for shape in shapes}) > 1:
            return None
        return tuple(sizes[0] if len(set(sizes)) == 1 else None for sizes in zip(*shapes, strict=True))

    @property
    def axis(self) -> int:
        """Of its channels; the last one, where it has several."""
        last = axes_of(self.layer)[-1]
        return last if self.shape is None else last % len(self.shape)

    @property
    def channels(self) -> int:
        """Their number; 0: not known."""
        if self.shape is not None:
            return self.shape[self.axis] or 0
        sizes = [weight.shape[-1] for weight in self.layer.weights if len(weight.shape)]
        return sizes[0] if sizes else 0

    @property
    def has_positions(self) -> bool:
        """Whether a channel of one example is more than one number."""
        shape = self.shape or ()
        return any(size != 1 for i, size in enumerate(shape) if i not in (0, self.axis))


def axes_of(layer: tf.keras.layers.Layer) -> tuple[int, ...]:
    """Return the axes of a normalization layer's channels."""
    axis = getattr(layer, "axis", -1)  # Keras 2 makes a list of it
    return (axis,) if isinstance(axis, int) else tuple(axis)


def is_from_keras(kind: type, name: str) -> bool:
    """Tell whether a class has a method as Keras wrote it."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return owner.__module__.split(".")[0] in {"keras", "tf_keras"}


def has_graph(layer: tf.keras.layers.Layer) -> bool:
    """Tell whether a layer is itself a Sequential or Functional model, built, whose ``call`` follows its graph."""
    return bool(_nodes_by_depth(layer)) and is_from_keras(type(layer), "call")


def check_model(model: object, graph: bool = False) -> None:
    """Refuse what is no Keras model that has been built; or, as ``graph`` says, no Sequential or Functional one."""
    kind = type(model).__name__
    allowed = f"a Keras model{', Sequential or Functional,' if graph else ''} that is built"
    if not isinstance(model, tf.keras.Model):
        raise RequestError("model", kind, allowed)
    for layer in (model, *(place.layer for place in find_places(model))):
        if ".saved_model." in type(layer).__module__:  # it runs graphs that were traced before
            problem = f"it was loaded without the class of {layer.name!r}: load it with custom_objects"
            raise RequestError("model", model.name, problem=problem)
    sequential = isinstance(model, tf.keras.Sequential)
    if graph and not sequential and not has_graph(model):
        raise RequestError("model", kind, allowed)
    if not model.built or (sequential and not has_graph(model)):
        raise RequestError("model", f"an unbuilt {kind}", f"{allowed}, as by calling it on data")


def shortened(names: list[str]) -> str:
    """Return the first three of some layers, as a message lists them, and how many more there are."""
    return ", ".join([*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])])


def find_places(model: tf.keras.layers.Layer) -> Iterator[Place]:
    """Yield each layer once, in data-flow order, what holds others before these.

    The layers that another layer's own code calls are yielded in the order in which it got them.

    Args:
        model: A model, built, or a layer.
    """
    seen: set[int] = set()

    def walk(outer: tf.keras.layers.Layer, path: str, in_graph: bool) -> Iterator[Place]:
        called: dict = {}
        # Not each layer's own list of nodes: that has its calls in other models, too.
        for node in nodes_of(outer):
            called.setdefault(id(node.operation if KERAS_3 else node.layer), []).append(node)
        in_graph = in_graph and has_graph(outer)
        for layer in outer.layers if has_graph(outer) else layers_of(outer):
            if id(layer) not in seen:
                seen.add(id(layer))
                yield Place(path + layer.name, layer, tuple(called.get(id(layer), ())), in_graph)
                yield from walk(layer, f"{path}{layer.name}/", in_graph)

    yield from walk(model, "", True)


def layers_of(layer: tf.keras.layers.Layer) -> list[tf.keras.layers.Layer]:
    """Return the layers that a layer holds, in the order in which it got them, without those that these hold."""
    # Keras has no public way to layers within layers, wrappers and blocks of one's own among them.
    return list(layer._flatten_layers(include_self=False, recursive=False))


def variables_of(layer: tf.keras.layers.Layer) -> list:
    """Return the variables that a layer itself holds: weights, counters and the state of its random numbers.

    In the order in which they were made, which freezing a layer does not change; ``layer.weights`` of Keras 2 has what
    is trained first.
    """
    if KERAS_3:
        own = [*layer._trainable_variables, *layer._non_trainable_variables]
        own += [generator.state for generator in layer._seed_generators]
    else:
        own = [*layer._trainable_weights, *layer._non_trainable_weights]
        own = [weight for weight in own if isinstance(weight, tf.Variable)]  # others stand for a vocabulary
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
        own += [] if generator is None else [generator.state]
    # Keras does not take all of these for a layer's weights: those of TensorFlow, and the states of recurrent layers.
    own += _held([value for name, value in vars(layer).items() if name not in _COUNTERS])
    return list({id(variable): variable for variable in own}.values())


def _held(value: Any) -> list:
    """Return the variables in lists, dicts and modules that are no layers."""
    if isinstance(value, _VARIABLE):
        return [value]
    if isinstance(value, (list, tuple, dict)):
        parts = value.values() if isinstance(value, dict) else value
        return [variable for part in parts for variable in _held(part)]
    is_module = isinstance(value, tf.Module) and not isinstance(value, tf.keras.layers.Layer)
    return list(value.variables) if is_module else []


@contextlib.contextmanager
def keeping_variables(model: tf.keras.Model) -> Iterator[None]:
    """Put all variables of a model back afterwards, those of its metrics included."""
    layers = [model, *(place.layer for place in find_places(model))]
    metrics = [*model.metrics, *itertools.chain.from_iterable(getattr(layer, "_metrics", ()) for layer in layers)]
    variables = [variable for layer in layers for variable in variables_of(layer)]
    variables += [variable for metric in metrics for variable in metric.variables]
    kept = [(variable, np.array(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)


def nodes_of(model: tf.keras.layers.Layer) -> list[Any]:
    """Return the nodes of a model's graph; none where it has no graph."""
    return list(itertools.chain.from_iterable((_nodes_by_depth(model) or {}).values()))


def _nodes_by_depth(model: tf.keras.layers.Layer) -> Any:
    # Keras has no public way to them; Keras 3 keeps those of a Sequential one level down.
    return getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", None)


@contextlib.contextmanager
def keeping_seeds() -> Iterator[None]:
    """Put back what seeds are drawn from: Keras draws them in Python, as where Keras 2 traces dropout."""
    generators: list[Any] = [random]
    if not KERAS_3:
        from keras.src.backend import _SEED_GENERATOR  # set by tf.keras.utils.set_random_seed

        generators += [generator] if (generator := getattr(_SEED_GENERATOR, "generator", None)) else []
    states = [generator.getstate() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.setstate(state)
