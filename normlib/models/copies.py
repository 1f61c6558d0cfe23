"""Copies of Keras models: each layer is made anew from its configuration, and is given all that it holds."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
import types
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from normlib.errors import RequestError
from normlib.models import graphs
from normlib.models.kinds import refuse_failure, rename_layer
from normlib.tf import KERAS_3, tf

Layers: TypeAlias = dict[int, tf.keras.layers.Layer]
# What a class may have of its own and a copy, which is a plain Sequential or Functional model, would lose.
_OF_THE_CLASS = (
    *("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"),
    *("compile", "fit", "evaluate", "predict"),
)
_DERIVED = {"axis", "built", "name"}  # attributes that building a layer changes, or that are given by other ways
_NOT_DESCRIBED = "its get_config does not describe it in full"
_IN_PLACE = "; readings can also change the model itself, with in_place=True"


@graphs.keeping_seeds()
def copy_compiled(model: tf.keras.Model) -> tuple[tf.keras.Model, Layers]:
    """Return a copy of any model, and its layers by the ``id`` of the model's own.

    The copy is compiled as the model is, with an optimizer and metrics of its own that are made from the model's; the
    optimizer starts anew.

    Args:
        model: Any Keras model, built. It is left as it is.

    Raises:
        RequestError: A layer or a metric that cannot be made anew, or a model whose class has methods that a
            copy would lose.
    """
    graphs.check_model(model)
    made: Layers = {}
    if graphs.has_graph(model):
        for name in _OF_THE_CLASS:
            if not graphs.is_from_keras(type(model), name):
                problem = f"its class has {name} of its own, which a copy would lose{_IN_PLACE}"
                raise RequestError("model", model.name, problem=problem)
        copy = copy_model(model, made)
    else:
        copy = _make_anew(model)  # its weights are made when they are handed on
        _hand_on(model, copy, made)
    arguments = getattr(model, "_compile_config", None)
    if arguments is not None and getattr(model, "optimizer", None) is not None:
        scope = {type(part).__name__: type(part) for part in tf.nest.flatten(list(arguments.config.values()))}
        with tf.keras.utils.custom_object_scope(scope):
            parts = {name: _make_part_anew(name, value) for name, value in arguments.config.items()}
            with refuse_failure("model", model.name, f"a copy of it cannot be compiled{_IN_PLACE}"):
                copy.compile(**parts)
    return copy, made


def _make_part_anew(name: str, value: Any) -> Any:
    """Return what a model is compiled with: each optimizer and metric anew, all else as it is."""
    if isinstance(value, dict):
        return {key: _make_part_anew(name, part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_make_part_anew(name, part) for part in value]
    if not hasattr(value, "get_config") or isinstance(value, tf.keras.losses.Loss):  # which has no state
        return value
    with refuse_failure(name, type(value).__name__, f"it cannot be made anew from its configuration{_IN_PLACE}"):
        anew = type(value).from_config(value.get_config())
    _carry_attributes(value, anew)
    return anew


def copy_model(model: tf.keras.Model, made: Layers) -> tf.keras.Model:
    """Return a copy of a model, some layers of which may be others; layers that are shared stay shared.

    Args:
        model: A Sequential or Functional model, built. It is left as it is.
        made: New layers, by the ``id`` of the model's own in whose places they stand, whose weights they do not get;
            here it gets the copies of all others.

    Returns:
        The copy, not compiled.

    Raises:
        RequestError: A layer that cannot be made anew from its configuration.
    """
    replaced = set(made)

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if id(layer) not in made:
            made[id(layer)] = _copy_graph(layer, clone) if graphs.has_graph(layer) else _make_anew(layer)
            if hasattr(layer, "adapt"):  # what preprocessing gives may have a shape that it was adapted to
                _hand_on(layer, made[id(layer)], made)
        return made[id(layer)]

    with refuse_failure("model", model.name, f"copies of its layers cannot be connected{_IN_PLACE}"):
        copy = _copy_graph(model, clone)
    if getattr(copy, "inputs", None) is None:
        copy.build(model.input_shape)  # Keras 2, a Sequential that got its shape from build or from data
    if copy.trainable != model.trainable:
        copy.trainable = model.trainable
    for place in graphs.find_places(model):
        layer = made.get(id(place.layer))
        if layer is None or not place.in_graph:  # an input, or what the layer that holds it hands on
            continue
        if graphs.has_graph(place.layer) or id(place.layer) in replaced:
            layer.trainable = place.layer.trainable  # from the outside in, since a model hands it on to its layers
        elif not hasattr(layer, "adapt"):
            _hand_on(place.layer, layer, made)
    return copy


def _copy_graph(model: tf.keras.Model, clone: Callable) -> tf.keras.Model:
    if not KERAS_3:
        return tf.keras.models.clone_model(model, clone_function=clone)
    _check_arguments(model)
    # Keras 3 gives a layer what the one in its place was called with; Keras 2 leaves out what it does not take.
    how = {} if isinstance(model, tf.keras.Sequential) else {"call_function": _call}
    compiled, model.compiled = model.compiled, False  # else Keras 3 compiles the clone, which Keras 2 does not
    try:
        return tf.keras.models.clone_model(model, clone_function=clone, **how)
    finally:
        model.compiled = compiled


def _check_arguments(model: tf.keras.Model) -> None:
    """Refuse a variable that stands among what Keras 3 calls something with: a copy would share it."""
    for node in graphs.nodes_of(model):
        values = [*node.arguments.args, *node.arguments.kwargs.values()]
        if any(isinstance(value, (tf.Variable, tf.keras.Variable)) for value in tf.nest.flatten(values)):
            raise _no_copy(node.operation, "it is called with a variable of another layer, which a copy would share")


def _call(layer: tf.keras.layers.Layer, *args: object, **options: object) -> object:
    """Call a layer, without ``training`` and ``mask`` if it takes none, as GroupNorm."""
    taken = inspect.signature(layer.call).parameters
    dropped = {"training", "mask"} - set(taken) if not isinstance(layer, tf.keras.Model) else set()
    return layer(*args, **{name: value for name, value in options.items() if name not in dropped})


def _make_anew(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """Return a layer of the same settings, without weights."""
    if not isinstance(layer, tf.keras.layers.Layer):  # Keras 3, an operation on its tensors, such as ``x + 1``
        return type(layer).from_config(layer.get_config())
    if isinstance(layer, tf.keras.layers.Lambda):
        return _make_lambda_anew(layer)
    # Whatever it holds is made anew by the name of its class, which somebody's own need not be registered under.
    classes = {type(place.layer).__name__: type(place.layer) for place in graphs.find_places(layer)}
    with _describing(layer), tf.keras.utils.custom_object_scope(classes):
        anew = type(layer).from_config(layer.get_config())
    rename_layer(anew, layer.name)  # get_config of a class whose __init__ takes it among **options leaves it out
    _carry_attributes(layer, anew)  # before it is built, which may rest on them
    return anew


def _make_lambda_anew(layer: tf.keras.layers.Lambda) -> tf.keras.layers.Lambda:
    """Return a Lambda layer with the same function, which Keras 3 does not make from a configuration."""
    function = inspect.unwrap(getattr(layer.function, "python_function", layer.function))
    around: dict[Any, Any] = dict(enumerate(getattr(function, "__defaults__", None) or ()))
    if inspect.isfunction(function):
        found = inspect.getclosurevars(function)
        around.update({**found.globals, **found.nonlocals})
    for name, value in around.items():
        if isinstance(value, (tf.Variable, tf.keras.layers.Layer)):
            raise _no_copy(layer, f"its function uses {name!r} from around it, which a copy would share")
    options = tf.keras.layers.Layer.get_config(layer)
    return type(layer)(layer.function, layer._output_shape, layer.mask, layer.arguments, **options)


def _carry_attributes(original: Any, copy: Any) -> None:
    """Give a copy the plain values that somebody set, or that the configuration leaves out."""
    used = _names_used(type(original))
    for name, value in vars(original).items():
        private = name.startswith("_") and name not in used  # Keras' business
        own = not private and name not in _DERIVED and not hasattr(type(original), name)
        if own and _is_plain(value) and not (name in vars(copy) and np.array_equal(vars(copy)[name], value)):
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


def _hand_on(original: tf.keras.layers.Layer, copy: tf.keras.layers.Layer, made: Layers) -> None:
    """Give a layer's copy all that it holds, layer by layer: settings, variables, vocabularies, what is trained."""
    made[id(original)] = copy
    if copy.compute_dtype != original.compute_dtype:
        reason = f"a layer made from it has the dtype {copy.compute_dtype} instead of {original.compute_dtype}"
        raise _no_copy(original, f"{_NOT_DESCRIBED}; {reason}")
    _carry_attributes(original, copy)
    if copy.trainable != original.trainable:
        copy.trainable = original.trainable  # from the outside in, since a layer hands it on to its layers
    own = graphs.variables_of(original)
    with _describing(original):
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
    if not KERAS_3:
        copy.finalize_state()
    inner, others = graphs.layers_of(original), graphs.layers_of(copy)
    if [type(layer) for layer in inner] != [type(layer) for layer in others]:
        raise _no_copy(original, f"{_NOT_DESCRIBED}; a layer made from it holds other layers")
    for layer, other in zip(inner, others, strict=True):
        if made.get(id(layer), other) is not other:
            raise _no_copy(
                layer, f"it stands inside {original.name!r} and elsewhere, and would be two layers in a copy"
            )
        if id(layer) not in made:
            _hand_on(layer, other, made)


def _describing(layer: tf.keras.layers.Layer) -> contextlib.AbstractContextManager[None]:
    return refuse_failure("layer", _named(layer), f"{_NOT_DESCRIBED}{_IN_PLACE}")


def _no_copy(layer: tf.keras.layers.Layer, problem: str) -> RequestError:
    return RequestError("layer", _named(layer), problem=f"{problem}{_IN_PLACE}")


def _named(layer: tf.keras.layers.Layer) -> str:
    return f"{layer.name} ({type(layer).__name__})"
