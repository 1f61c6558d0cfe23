"""Readings: three ways to read a trained model that has BatchNorm.

At inference, BatchNorm uses moving averages of batch statistics, and after few steps these still carry their initial
values. A comparison that mixes up the layer with its moving average says little, so each model is read

- ``inference``: as Keras evaluates it;
- ``debiased``: with the initial values' share taken out of the moving averages, as Adam corrects its moments (Kingma
  and Ba 2015, arXiv 1412.6980, section 3);
- ``recalibrated``: with the statistics of the population, recomputed with the trained weights (Wu and Johnson 2021,
  arXiv 2105.07576, section 3.2).
"""

from __future__ import annotations

import contextlib
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from normlib.errors import RequestError, checked, told, whole_number
from normlib.models import batch_norm, copies, graphs, watching
from normlib.models.batch_norm import Statistics
from normlib.models.watching import Watch
from normlib.tf import KERAS_3, tf, without_autotuning

READINGS = ("inference", "debiased", "recalibrated")
EVALUATION_BATCH = 1000  # images a step when nothing is learned; it decides speed, and the last bits of the loss
_SHOWN = 3  # layers named in a message
# By chance, or since weights move, debiased averages may be further from the population's than the moving ones.
_BY_CHANCE = 0.25  # standard deviations
_NO_FURTHER = 1.1  # times as far


@checked
def debias(
    model: tf.keras.Model,
    steps: int,
    in_place: bool = False,
    *,
    initial: tf.keras.Model | Sequence[tuple[Any, Any]] | None = None,
) -> tf.keras.Model:
    """Take the initial values' share out of all BatchNorm layers' moving averages.

    With momentum ``m``, after ``T`` updates, ``debiased = (moving - m ** T * initial) / (1 - m ** T)``. A layer that
    is called more than once in a step has as many updates a step. Layers that are frozen, or called with
    ``training=False``, keep their averages, and a warning names them.

    Args:
        model: Any Keras model that is built; one without BatchNorm comes back as it is.
        steps: Number of training steps (batches) that the model has taken since its averages were ``initial``,
            whatever it was compiled with meanwhile, and whether or not gradients were accumulated. Where a step passes
            the model several times, as in a ``train_step`` of one's own, the number of passes.
        in_place: Change the model that is given, instead of a copy.
        initial: The averages before these steps: a model that has them (a copy made before, or with the weights that
            were loaded), or a mean and a variance, ``[channels]`` or one number, for each BatchNorm layer, in the order
            of ``normlib.slots``. None: what the layers' initializers give.

    Returns:
        The changed model: a copy, compiled as the given one is, or the given one.

    Raises:
        RequestError: Steps below one; initial averages that do not fit; a model that cannot be copied, or that calls a
            layer in a loop; a variance that comes out negative, so that steps or initial averages are not the model's.
    """
    steps = whole_number("steps", steps, minimum=1)
    graphs.check_model(model)
    before = _initial(model, initial)
    watch = Watch(model)
    watch.ask()
    if watch.empty:
        return model
    updates = {key: steps * calls for key, calls in watch.calls.items()}
    statistics = batch_norm.debias_statistics(model, updates, before)
    if initial is None and (reason := _negative(watch, statistics)):
        raise RequestError("steps", steps, f"as many as since the averages were initial= (as after loading); {reason}")
    changed, made = (model, None) if in_place else copies.copy_compiled(model)
    batch_norm.assign_statistics(changed, {id(made[k]) if made else k: v for k, v in statistics.items()})
    _say_what_is_left(watch)
    return changed


