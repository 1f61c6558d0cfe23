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
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from normlib.errors import RequestError, checked, whole_number
from normlib.models import batch_norm, copies, graphs, watching
from normlib.models.batch_norm import Statistics
from normlib.models.graphs import shortened
from normlib.models.kinds import refuse_failure
from normlib.models.watching import Watch
from normlib.tf import KERAS_3, tf, without_autotuning

READINGS = ("inference", "debiased", "recalibrated")
EVALUATION_BATCH = 1000  # images a step when nothing is learned; it decides speed, and the last bits of the loss
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
    watch.trace()
    if watch.empty:
        return model
    statistics = _debiased(watch, steps, before)
    if initial is None and (reason := _negative(statistics)):
        problem = f"{reason}: give the steps since the averages were initial= (as after loading)"
        raise RequestError("steps", steps, problem=problem)
    return _changed(model, watch, statistics, in_place)


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
    watch = _pass_data(model, "x", x, batch_size, batches)
    if watch.empty:
        watch.trace()
        return model
    population = watch.population
    if not all(np.isfinite(part).all() for statistics in population.values() for part in statistics):
        problem = "what enters a BatchNorm layer is not finite: look for NaN and infinity in x and in the weights"
        raise RequestError("x", type(x).__name__, problem=problem)
    return _changed(model, watch, population, in_place)


def _changed(model: tf.keras.Model, watch: Watch, statistics: Statistics, in_place: bool) -> tf.keras.Model:
    changed = model
    if not in_place:
        changed, made = copies.copy_compiled(model)
        layers = batch_norm.batch_norm_layers(model)
        paths = {id(layer): path for path, layer in batch_norm.batch_norm_layers(changed).items()}  # may differ
        statistics = {paths[id(made[id(layers[path])])]: found for path, found in statistics.items()}
    batch_norm.assign_statistics(changed, statistics)
    _warn_of_left(watch, stacklevel=5)
    return changed


@checked
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
    taken = _batches_seen(model.optimizer) if steps is None else whole_number("steps", steps, minimum=1)
    calibration = ("x", x) if calibration_x is None else ("calibration_x", calibration_x)
    for name, data in (("x", x), calibration):
        _check_data(name, data)
        if hasattr(data, "__next__"):
            raise RequestError(name, type(data).__name__, "arrays or a Dataset; a generator is spent after one reading")
    if y is None and not watching.has_batches(x) and getattr(model, "loss", None) is not None:
        raise RequestError("y", y, "labels, which the model's loss needs, or a Dataset with labels as x")
    if taken == 0:
        raise RequestError("model", model.name, problem="it has not been trained: give its number of steps as steps=")
    before = _initial(model, initial)
    watch = _pass_data(model, *calibration, batch_size)
    if watch.empty:
        watch.trace()
    debiased = _debiased(watch, taken, before)
    assumed = steps is None or initial is None
    doubt = _doubt(watch, debiased, taken * batch_size) if assumed else ""
    evaluation = _evaluate_each(model, x, y, None if doubt else debiased, watch.population)
    if doubt:
        warnings.warn(
            f"debiasing by {taken} steps since the initial averages cannot be right, as after loading or compiling "
            f"anew: {doubt}; give steps= and initial=",
            stacklevel=3,
        )
    if assumed:
        _warn_of_left(watch, stacklevel=4)
    frame = pd.DataFrame.from_dict(evaluation, orient="index").rename_axis("reading")
    return frame.assign(loss_removed=-frame["loss"].diff()) if "loss" in frame else frame


def evaluate_readings(
    model: tf.keras.Model, x: Any, y: Any, calibration_x: Any, steps: int, batch_size: int, initial: Statistics
) -> dict[str, dict[str, Any]]:
    """Return loss and metrics in each reading; without BatchNorm they are the same. The model is left as it is.

    Args: as for ``moving_average_gap``, nothing left out; ``initial`` are the averages of each layer by its path.
    """
    watch = _pass_data(model, "calibration_x", calibration_x, batch_size)
    return _evaluate_each(model, x, y, _debiased(watch, steps, initial), watch.population)


def _batches_seen(optimizer: Any) -> int:
    """Return how many batches an optimizer has seen; where it accumulates gradients, it counts fewer steps."""
    if KERAS_3 and hasattr(optimizer, "inner_optimizer"):
        problem = "the loss scale optimizer does not count batches whose gradients overflow: give the number of batches"
        raise RequestError("steps", None, problem=problem)
    return int(getattr(optimizer, "_iterations", optimizer.iterations))


