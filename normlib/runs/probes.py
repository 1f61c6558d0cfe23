"""Probes: look at a model while it is being trained, and leave it as it is.

A probe passes the same images each time, in batches as in training: BatchNorm normalizes by its batch, and its moving
averages are put back afterwards; dropout is off, so that no random number is drawn. No other state is touched, so a
run's bits are those of the run without.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from normlib.models import batch_norm, graphs, watching
from normlib.models.kinds import find_kind
from normlib.tf import tf

_NAME = re.compile(r"(?:convolution|hidden)_(\d+)|slot_(\d+)_\d+")  # as normlib.models.zoo gives them
_KERNEL = re.compile(r"kernel(:\d+)?$")

Row: TypeAlias = tuple[str, int, str, float]


@dataclass(frozen=True)
class Slot:
    """A slot: its number from 1, the layer whose outputs leave it, with its path, and the layers that stand in it."""

    number: int
    path: str
    layer: tf.keras.layers.Layer
    members: Sequence[tf.keras.layers.Layer]


def find_slots(model: tf.keras.Model, named: bool) -> list[Slot]:
    """Return the slots of a model, in data-flow order.

    Args:
        model: As ``normlib.build_model`` gives.
        named: Whether it is one of ``normlib.models.zoo``, which name layers after their slots: the last layer
            in a slot is looked at, or the layer before it where it is empty. In a model of one's own, each
            normalization layer is a slot, and so is each Identity, which stands for an empty one; a Sequential of
            normalization layers is one slot.
    """
    if named:
        members: dict[int, list] = {}
        for layer in model.layers:
            if found := _NAME.fullmatch(layer.name):
                members.setdefault(int(found[1] or found[2]), []).append(layer)
        return [Slot(number, layers[-1].name, layers[-1], layers) for number, layers in sorted(members.items())]
    slots: list[Slot] = []
    inside: set[int] = set()
    for place in graphs.find_places(model):
        layer = place.layer
        stack = isinstance(layer, tf.keras.Sequential) and all(map(find_kind, layer.layers))
        is_slot = stack or find_kind(layer) or isinstance(layer, tf.keras.layers.Identity)
        if is_slot and place.in_graph and id(layer) not in inside:
            slots.append(Slot(len(slots) + 1, place.path, layer, layer.layers if stack else [layer]))
            inside |= {id(member) for member in slots[-1].members}
    return slots


def find_kernels(model: tf.keras.Model) -> dict[str, list]:
    """Return the kernels that are trained of each layer that has some, by its path, in data-flow order."""
    kernels = {}
    for place in graphs.find_places(model):
        own = place.layer.trainable_weights if place.in_graph and not graphs.has_graph(place.layer) else []
        if found := [weight for weight in own if _KERNEL.search(weight.name)]:
            kernels[place.path] = found
    return kernels


def unit_sum(outputs: tf.Tensor) -> tf.Tensor:
    """Return the sum over samples ``[n, ...]`` of their flattened outputs, each divided by its length, ``[numbers]``.

    Float64. An output of zeros has no direction, and makes it NaN.
    """
    flat = tf.cast(tf.reshape(outputs, [tf.shape(outputs)[0], -1]), tf.float64)
    return tf.reduce_sum(flat / tf.norm(flat, axis=1, keepdims=True), axis=0)


def mean_cosine(total: np.ndarray, samples: int) -> float:
    """Return the mean cosine similarity over all pairs of n samples, from the sum of their unit vectors, ``[numbers]``.

    ``(||sum||² - n) / (n (n - 1))``: the square holds each of the n samples with itself, and each pair twice. It is the
    mean over pairs that Lubana, Dick and Tanaka's code takes (2021, arXiv 2106.05956), there within one batch and
    behind the nonlinearity. From -1 / (n - 1) to 1; NaN for a single sample.
    """
    return float(np.sum(total**2) - samples) / (samples * (samples - 1)) if samples > 1 else float("nan")


def relative_distance(estimate: np.ndarray, true: np.ndarray) -> float:
    """Return ``||estimate - true|| / ||true||``, Euclidean, in float64; not finite where ``true`` is 0."""
    with np.errstate(all="ignore"):
        distance = np.linalg.norm(np.asarray(estimate, np.float64) - true)
        return float(np.divide(distance, np.linalg.norm(true)))


class Probe:
    """Looks at a model with the same images each time.

    Args:
        model: As ``normlib.build_model`` gives.
        named: As ``find_slots`` takes it.
        images: What it is looked at with, ``[n, ...]``.
        labels: Their classes, ``[n]``.
        batch_size: Images that BatchNorm normalizes together.
    """

    def __init__(self, model: tf.keras.Model, named: bool, images: np.ndarray, labels: np.ndarray, batch_size: int):
        parts = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
        self._model = model
        self._batches = [(tf.convert_to_tensor(images[part]), tf.convert_to_tensor(labels[part])) for part in parts]
        self._slots, self._kernels = find_slots(model, named), find_kernels(model)
        self._watch = watching.Watch(model)
        self._look_at_batch = tf.function(self._see_batch, reduce_retracing=True, autograph=False)

    def look(self) -> list[Row]:
        """Return what there is to see now: quantity, place, layer and value, see ``normlib.diagnose``."""
        count = sum(len(labels) for _, labels in self._batches)
        sums: list = [0.0] * len(self._slots)
        means: dict = dict.fromkeys(self._kernels, 0.0)
        self._watch.reset()
        with np.errstate(all="ignore"), graphs.keeping_variables(self._model):  # of diverged runs
            for images, labels in self._batches:
                unit_sums, gradients = self._look_at_batch(images, labels)
                sums = [total + part.numpy() for total, part in zip(sums, unit_sums, strict=True)]
                # Added up at once: those of all batches together may be larger than the memory.
                for path, gradient in gradients.items():
                    means[path] += len(labels) / count * gradient.numpy()
            rows: list[Row] = [
                ("cosine similarity", slot.number, slot.path, mean_cosine(total, count))
                for slot, total in zip(self._slots, sums, strict=True)
            ]
            for number, (path, mean) in enumerate(means.items(), start=1):
                rows.append(("gradient norm", number, path, float(np.linalg.norm(mean))))
        return rows + self._distances()

    def _distances(self) -> list[Row]:
        """Return how far each BatchNorm layer's moving averages are from the population that has been seen."""
        numbers = {id(layer): slot.number for slot in self._slots for layer in slot.members}
        layers, moving = batch_norm.batch_norm_layers(self._model), batch_norm.moving_statistics(self._model)
        return [
            (f"moving {name} distance", numbers[id(layers[path])], path, relative_distance(estimate, true))
            for path, statistics in self._watch.population.items()
            for name, estimate, true in zip(("mean", "variance"), moving[path], statistics, strict=True)
        ]

    def _see_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[list, dict[str, tf.Tensor]]:
        """Return each slot's unit sum, and by layer the loss' gradient, ``[numbers]``, in float64."""
        outputs: dict = {}
        with contextlib.ExitStack() as stack:
            for slot in self._slots:
                stack.enter_context(_noting_outputs(slot.layer, outputs))
            tape = stack.enter_context(tf.GradientTape())
            predicted = self._watch.outputs(images)
            losses = tf.keras.losses.get(self._model.loss)(labels, predicted)
            loss = tf.add_n([tf.reduce_mean(losses), *self._model.losses])
        sums = [unit_sum(outputs[id(slot.layer)]) for slot in self._slots]
        gradients = tape.gradient(loss, self._kernels, unconnected_gradients="zero")
        flat = {
            path: [tf.reshape(tf.cast(part, tf.float64), [-1]) for part in parts] for path, parts in gradients.items()
        }
        return sums, {path: tf.concat(parts, axis=0) for path, parts in flat.items()}