@checked
def recalibrate(
    model: tf.keras.Model, x: Any, batch_size: int = 32, in_place: bool = False, *, batches: int | None = None
) -> tf.keras.Model:
    """Give all BatchNorm layers the statistics of the population in place of their moving averages.

    All BatchNorm layers normalize by their batch together, dropout is off, and the data pass once, in their order.
    Mean and (biased) variance of the population are those of all that enters a layer, in all its calls, put together by
    the law of total variance, weighted by how many elements count, in float64. Under a mask, those count that the layer
    counts when it trains: Keras 2's fused layer (of four dimensions) counts all, other layers those that are not
    masked. Layers that are frozen, or called with ``training=False``, keep their averages and normalize by them, as in
    training; a warning names them.

    Args:
        model: Any Keras model that is built; one without BatchNorm comes back as it is.
        x: The data that the model was trained on, as ``model.fit`` takes them: an array ``[n, ...]``, several in a list
            or a dict, a DataFrame, a ``tf.data.Dataset``, a generator or a Keras sequence, with or without labels.
        batch_size: Examples a batch; that of training, for the statistics that the weights were trained with. Data
            that come in batches keep theirs.
        in_place: Change the model that is given, instead of a copy.
        batches: Stop after so many batches; None: all.

    Returns:
        The changed model: a copy, compiled as the given one is, or the given one.

    Raises:
        RequestError: A batch size or a number of batches below one, no data, a Dataset without an end, data that the
            model does not take or that are not finite, or a model that cannot be copied.
    """
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    batches = None if batches is None else whole_number("batches", batches, minimum=1)
    graphs.check_model(model)
    _check_data("x", x, batches)
    if Watch(model).empty:
        _look_for_hidden(model, x, batch_size)
        return model
    changed = model if in_place else copies.copy_compiled(model)[0]
    watch = _passed(changed, "x", x, batch_size, batches)
    population = watch.population
    if not all(np.isfinite(part).all() for statistics in population.values() for part in statistics):
        raise RequestError("x", "not finite", "data that give finite numbers at each BatchNorm layer")
    batch_norm.assign_statistics(changed, population)
    _say_what_is_left(watch)
    return changed


def moving_average_gap(
    model: tf.keras.Model,
    x: Any,
    y: Any = None,
    calibration_x: Any = None,
    batch_size: int = 32,
    *,
    steps: int | None = None,
    initial: tf.keras.Model | Sequence[tuple[Any, Any]] | None = None,
) -> pd.DataFrame:
    """Evaluate a compiled model in each reading; the model is left as it is.

    Args:
        model: Any compiled Keras model, trained for at least one step.
        x: Data to evaluate on, as ``model.evaluate`` takes them, such as ``[n, ...]``; no generator, which would be
            spent after the first reading.
        y: Their labels, such as ``[n]``; None where ``x`` has them, as a ``tf.data.Dataset`` does.
        calibration_x: Data to recompute statistics from, as ``recalibrate`` takes them: those that the model was
            trained on, for what records call ``recalibrated``. None: ``x``.
        batch_size: Examples a batch when statistics are recomputed.
        steps: As for ``debias``. None: the batches that the optimizer has seen, one pass of the model each.
        initial: As for ``debias``.

    Returns:
        Indexed by reading: ``loss`` and the model's own metrics, under the names that ``model.evaluate`` gives them;
        then ``loss_removed``, how much lower the loss is than in the reading before it. Where steps or initial averages
        are not given, and debiasing by those that are assumed cannot be right (a negative variance, or statistics
        further from the population's), a warning says so, and the row ``debiased`` is not-a-number.

    Raises:
        RequestError: A model that has not been compiled or trained, no data, or data that the model does not take.
    """
    graphs.check_model(model)
    batch_size = whole_number("batch_size", batch_size, minimum=1)
    if getattr(model, "optimizer", None) is None:
        raise RequestError("model", model.name, "a compiled model, so that there is a loss to evaluate")
    if steps is None and KERAS_3 and hasattr(model.optimizer, "inner_optimizer"):
        allowed = "the number of batches trained on; the loss scale optimizer leaves out those whose gradients overflow"
        raise RequestError("steps", steps, allowed)
    taken = _batches_seen(model.optimizer) if steps is None else whole_number("steps", steps, minimum=1)
    calibration_x = x if calibration_x is None else calibration_x
    for name, data in (("x", x), ("calibration_x", calibration_x)):
        _check_data(name, data)
        if hasattr(data, "__next__"):
            raise RequestError(name, type(data).__name__, "arrays or a Dataset; a generator is spent after one reading")
    if y is None and not watching.has_batches(x) and getattr(model, "loss", None) is not None:
        raise RequestError("y", y, "labels, which the model's loss needs, or a Dataset with labels as x")
    if taken == 0:
        raise RequestError("model", "0 training steps", "a trained model, or its number of steps as steps=")
    before = _initial(model, initial)
    check = steps is None or initial is None
    if Watch(model).empty:
        _look_for_hidden(model, calibration_x, batch_size)
    evaluation = evaluate_readings(model, x, y, calibration_x, taken, batch_size, before, check)
    frame = pd.DataFrame.from_dict(evaluation, orient="index").rename_axis("reading")
    return frame.assign(loss_removed=-frame["loss"].diff()) if "loss" in frame else frame


