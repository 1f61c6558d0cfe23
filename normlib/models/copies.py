"""Copies of Keras models: each layer is made anew from its configuration, and is given all that it holds."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import types
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from normlib.errors import RequestError, told
from normlib.models import graphs
from normlib.tf import KERAS_3, tf

Layers: TypeAlias = dict[int, tf.keras.layers.Layer]
# What a class may have of its own and a copy, which is a plain Sequential or Functional model, would lose.
_OF_THE_CLASS = (
    *("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"),
    *("compile", "fit", "evaluate", "predict"),
)
_DERIVED = {"axis", "built", "name"}  # attributes that building a layer changes, or that are given by other ways
_OR_IN_PLACE = "readings can also change the model itself, with in_place=True"


@graphs.keeping_seeds()
def copy_compiled(model: tf.keras.Model) -> tuple[tf.keras.Model, Layers]:
    """Return a copy of any model, and its layers by the ``id`` of the model's own.

    The copy is compiled as the model is, with an optimizer, losses and metrics of its own that are made from the
    model's; the optimizer starts anew.

    Args:
        model: Any Keras model, built. It is left as it is.

    Raises:
        RequestError: A layer, a loss or a metric that cannot be made anew, or a model whose class has methods that a
            copy would lose.
    """
    graphs.check_model(model)
    made: Layers = {}
    if graphs.has_graph(model):
        lost = [name for name in _OF_THE_CLASS if not graphs.is_from_keras(type(model), name)]
        if lost:
            raise _no_copy(model, f"its class has {lost[0]} of its own, which a copy would lose")
        copy = copy_model(model, made, set())
    else:
        copy = _made_anew(model, model)  # its weights are made when they are handed on
        _hand_on(model, copy, made, model)
    arguments = getattr(model, "_compile_config", None)
    if arguments is not None and getattr(model, "optimizer", None) is not None:
        scope = {type(part).__name__: type(part) for part in tf.nest.flatten(list(arguments.config.values()))}
        with tf.keras.utils.custom_object_scope(scope):
            parts = {name: _part_anew(name, value, model) for name, value in arguments.config.items()}
            try:
                copy.compile(**parts)
            except Exception as error:  # of a compile of its class
                raise _no_copy(model, f"it cannot be compiled again: {told(error)}") from error
    return copy, made


def _part_anew(name: str, value: Any, model: tf.keras.Model) -> Any:
    """Return what a model is compiled with: each optimizer, loss and metric anew, all else as it is."""
    if isinstance(value, dict):
        return {key: _part_anew(name, part, model) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_part_anew(name, part, model) for part in value]
    if isinstance(value, tf.keras.losses.Loss):  # without state; Keras 3 leaves out of Huber's configuration its delta
        anew = object.__new__(type(value))
        vars(anew).update(vars(value))
        return anew
    if not hasattr(value, "get_config"):
        return value
    try:
        anew = type(value).from_config(value.get_config())
    except Exception as error:  # whatever somebody's code raises
        raise _no_copy(model, f"{type(value).__name__}, of its {name}, cannot be made anew: {told(error)}") from error
    _carry_attributes(value, anew)
    return anew


def copy_model(model: tf.keras.Model, made: Layers, anew: set[int]) -> tf.keras.Model:
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
    others = set(made)  # which have settings of their own

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in made:
            made[id(layer)] = _copy_graph(layer, clone) if graphs.has_graph(layer) else _made_anew(layer, model)
            if hasattr(layer, "adapt"):  # what preprocessing gives may have a shape that it was adapted to
                _hand_on(layer, made[id(layer)], made, model)
        return made[id(layer)]

    try:
        copy = _copy_graph(model, clone)
    except RequestError:
        raise
    except Exception as error:  # of layers of one's own, which may raise anything when they are called
        raise _no_copy(model, f"its layers cannot be connected again: {told(error)}") from error
    if getattr(copy, "inputs", None) is None:
        copy.build(model.input_shape)  # Keras 2, a Sequential that got its shape from build or from data
    if copy.trainable != model.trainable:
        copy.trainable = model.trainable
    for place in graphs.find_places(model):
        layer = made.get(id(place.layer))
        if layer is None or not place.in_graph:  # an input, or what the layer that holds it hands on
            continue
        if graphs.has_graph(place.layer):
            layer.trainable = place.layer.trainable  # from the outside in, since a model hands it on to its layers
        elif id(place.layer) in anew:
            layer.trainable = place.layer.trainable
        elif not hasattr(layer, "adapt"):
            _hand_on(place.layer, layer, made, model, carry=id(place.layer) not in others)
    return copy


def _check_arguments(model: tf.keras.Model) -> None:
    """Refuse a variable that stands among what Keras 3 calls something with: a copy would share it."""
    for node in graphs.nodes_of(model) if KERAS_3 else ():
        values = [*node.arguments.args, *node.arguments.kwargs.values()]
        if any(isinstance(value, (tf.Variable, tf.keras.Variable)) for value in tf.nest.flatten(values)):
            reason = f"{_named(node.operation)} is called with a variable of another layer, which a copy would share"
            raise _no_copy(model, reason)


def _copy_graph(model: tf.keras.Model, clone: Callable) -> tf.keras.Model:
    _check_arguments(model)
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
    """Return a layer of the same settings, without weights."""
    if not isinstance(layer, tf.keras.layers.Layer):  # Keras 3, an operation on its tensors, such as ``x + 1``
        return type(layer).from_config(layer.get_config())
    if isinstance(layer, tf.keras.layers.Lambda):
        return _lambda_anew(layer, model)
    # Whatever it holds is made anew by the name of its class, which somebody's own need not be registered under.
    classes = {type(place.layer).__name__: type(place.layer) for place in graphs.find_places(layer)}
    try:
        with tf.keras.utils.custom_object_scope(classes):
            anew = type(layer).from_config(graphs.config_of(layer))
    except Exception as error:  # whatever somebody's code raises
        raise _not_described(model, layer, told(error)) from error
    _carry_settings(layer, anew, model)
    if anew.name != layer.name:  # get_config of a class whose __init__ takes it among **options leaves it out
        setattr(anew, "name" if KERAS_3 else "_name", layer.name)
    return anew


def _carry_settings(layer: tf.keras.layers.Layer, copy: tf.keras.layers.Layer, model: tf.keras.Model) -> None:
    if copy.compute_dtype != layer.compute_dtype:
        raise _not_described(model, layer, f"its dtype is {layer.compute_dtype}, and then {copy.compute_dtype}")
    _carry_attributes(layer, copy)


def _carry_attributes(original: Any, copy: Any) -> None:
    """Give a copy the plain values that somebody set, or that the configuration leaves out."""
    used = _names_used(type(original))
    for name, value in vars(original).items():
        private = name.startswith("_") and name not in used  # Keras' business
        own = not private and name not in _DERIVED and not hasattr(type(original), name)
        if own and _is_plain(value) and not (name in vars(copy) and _same(vars(copy)[name], value)):
            setattr(copy, name, value.copy() if isinstance(value, (list, np.ndarray)) else value)


def _names_used(kind: type) -> set[str]:
    """Return the names that the methods of a class of somebody's own use."""
    own = (base for base in kind.__mro__ if base.__module__.split(".")[0] not in {"keras", "tf_keras", "tensorflow"})
    methods = (value for base in own for value in vars(base).values() if isinstance(value, types.FunctionType))
    return {name for method in methods for name in method.__code__.co_names}