def observe(steps: Collection[int], *how: Any) -> tuple[tf.keras.callbacks.Callback, list[tuple]]:
    """Return a callback that looks at the trained model after some numbers of steps, and the list of what it sees.

    It is Keras' own kind of callback: of other classes Keras 2 measures the time, and warns that they are slow. A row
    is the number of steps, then what ``Probe.look`` gives; ``how`` is what a ``Probe`` needs besides the model.
    """
    rows: list[tuple] = []
    probes: list[Probe] = []
    taken = itertools.count()

    def look(*_: object, **__: object) -> None:
        step = next(taken)
        if not probes:
            probes.append(Probe(callback.model, *how))
        if step in steps:
            rows.extend((step, *row) for row in probes[0].look())

    callback = tf.keras.callbacks.LambdaCallback(on_train_begin=look, on_train_batch_end=look)
    return callback, rows


@contextlib.contextmanager
def _noting_outputs(layer: tf.keras.layers.Layer, found: dict) -> Iterator[None]:
    """Note what leaves a layer meanwhile; of one that is called more than once, what leaves it last."""
    before = vars(layer).get("call")

    @tf.autograph.experimental.do_not_convert
    def call(*args: object, **options: object) -> tf.Tensor:
        # The class is asked at each call, since a watch puts its own in place of BatchNorm's.
        found[id(layer)] = before(*args, **options) if before else type(layer).call(layer, *args, **options)
        return found[id(layer)]

    layer.call = call
    try:
        yield
    finally:
        del layer.call
        if before is not None:
            layer.call = before