def evaluate_readings(
    model: tf.keras.Model,
    x: Any,
    y: Any,
    calibration_x: Any,
    steps: int,
    batch_size: int,
    initial: Statistics,
    check: bool = False,
) -> dict[str, dict[str, Any]]:
    """Return loss and metrics in each reading; without BatchNorm they are the same. The model is left as it is.

    Args:
        model: As for ``moving_average_gap``.
        x: Likewise.
        y: Likewise.
        calibration_x: Likewise.
        steps: Number of training steps taken.
        batch_size: As for ``moving_average_gap``.
        initial: The moving averages before the first step.
        check: Whether to look if steps and initial averages can be the model's, and to say what is left as it is.
    """
    with graphs.keeping_variables(model):
        inference = _evaluate(model, x, y)
        watch = _passed(model, "calibration_x", calibration_x, batch_size)
        if watch.empty:
            return {reading: dict(inference) for reading in READINGS}
        updates = {key: steps * calls for key, calls in watch.calls.items()}
        debiased = batch_norm.debias_statistics(model, updates, initial)
        readings = {"inference": inference}
        doubt = _doubt(watch, debiased, steps * batch_size) if check else ""
        for reading, statistics in (("debiased", debiased), ("recalibrated", watch.population)):
            if reading == "debiased" and doubt:
                readings[reading] = dict.fromkeys(inference, float("nan"))
                continue
            with graphs.keeping_variables(model):
                batch_norm.assign_statistics(model, statistics)
                readings[reading] = _evaluate(model, x, y)
    if doubt:
        warnings.warn(
            f"debiasing by {steps} steps since the initial averages cannot be right, as after loading or compiling "
            f"anew: {doubt}; give steps= and initial=",
            stacklevel=3,
        )
    if check:
        _say_what_is_left(watch, stacklevel=4)
    return readings


def _evaluate(model: tf.keras.Model, x: Any, y: Any) -> dict[str, Any]:
    how = {} if watching.has_batches(x) else {"batch_size": EVALUATION_BATCH}
    with without_autotuning(), _said_by_the_model("x", x):
        found = model.evaluate(x, y, verbose=0, return_dict=True, **how)
    found = {"loss": found.pop("loss"), **found} if "loss" in found else found  # Keras 3 sorts them
    return {name: float(value) if np.ndim(value) == 0 else np.asarray(value) for name, value in found.items()}


def _passed(model: tf.keras.Model, setting: str, x: Any, batch_size: int, batches: int | None = None) -> Watch:
    """Return what has seen the data pass the model, which is left as it is."""
    watch = Watch(model)
    if not watch.empty:
        with graphs.keeping_variables(model), _said_by_the_model(setting, x):
            watch.pass_data(x, batch_size, batches)
    return watch


def _look_for_hidden(model: tf.keras.Model, x: Any, batch_size: int) -> None:
    """Refuse a model that calls BatchNorm layers which are not among its layers."""
    if hasattr(x, "__next__"):
        return  # a batch that is taken out would be missing
    with graphs.keeping_variables(model), _said_by_the_model("x", x):
        Watch(model).pass_data(x, batch_size, batches=1)


def _batches_seen(optimizer: Any) -> int:
    """Return how many batches an optimizer has seen; where it accumulates gradients, it counts fewer steps."""
    counted = getattr(optimizer, "_iterations", None)
    return int(optimizer.iterations if counted is None else counted)


def _initial(model: tf.keras.Model, initial: Any) -> Statistics:
    """Return the averages before training, by layer; what does not fit the model is refused."""
    layers = batch_norm.batch_norm_layers(model)
    if initial is None:
        return batch_norm.initial_statistics(model)
    if isinstance(initial, tf.keras.Model):
        initial = list(batch_norm.moving_statistics(initial).values())
    allowed = f"a model with the same {len(layers)} BatchNorm layers, or a mean and a variance for each of them"
    try:
        pairs = [tuple(np.asarray(value, np.float64) for value in pair) for pair in initial]
        fit = [
            (np.broadcast_to(mean, layer.moving_mean.shape), np.broadcast_to(variance, layer.moving_mean.shape))
            for layer, (mean, variance) in zip(layers.values(), pairs, strict=True)
        ]
    except (TypeError, ValueError):
        raise RequestError("initial", type(initial).__name__, allowed) from None
    if not all(np.isfinite(mean).all() and (variance >= 0).all() for mean, variance in fit):
        raise RequestError("initial", type(initial).__name__, f"{allowed}, finite, no variance below 0")
    return {id(layer): pair for layer, pair in zip(layers.values(), fit, strict=True)}