def _evaluate_each(
    model: tf.keras.Model, x: Any, y: Any, debiased: Statistics | None, population: Statistics
) -> dict[str, dict[str, Any]]:
    """Return loss and metrics in each reading; not-a-numbers where there are no statistics to debias by."""
    readings: dict[str, dict[str, Any]] = {}
    for reading, statistics in zip(READINGS, ({}, debiased, population), strict=True):
        if statistics is None:
            readings[reading] = dict.fromkeys(readings["inference"], float("nan"))
        elif readings and not statistics:  # nothing changes
            readings[reading] = dict(readings["inference"])
        else:
            with graphs.keeping_variables(model):
                batch_norm.assign_statistics(model, statistics)
                readings[reading] = _evaluate(model, x, y)
    return readings


def _evaluate(model: tf.keras.Model, x: Any, y: Any) -> dict[str, Any]:
    how = {} if watching.has_batches(x) else {"batch_size": EVALUATION_BATCH}
    with without_autotuning(), _refusing_data("x", x):
        found = model.evaluate(x, y, verbose=0, return_dict=True, **how)
    found = {"loss": found.pop("loss"), **found} if "loss" in found else found  # Keras 3 sorts them
    return {name: float(value) if np.ndim(value) == 0 else np.asarray(value) for name, value in found.items()}


def _pass_data(model: tf.keras.Model, setting: str, x: Any, batch_size: int, batches: int | None = None) -> Watch:
    """Return what has seen the data pass the model, which is left as it is; without BatchNorm, none pass."""
    watch = Watch(model)
    if not watch.empty:
        with graphs.keeping_variables(model), _refusing_data(setting, x):
            watch.pass_data(x, batch_size, batches)
    return watch


def _initial(model: tf.keras.Model, initial: Any) -> Statistics:
    """Return the averages before training, by layer; what does not fit the model is refused."""
    if initial is None:
        return batch_norm.initial_statistics(model)
    layers = batch_norm.batch_norm_layers(model)
    allowed = f"a model with the same {len(layers)} BatchNorm layers, or a mean and a variance for each of them"
    given = batch_norm.moving_statistics(initial).values() if isinstance(initial, tf.keras.Model) else initial
    fit: Statistics = {}
    try:
        for (path, layer), (mean, variance) in zip(layers.items(), given, strict=True):
            shape = layer.moving_mean.shape
            fit[path] = (np.broadcast_to(mean, shape).astype(float), np.broadcast_to(variance, shape).astype(float))
    except (TypeError, ValueError):
        raise RequestError("initial", type(initial).__name__, allowed) from None
    if not all(np.isfinite(mean).all() and (variance >= 0).all() for mean, variance in fit.values()):
        raise RequestError("initial", type(initial).__name__, f"{allowed}, finite, no variance below 0")
    return fit


def _debiased(watch: Watch, steps: int, initial: Statistics) -> Statistics:
    updates = {path: steps * calls for path, calls in watch.calls.items()}
    return batch_norm.debias_statistics(watch.model, updates, initial)


def _negative(debiased: Statistics) -> str:
    """Return which layer's debiased variance is negative, as a clause; empty: none."""
    paths = (path for path, (_, variance) in debiased.items() if (variance < 0).any())
    return next((f"the debiased variance of {path!r} is negative" for path in paths), "")


def _doubt(watch: Watch, debiased: Statistics, examples: int) -> str:
    """Return why debiasing by so many examples cannot be right, as a clause; empty: nothing speaks against it."""
    if reason := _negative(debiased):
        return reason
    moving, population = batch_norm.moving_statistics(watch.model), watch.population
    distances = [
        [_distance(found[path], population[path], layer.epsilon) for found in (moving, debiased)]
        for path, layer in batch_norm.batch_norm_layers(watch.model).items()
        if path in debiased and path in population
    ]
    if not distances:
        return ""
    before, after = np.sqrt(np.mean(np.square(distances), axis=0))
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
    if watching.has_batches(x):
        endless = isinstance(x, tf.data.Dataset) and x.cardinality() == tf.data.INFINITE_CARDINALITY
        if endless and batches is None:
            raise RequestError(
                setting, type(x).__name__, problem="it has no end: pass some of its batches, as take(100) does"
            )
    elif not (parts := tf.nest.flatten(x)) or any(tuple(np.shape(part))[:1] == (0,) for part in parts):
        raise RequestError(setting, type(x).__name__, problem="it holds no example")


def _refusing_data(setting: str, x: Any) -> contextlib.AbstractContextManager[None]:
    shape = f" {tuple(x.shape)}" if hasattr(x, "shape") else ""
    return refuse_failure(setting, f"{type(x).__name__}{shape}", "the model does not take these data")


def _warn_of_left(watch: Watch, stacklevel: int) -> None:
    if watch.left:
        left = [f"{path!r} ({reason})" for path, reason in watch.left.items()]
        warnings.warn(f"BatchNorm left as it is: {shortened(left)}", stacklevel=stacklevel)
