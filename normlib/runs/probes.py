"""Probes: look at a model while it is being trained, and leave it as it is.

A probe passes the same images each time, in batches as in training: BatchNorm normalizes by its batch, and its moving
averages are put back afterwards; dropout is off, so that no random number is drawn. No other state is touched, so a
run's bits are those of the run without.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from normlib.models import batch_norm, graphs, watching
from normlib.models.kinds import find_kind
from normlib.tf import tf

_NAME = re.compile(
    r"(?:(?:convolution|hidden)_(?=\d+$)|slot_(?=\d+_))(\d+)(?:_\d+)?"
)  # as normlib.models.zoo gives them
_KERNEL = re.compile(r"kernel(:\d+)?$")

Row: TypeAlias = tuple[str, int, str, float]


@dataclass(frozen=True)
class Slot:
    """A slot: its number from 1, the layer whose outputs leave it, and the BatchNorm layers in it by path."""

    number: int
    path: str
    layer: tf.keras.layers.Layer
    batch_norms: dict[str, tf.keras.layers.BatchNormalization]


def find_slots(model: tf.keras.Model, named: bool) -> list[Slot]:
    """Return the slots of a model, in data-flow order.

    Args:
        model: As ``normlib.build_model`` gives.
        named: Whether it is one of ``normlib.models.zoo``, which name layers after their slots: the last layer
            in a slot is looked at, or the layer before it where it is empty. In a model of one's own, each
            normalization layer is a slot, and so is each Identity, which stands for an empty one; a Sequential of
            normalization layers is one slot.
    """
    return _named_slots(model) if named else _found_slots(model)


def _named_slots(model: tf.keras.Model) -> list[Slot]:
    members: dict[int, list] = {}
    for layer in model.layers:
        if found := _NAME.fullmatch(layer.name):
            members.setdefault(int(found[1]), []).append(layer)
    return [
        Slot(number, layers[-1].name, layers[-1], _batch_norms(layers)) for number, layers in sorted(members.items())
    ]


def _found_slots(model: tf.keras.Model) -> list[Slot]:
    slots: list[Slot] = []
    inside: set[int] = set()
    for place in graphs.find_places(model):
        stack = isinstance(place.layer, tf.keras.Sequential) and all(map(find_kind, place.layer.layers))
        if (
            not place.in_graph
            or id(place.layer) in inside
            or not (stack or find_kind(place.layer) or isinstance(place.layer, tf.keras.layers.Identity))
        ):
            continue
        members = place.layer.layers if stack else [place.layer]
        inside |= {id(member) for member in members}
        before = place.path + "/" if stack else place.path.removesuffix(place.layer.name)
        slots.append(Slot(len(slots) + 1, place.path, place.layer, _batch_norms(members, before)))
    return slots


def _batch_norms(layers: list, before: str = "") -> dict:
    return {before + layer.name: layer for layer in layers if batch_norm.is_batch_norm(layer)}


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
    """Return the mean cosine similarity over all pairs of samples, from the sum of their unit vectors.

    ``(||sum||² - n) / (n (n - 1))``: the square holds each of the n samples with itself, and each pair twice. It is the
    mean over pairs that Lubana, Dick and Tanaka's code takes (2021, arXiv 2106.05956), there within one batch and
    behind the nonlinearity.

    Args:
        total: Sum of the samples' unit vectors, ``[numbers]``.
        samples: Their number ``n``.

    Returns:
        From -1 / (n - 1) to 1; NaN for a single sample.
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
        named: Whether it is one of ``normlib.models.zoo``.
        images: What it is looked at with, ``[n, ...]``.
        labels: Their classes, ``[n]``.
        batch_size: Images that BatchNorm normalizes together.
    """

    def __init__(self, model: tf.keras.Model, named: bool, images: np.ndarray, labels: np.ndarray, batch_size: int):
        parts = [slice(start, start + batch_size) for start in range(0, len(images), batch_size)]
        self._model = model
        self._batches = [(tf.convert_to_tensor(images[part]), tf.convert_to_tensor(labels[part])) for part in parts]
        self._sizes = [len(labels[part]) for part in parts]
        self._slots, self._kernels = find_slots(model, named), find_kernels(model)
        self._watch = watching.Watch(model)
        self._losses = tf.keras.losses.get(model.loss)
        self._look_at_batch = self._traced()

    def look(self) -> list[Row]:
        """Return what there is to see now: quantity, place, layer and value, see ``normlib.diagnose``."""
        images = sum(self._sizes)
        sums = [np.zeros(1)] * len(self._slots)
        means: dict[str, list] = {path: [0.0] * len(kernels) for path, kernels in self._kernels.items()}
        self._watch.reset()
        with np.errstate(all="ignore"), graphs.keeping_variables(self._model):  # of diverged runs
            for batch, size in zip(self._batches, self._sizes, strict=True):
                unit_sums, gradients = self._look_at_batch(*batch)
                sums = [total + part.numpy() for total, part in zip(sums, unit_sums, strict=True)]
                # Added up at once: those of all batches together may be larger than the memory.
                for path, parts in gradients.items():
                    shares = [size / images * np.asarray(part, np.float64) for part in parts]
                    means[path] = [mean + share for mean, share in zip(means[path], shares, strict=True)]
            rows: list[Row] = [
                ("cosine similarity", slot.number, slot.path, mean_cosine(total, images))
                for slot, total in zip(self._slots, sums, strict=True)
            ]
            for number, (path, parts) in enumerate(means.items(), start=1):
                rows.append(("gradient norm", number, path, float(np.sqrt(sum(np.sum(part**2) for part in parts)))))
        return rows + self._distances()

    def _distances(self) -> list[Row]:
        """Return how far each BatchNorm layer's moving averages are from the population that has been seen."""
        numbers = {path: slot.number for slot in self._slots for path in slot.batch_norms}
        moving, population = batch_norm.moving_statistics(self._model), self._watch.population
        return [
            (f"moving {name} distance", numbers[path], path, relative_distance(estimate, true))
            for path, statistics in population.items()
            for name, estimate, true in zip(("mean", "variance"), moving[path], statistics, strict=True)
        ]

    def _traced(self) -> Callable:
        """Return a function of a batch: slots' unit sums, the loss' gradients."""

        @tf.function(reduce_retracing=True, autograph=False)
        def look(images: tf.Tensor, labels: tf.Tensor) -> tuple[list, dict]:
            outputs: dict = {}
            with contextlib.ExitStack() as stack:
                for slot in self._slots:
                    stack.enter_context(_noting_outputs(slot.layer, outputs))
                tape = stack.enter_context(tf.GradientTape())
                predicted = self._watch.outputs(images)
                losses = self._losses(labels, predicted)
                loss = tf.add_n([tf.reduce_mean(losses), *self._model.losses])
            sums = [unit_sum(outputs[id(slot.layer)]) for slot in self._slots]
            return sums, tape.gradient(loss, self._kernels, unconnected_gradients="zero")

        return look


class Observer:
    """Looks at the model that is being trained at some steps, and keeps what it sees in ``rows``.

    Its ``callback`` is Keras' own kind: of other classes Keras 2 measures the time, and warns that they are slow.

    Args:
        steps: Numbers of steps taken before.
        *how: What a ``Probe`` needs besides the model.
    """

    def __init__(self, steps: Collection[int], *how: Any):
        self.rows: list[tuple[int, str, int, str, float]] = []
        self.callback = tf.keras.callbacks.LambdaCallback(on_train_begin=self._begin, on_train_batch_end=self._step)
        self._steps, self._how, self._taken = steps, how, 0

    def _begin(self, logs: dict | None = None) -> None:
        self._probe = Probe(self.callback.model, *self._how)
        self._look()

    def _step(self, batch: int, logs: dict | None = None) -> None:
        self._taken += 1
        self._look()

    def _look(self) -> None:
        if self._taken in self._steps:
            self.rows += [(self._taken, *row) for row in self._probe.look()]


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