def _doubt(watch: Watch, debiased: Statistics, examples: int) -> str:
    """Return why debiasing by so many examples cannot be right, as a phrase; empty: nothing speaks against it."""
    return _negative(watch, debiased) or _further(watch, debiased, examples)


def _negative(watch: Watch, debiased: Statistics) -> str:
    """Return which layer's debiased variance is negative, as a phrase; empty: none."""
    for path, layer in watch.layers.items():
        if id(layer) in debiased and (debiased[id(layer)][1] < 0).any():
            return f"the debiased variance of {path!r} is negative"
    return ""


def _further(watch: Watch, debiased: Statistics, examples: int) -> str:
    """Return whether averages debiased by so many examples are further from the population's, as a phrase."""
    moving, population = batch_norm.moving_statistics(watch.model), watch.population
    distances = np.array(
        [
            [_distance(found[id(layer)], population[id(layer)], layer.epsilon) for found in (moving, debiased)]
            for layer in watch.layers.values()
            if id(layer) in debiased and id(layer) in population
        ]
    )
    if not len(distances):
        return ""
    before, after = np.sqrt((distances**2).mean(axis=0))
    # Of a mean and a standard deviation of normal numbers together, the error is that of 1.5 means.
    if after <= _NO_FURTHER * before or after <= max(_BY_CHANCE, 3 * (1.5 / examples) ** 0.5):
        return ""
    return f"the debiased averages are {after:.3g} standard deviations from the data's, the moving ones {before:.3g}"


def _distance(found: tuple, population: tuple, epsilon: float) -> float:
    """Return how far averages are from the population's, in its standard deviations, root mean square over channels."""
    (mean, variance), (true_mean, true_variance) = found, population
    spread = np.sqrt(true_variance + epsilon)
    off = (np.sqrt(np.maximum(variance, 0) + epsilon) - spread) / spread
    return float(np.sqrt(np.mean(((mean - true_mean) / spread) ** 2 + off**2)))


def _check_data(setting: str, x: Any, batches: int | None = None) -> None:
    """Refuse no data, and data without an end."""
    if isinstance(x, tf.data.Dataset):
        if batches is None and x.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise RequestError(setting, "endless", "a Dataset that ends, or so many batches of it as batches=")
        return
    if watching.has_batches(x):
        return
    parts = tf.nest.flatten(x) if isinstance(x, (list, tuple, dict)) else [x]
    try:
        empty = not parts or min(part.shape[0] if hasattr(part, "shape") else len(part) for part in parts) == 0
    except (TypeError, IndexError):
        allowed = "what model.fit takes, such as an array or a tf.data.Dataset"
        raise RequestError(setting, type(x).__name__, allowed) from None
    if empty:
        raise RequestError(setting, "empty", "at least one example")


@contextlib.contextmanager
def _said_by_the_model(setting: str, x: Any) -> Iterator[None]:
    """Refuse data that the model does not take, in one line; the model's own words are the error's cause."""
    try:
        yield
    except (RequestError, tf.errors.ResourceExhaustedError, MemoryError):
        raise
    except Exception as error:  # whatever a model raises
        value = f"{type(x).__name__} {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
        raise RequestError(setting, value, f"data that the model takes, and it gave {told(error)}") from error


def _say_what_is_left(watch: Watch, stacklevel: int = 3) -> None:
    if not watch.left:
        return
    shown = [f"{path!r} ({reason})" for path, reason in itertools.islice(watch.left.items(), _SHOWN)]
    more = [f"{len(watch.left) - _SHOWN} more"] if len(watch.left) > _SHOWN else []
    warnings.warn(f"BatchNorm left as it is: {', '.join(shown + more)}", stacklevel=stacklevel)
