"""Readings, copies and swaps of models that Hypothesis draws, beside a NumPy model of what BatchNorm does in training.

A drawn model has one to three inputs, each with a chain of layers, then a common chain. A layer is drawn by its number
from a small stock, so that it may stand in several places, and may be frozen, wrapped, nested, or in a block.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normlib.errors import RequestError
from normlib.models import batch_norm, copies, readings
from normlib.models.swap import slots, swap
from normlib.tf import KERAS_3, tf

keras = tf.keras
layers = keras.layers
POSITIONS, CHANNELS = 4, 3
KINDS = ["norm", "dense", "wrapped", "block", "nested", "dropout", "function"]
DRAWN = settings.get_profile("drawn models")


class Block(layers.Layer):
    """A layer of one's own that normalizes twice with the same BatchNorm."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization()

    def build(self, shape):
        self.norm.build(shape)
        super().build(shape)

    def call(self, inputs, training=None):
        return self.norm(inputs, training=training) + self.norm(2.0 * inputs + 1.0, training=training)


def make(kind):
    if kind == "norm":
        return layers.BatchNormalization()
    if kind == "dense":
        return layers.Dense(CHANNELS)
    if kind == "wrapped":
        return layers.TimeDistributed(layers.BatchNormalization())
    if kind == "block":
        return Block()
    if kind == "nested":
        inner = keras.Input((POSITIONS, CHANNELS))
        return keras.Model(inner, layers.Dense(CHANNELS)(layers.BatchNormalization()(inner)))
    return layers.Dropout(0.5) if kind == "dropout" else layers.Lambda(lambda x: x * 2.0 - 1.0)


class Drawn:
    """A drawn model, built in Keras with random weights, and followed in NumPy."""

    def __init__(self, chains, tail, frozen, masked):
        self.stock = {}
        self.chains, self.tail, self.masked = chains, tail, masked
        inputs = [keras.Input((POSITIONS, CHANNELS)) for _ in chains]
        ends = [
            self._connect(layers.Masking()(x) if masked else x, chain) for x, chain in zip(inputs, chains, strict=True)
        ]
        joined = layers.Add()(ends) if len(ends) > 1 else ends[0]
        outputs = layers.Dense(2)(self._connect(joined, tail))
        self.model = keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs)
        generator = np.random.default_rng(len(self.stock))
        for weight in self.model.weights:
            name = getattr(weight, "path", weight.name)
            spread = (0.5, 1.5) if "gamma" in name or "variance" in name else (-1.0, 1.0)
            weight.assign(generator.uniform(*spread, size=weight.shape))
        for key in frozen & set(self.stock):
            self.stock[key].trainable = False

    def _connect(self, x, chain):
        for key in chain:
            if key not in self.stock:
                self.stock[key] = make(key[0])
            x = self.stock[key](x)
        return x

    def norms(self):
        return {
            key: layer
            if key[0] == "norm"
            else next(inner for inner in layer._flatten_layers() if batch_norm.is_batch_norm(inner))
            for key, layer in self.stock.items()
            if key[0] in {"norm", "wrapped", "block", "nested"}
        }

    def follow(self, parts):
        entered = {}
        mask = [np.any(part != 0, axis=-1) if self.masked else np.ones(part.shape[:2], bool) for part in parts]

        def normalize(key, x, mask):
            norm = self.norms()[key]
            gamma, beta = np.array(norm.gamma, np.float64), np.array(norm.beta, np.float64)
            if not norm.trainable:
                mean, variance = np.array(norm.moving_mean, np.float64), np.array(norm.moving_variance, np.float64)
            else:
                entered.setdefault(key, []).append(x[mask])
                mean, variance = x[mask].mean(axis=0), x[mask].var(axis=0)
            return (x - mean) / np.sqrt(variance + norm.epsilon) * gamma + beta

        def dense(layer, x):
            return x @ np.array(layer.kernel, np.float64) + np.array(layer.bias, np.float64)

        def wrapped(key, x, mask):
            if not KERAS_3:  # one call with all positions
                return normalize(key, x, mask)
            return np.stack([normalize(key, x[:, i], mask[:, i]) for i in range(POSITIONS)], axis=1)

        def apply(chain, x, mask):
            for key in chain:
                kind, layer = key[0], self.stock[key]
                if kind == "norm":
                    x = normalize(key, x, mask)
                elif kind == "wrapped":
                    x = wrapped(key, x, mask)
                elif kind == "block":
                    x = normalize(key, x, mask) + normalize(key, 2 * x + 1, mask)
                elif kind == "nested":
                    x = dense(layer.layers[-1], normalize(key, x, mask))
                else:
                    x = dense(layer, x) if kind == "dense" else x if kind == "dropout" else 2 * x - 1
            return x

        ends = [
            apply(chain, part.astype(np.float64), m) for chain, part, m in zip(self.chains, parts, mask, strict=True)
        ]
        apply(self.tail, sum(ends), np.all(mask, axis=0))
        return entered


