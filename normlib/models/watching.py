"""Watching: what enters BatchNorm layers, and how often each is called, while data pass any Keras model.

A layer may stand anywhere (in nested models, wrappers, blocks and models of one's own) and be called any number of
times in a pass. What it normalizes is then all that enters it: one mean and one variance serve all calls. (Its moving
mean tends to that mean, its moving variance to the mean of the variances within calls.) A call counts where the layer
normalizes by its batch when the model trains: not where it is frozen, or called with ``training=False``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from normlib.errors import RequestError, describe_error
from normlib.models import batch_norm, graphs
from normlib.models.batch_norm import CALLED_CLASSES, Statistics
from normlib.tf import KERAS_3, tf, without_autotuning


class Watch:
    """Sees what enters the BatchNorm layers of a model while data pass it, and how often each layer is called.

    Args:
        model: Any Keras model, built.
    """

    def __init__(self, model: tf.keras.Model):
        self.model = model
        self._seen = {id(layer): _Seen(path, layer) for path, layer in batch_norm.batch_norm_layers(model).items()}
        self.empty = not self._seen
        self._steps = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._traced = False
        self._refusal: RequestError | None = None

    def pass_data(self, x: Any, batch_size: int = 32, batches: int | None = None) -> None:
        """Pass data once, in their order, BatchNorm normalizing by its batch, dropout off.

        The model's variables change meanwhile.

        Args:
            x: What ``model.fit`` takes.
            batch_size: Examples a batch, where the data are arrays.
            batches: How many batches; None: all.
        """
        passing = _Pass(self)
        passing.compile(jit_compile=False)
        how = {} if has_batches(x) else {"batch_size": batch_size}
        try:
            with without_autotuning():
                passing.predict(x, steps=batches, verbose=0, **how)
        except Exception as error:
            raise self._refusal or error from None

    def outputs(self, x: Any) -> Any:
        """Return what the model gives, BatchNorm normalizing by its batch, dropout off; what enters is added up."""
        if not self._traced:
            self._trace(x)
        with _at_each_call(self._take):
            outputs = self.model(x, training=False)
        self._steps.assign_add(1)
        return outputs

    def trace(self) -> None:
        """Find out how the layers are called when the model trains, without data.

        Raises:
            RequestError: Keras does not know what the model takes, or a layer is called in a loop.
        """
        try:
            tf.function(self._trace, autograph=False).get_concrete_function(_signature(self.model))
        except Exception as error:  # whatever somebody's code raises
            if self._refusal is not None:
                raise self._refusal from None
            if self.empty:
                return
            problem = f"what it is called with is not known, as it is after a call on data: {describe_error(error)}"
            raise RequestError("model", self.model.name, problem=problem) from error
        for seen in self._seen.values():
            if seen.looped and any(seen.learns):
                count = "an unknown number of times, which moving_average_gap counts on data"
                self._refuse(f"a loop calls {seen.path!r} {count}")

    def reset(self) -> None:
        """Forget what entered."""
        for variable in (self._steps, *(variable for seen in self._seen.values() for variable in seen.variables)):
            variable.assign(tf.zeros_like(variable))

    @property
    def population(self) -> Statistics:
        """Mean and (biased) variance of all that entered each layer; layers that were left as they are, are not there.

        All calls and batches are put together by the law of total variance, weighted by how many elements counted, in
        float64.
        """
        return {seen.path: seen.statistics for seen in self._seen.values() if seen.counted}

    @property
    def calls(self) -> dict[str, float]:
        """How often a step calls each layer so that it moves its averages: counted on data, or as traced."""
        steps = int(self._steps)
        return {seen.path: int(seen.calls) / steps if steps else sum(seen.learns) for seen in self._seen.values()}

    @property
    def left(self) -> dict[str, str]:
        """The layers whose averages no reading changes, by path, with the reason."""
        steps = int(self._steps)
        return {seen.path: reason for seen in self._seen.values() if (reason := seen.why_left(steps))}

    def _refuse(self, problem: str) -> None:
        """Refuse the model; the reason is kept, since AutoGraph makes another exception of it on the way."""
        self._refusal = RequestError("model", self.model.name, problem=problem)
        raise self._refusal

    def _find(self, layer: tf.keras.layers.Layer) -> _Seen:
        if id(layer) not in self._seen:
            self._refuse(f"it calls the BatchNorm {layer.name!r}, which is not among its layers or was not built")
        return self._seen[id(layer)]

    def _trace(self, x: Any) -> None:
        """Note how each layer is called when the model trains; where a graph is traced, nothing is computed."""
        graph = None
        for seen in self._seen.values():
            seen.learns = []

        def train() -> None:
            nonlocal graph
            graph = tf.compat.v1.get_default_graph()
            self.model(x, training=True)

        def note(layer: tf.keras.layers.Layer, inputs: Any, training: Any, mask: Any) -> Any:
            seen = self._find(layer)
            seen.learns.append(_learns(layer, training))
            seen.looped |= tf.compat.v1.get_default_graph() is not graph
            return training

        with _at_each_call(note), graphs.keeping_seeds():
            # Keras 2 turns Python's conditions on tensors into operations, as in fit.
            tf.function(train, autograph=not KERAS_3).get_concrete_function()
        self._traced = True
        for seen in self._seen.values():
            if len(set(seen.learns)) > 1:
                self._refuse(f"it calls {seen.path!r} as in training and with training=False in one step")
            own = "call" in vars(seen.layer) or not graphs.is_from_keras(type(seen.layer), "call")
            if own and not seen.learns:
                reason = f"the call of {seen.path!r} ({type(seen.layer).__name__}) is its own"
                self._refuse(f"{reason}, or was traced when the model was saved; in that case load the model anew")

    def _take(self, layer: tf.keras.layers.Layer, inputs: Any, training: Any, mask: Any) -> bool:
        seen = self._find(layer)
        learns = any(seen.learns)
        if learns:
            seen.add(inputs, mask)
        return learns


class _Seen:
    """What has entered a BatchNorm layer: the number of elements, their mean, and their squared distance from it.

    They are kept in variables, since Python does not see all calls that wrappers and cells make in a traced function.

    Args:
        path: The layer's.
        layer: The layer.
    """

    def __init__(self, path: str, layer: tf.keras.layers.Layer):
        self.path, self.layer = path, layer
        zeros = tf.zeros(layer.moving_mean.shape, tf.float64)
        self.count, self.mean, self.squares = (tf.Variable(zeros, trainable=False) for _ in range(3))
        self.calls = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.variables = (self.count, self.mean, self.squares, self.calls)
        self.learns: list[bool] = []  # for each call in training, whether it moves the averages
        self.looped = False

    def add(self, inputs: tf.Tensor, mask: tf.Tensor | None) -> None:
        """Add the elements of a call, those that the layer itself counts when it trains."""
        inputs = tf.cast(inputs, tf.float64)
        rank = len(inputs.shape)
        axes = [axis % rank for axis in graphs.axes_of(self.layer)]
        others = [axis for axis in range(rank) if axis not in axes]
        # Keras 2's fused layer leaves a mask out.
        if mask is None or getattr(self.layer, "fused", False):
            mean, variance = tf.nn.moments(inputs, others)
            count = tf.fill(tf.shape(mean), tf.cast(tf.size(inputs) / tf.size(mean), tf.float64))
        else:
            counts = tf.broadcast_to(tf.cast(tf.expand_dims(mask, -1), tf.bool), tf.shape(inputs))
            weights = tf.cast(counts, tf.float64)
            count = tf.reduce_sum(weights, others)
            mean, variance = tf.nn.weighted_moments(tf.where(counts, inputs, 0), others, weights)
            mean, variance = (tf.where(count > 0, moment, 0) for moment in (mean, variance))  # else 0 / 0
        mean, variance, count = (tf.reshape(value, self.mean.shape) for value in (mean, variance, count))
        # The law of total variance, two parts at a time: a sum of squares less a square would lose digits.
        together, shift = self.count + count, mean - self.mean
        self.squares.assign_add(count * variance + shift**2 * tf.math.divide_no_nan(self.count * count, together))
        self.mean.assign_add(shift * tf.math.divide_no_nan(count, together))
        self.count.assign(together)
        self.calls.assign_add(1)

    @property
    def counted(self) -> bool:
        """Whether any element was."""
        return bool(np.any(self.count))

    @property
    def statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of what was counted, ``[channels]``; where nothing was, the layer's moving averages."""
        count = np.array(self.count)
        with np.errstate(invalid="ignore"):
            variance = np.array(self.squares) / count
        return (
            np.where(count > 0, self.mean, np.array(self.layer.moving_mean, np.float64)),
            np.where(count > 0, variance, np.array(self.layer.moving_variance, np.float64)),
        )

    def why_left(self, steps: int) -> str:
        """Return why no reading changes the layer's averages; empty: they are changed."""
        if not any(self.learns):
            if not self.layer.trainable:
                return "frozen"
            return "called with training=False" if self.learns else "not called when the model trains"
        if self.layer.momentum == 1:
            return "its momentum is 1"
        return "called only when the model trains, or on nothing" if steps and not self.counted else ""