def _is_plain(value: Any) -> bool:
    if isinstance(value, types.FunctionType):
        return value.__closure__ is None and not value.__defaults__  # others may hold a layer of the original's
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part) for part in value)
    return isinstance(value, (bool, int, float, str, type(None), np.ndarray))


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return np.array_equal(first, second)
    return bool(first == second)


def _lambda_anew(layer: tf.keras.layers.Lambda, model: tf.keras.Model) -> tf.keras.layers.Lambda:
    """Return a Lambda layer with the same function, which Keras 3 does not make from a configuration."""
    function = inspect.unwrap(getattr(layer.function, "python_function", layer.function))
    around: dict[Any, Any] = dict(enumerate(getattr(function, "__defaults__", None) or ()))
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        around.update({**found.globals, **found.nonlocals})
    state = (tf.Variable, tf.keras.layers.Layer)
    for name, value in around.items():
        if isinstance(value, state):
            raise _no_copy(model, f"{_named(layer)} uses {name!r} from around it, which a copy would share")
    options = tf.keras.layers.Layer.get_config(layer)
    return type(layer)(layer.function, layer._output_shape, layer.mask, layer.arguments, **options)


def _hand_on(
    original: tf.keras.layers.Layer,
    copy: tf.keras.layers.Layer,
    made: Layers,
    model: tf.keras.Model,
    carry: bool = True,
) -> None:
    """Give a layer's copy all that it holds, layer by layer: settings, variables, vocabularies, what is trained."""
    made[id(original)] = copy
    if carry:
        _carry_settings(original, copy, model)
    if copy.trainable != original.trainable:
        copy.trainable = original.trainable  # from the outside in, since a layer hands it on to its layers
    own = graphs.variables_of(original)
    try:
        if original.built and not copy.built:  # as where it is only called while training
            copy.build_from_config(original.get_build_config())
        store: dict[str, Any] = {}
        original.save_own_variables(store)
        copy.load_own_variables(store)  # preprocessing layers also derive from them what they compute with
        for variable, other in zip(own, graphs.variables_of(copy), strict=True):
            other.assign(variable)
            if KERAS_3 and hasattr(variable, "trainable") and other.trainable != variable.trainable:
                other.trainable = variable.trainable
        if hasattr(original, "save_assets"):  # vocabularies
            with tempfile.TemporaryDirectory() as folder:
                original.save_assets(folder)
                copy.load_assets(folder)
    except Exception as error:  # whatever somebody's code raises
        raise _not_described(model, original, told(error)) from error
    if not KERAS_3:
        copy.finalize_state()
    inner, others = graphs.layers_of(original), graphs.layers_of(copy)
    if [type(layer) for layer in inner] != [type(layer) for layer in others]:
        raise _not_described(model, original, "it holds other layers then")
    for layer, other in zip(inner, others, strict=True):
        if made.get(id(layer), other) is not other:
            where = f"inside {_named(original)} and elsewhere"
            raise _no_copy(model, f"{_named(layer)} stands {where}, and would be two layers in a copy")
        if id(layer) not in made:
            _hand_on(layer, other, made, model)


def _named(layer: tf.keras.layers.Layer) -> str:
    return f"{type(layer).__name__} {layer.name!r}"


def _not_described(model: tf.keras.Model, layer: tf.keras.layers.Layer, reason: str) -> RequestError:
    allowed = f"one whose layers get_config describes in full; that of {_named(layer)} does not"
    return RequestError("model", model.name, f"{allowed} ({reason}); {_OR_IN_PLACE}")


def _no_copy(model: tf.keras.Model, reason: str) -> RequestError:
    return RequestError("model", model.name, f"one that can be copied; {reason}; {_OR_IN_PLACE}")