@st.composite
def drawn(draw):
    masked = draw(st.booleans())
    # A mask does not pass blocks, functions and wrappers alike in both Keras; what passes it is enough.
    kinds = st.sampled_from(["norm", "dense", "dropout"] if masked else KINDS)
    chain = st.lists(st.tuples(kinds, st.integers(0, 1)), min_size=1, max_size=3)
    chains = draw(st.lists(chain, min_size=1, max_size=1 if masked else 3))
    tail = draw(chain)
    frozen = draw(st.sets(st.tuples(st.sampled_from(["norm", "nested"]), st.integers(0, 1)), max_size=2))
    return Drawn(chains, tail, frozen, masked)


def data(model, count=70):
    """Return an array for each input, with distinct channels and, for a mask, positions of zeros."""
    generator = np.random.default_rng(1)
    parts = []
    for number in range(len(model.chains)):
        part = generator.normal(size=(count, POSITIONS, CHANNELS)) * [1, 2, 3] + [3, -2, 1] + number
        part[:, 2:] *= 0 if model.masked else 1
        parts.append(part.astype(np.float32))
    return parts


def call(model, parts):
    return np.array(model(parts if len(parts) > 1 else parts[0], training=False))


def quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*arguments, **options)


def assert_close(found, expected):
    """At most 1e-5 of the scale."""
    scale = max(float(np.abs(expected).max()), 1.0)
    np.testing.assert_allclose(np.array(found), expected, rtol=0, atol=1e-5 * scale)


@settings(DRAWN)
@given(drawn())
def test_recalibrated_statistics_are_those_that_numpy_finds(model):
    parts, keras_model = data(model), model.model
    x = parts if len(parts) > 1 else parts[0]
    before, weights = call(keras_model, parts), [np.array(weight) for weight in keras_model.weights]
    copied, made = copies.copy_compiled(keras_model)
    np.testing.assert_array_equal(call(copied, parts), before)
    recalibrated = quietly(readings.recalibrate, keras_model, x, 32)
    np.testing.assert_array_equal(call(keras_model, parts), before)
    for weight, kept in zip(keras_model.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, kept)

    entered = {}
    for start in range(0, len(parts[0]), 32):
        for key, calls in model.follow([part[start : start + 32] for part in parts]).items():
            entered.setdefault(key, []).extend(calls)
    quietly(readings.recalibrate, copied, x, 32, in_place=True)
    np.testing.assert_array_equal(call(recalibrated, parts), call(copied, parts))
    for key, norm in model.norms().items():
        copied_norm = made[id(norm)]
        if key in entered:
            everything = np.concatenate([calls.reshape(-1, CHANNELS) for calls in entered[key]])
            assert_close(copied_norm.moving_mean, everything.mean(axis=0))
            assert_close(copied_norm.moving_variance, everything.var(axis=0))
        else:
            np.testing.assert_array_equal(copied_norm.moving_mean, norm.moving_mean)
            np.testing.assert_array_equal(copied_norm.moving_variance, norm.moving_variance)


@settings(DRAWN)
@given(drawn(), st.integers(1, 3))
def test_debiasing_goes_by_each_layers_own_updates(model, steps):
    parts = data(model, 16)
    initial = [
        (np.array(n.moving_mean), np.array(n.moving_variance))
        for n in batch_norm.batch_norm_layers(model.model).values()
    ]
    shares = {key: 0.99 ** (steps * len(calls)) for key, calls in model.follow(parts).items()}
    before = {key: np.array(norm.moving_mean, np.float64) for key, norm in model.norms().items()}
    for _ in range(steps):
        model.model(parts if len(parts) > 1 else parts[0], training=True)
    moving = {key: np.array(norm.moving_mean, np.float64) for key, norm in model.norms().items()}
    quietly(readings.debias, model.model, steps, in_place=True, initial=initial)
    for key, norm in model.norms().items():
        share = shares.get(key, 0.0)
        assert_close(norm.moving_mean, (moving[key] - share * before[key]) / (1 - share))


@settings(DRAWN)
@given(drawn())
def test_swapping_batch_norm_for_itself_changes_nothing(model):
    parts, table = data(model, 8), slots(model.model)
    if table.empty or not table["can be swapped"].all():
        with pytest.raises(RequestError, match=r"swap cannot reach|it has no slot"):
            swap(model.model, "bn")
        return
    np.testing.assert_array_equal(call(swap(model.model, "bn"), parts), call(model.model, parts))