class _Pass(tf.keras.Model):
    """Passes data through a watched model as ``predict`` does, and keeps none of what comes out."""

    def __init__(self, watch: Watch):
        super().__init__()
        self._outputs = watch.outputs

    @tf.autograph.experimental.do_not_convert
    def predict_step(self, data: Any) -> tf.Tensor:
        x, _, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        self._outputs(x)
        return tf.zeros([1])


def has_batches(x: Any) -> bool:
    """Tell whether data come in batches of their own: a ``tf.data.Dataset``, a generator, a Keras sequence."""
    return isinstance(x, (tf.data.Dataset, tf.keras.utils.Sequence)) or hasattr(x, "__next__")


def _learns(layer: tf.keras.layers.Layer, training: Any) -> bool:
    """Tell whether a layer that is called so normalizes by its batch and moves its averages."""
    if tf.is_tensor(training):
        training = tf.get_static_value(training) in (None, True)
    frozen = not layer.trainable and getattr(layer, "_USE_V2_BEHAVIOR", True)  # that of TensorFlow 1 is not frozen
    return bool(training) and not frozen


@contextlib.contextmanager
def _at_each_call(note: Callable) -> Iterator[None]:
    """Call a function before each call of a BatchNorm layer; what it returns is the layer's ``training``.

    Functions that were traced before would call the layer unseen: they run as the Python that they were made of.
    """
    originals, eagerly = {kind: kind.call for kind in CALLED_CLASSES}, tf.config.functions_run_eagerly()

    def noted(original: Callable) -> Callable:
        @tf.autograph.experimental.do_not_convert
        def call(layer: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
            return original(layer, inputs, training=note(layer, inputs, training, mask), mask=mask)

        return call

    tf.config.run_functions_eagerly(True)
    for kind, original in originals.items():
        kind.call = noted(original)
    try:
        yield
    finally:
        for kind, original in originals.items():
            kind.call = original
        tf.config.run_functions_eagerly(eagerly)


def _signature(model: tf.keras.Model) -> Any:
    """Return what a model takes, as specifications of tensors."""

    def specification(tensor: Any) -> tf.TypeSpec:
        return getattr(tensor, "type_spec", None) or tf.TensorSpec(tensor.shape, tensor.dtype)

    if graphs.has_graph(model):
        inputs = model.inputs[0] if isinstance(model, tf.keras.Sequential) else model.input
        return tf.nest.map_structure(specification, inputs)
    if not KERAS_3:
        arguments, options = model.save_spec()
        if options or len(arguments) != 1:
            raise ValueError("it was called with several arguments")
        return arguments[0]
    shapes = model.get_build_config()["input_shape"]
    return tf.keras.tree.map_shape_structure(
        lambda shape: tf.TensorSpec((None, *shape[1:]), model.compute_dtype), shapes
    )
