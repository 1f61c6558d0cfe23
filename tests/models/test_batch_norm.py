"""BatchNorm's moving averages are found wherever the layer is, set, read and debiased."""

import warnings

import numpy as np
import pytest
from test_graphs import random

from normlib.models import batch_norm, readings
from normlib.tf import tf

keras = tf.keras
layers = keras.layers


def norms(model):
    return list(batch_norm.batch_norm_layers(model).values())


def test_layers_are_found_by_path_and_start_from_mean_zero_and_variance_one():
    inner = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(name="norm")], name="inner")
    wrapper = layers.TimeDistributed(layers.BatchNormalization(name="norm"), name="wrapper")
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, layers.TimeDistributed(inner, name="outer")(wrapper(inputs)))
    assert list(batch_norm.batch_norm_layers(model)) == ["wrapper/norm", "outer/inner/norm"]
    for mean, variance in batch_norm.moving_statistics(model).values():
        assert (mean.tolist(), variance.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_a_dead_channel_is_debiased_to_a_variance_of_zero():
    x = random(64, 3) * np.array([1, 0, 1], np.float32)
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    for _ in range(150):
        model(x, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (norm,) = norms(readings.debias(model, 150))
    assert 0 <= float(norm.moving_variance[1]) < 1e-4


@pytest.fixture
def foldable():
    """A model whose BatchNorm layers are named after whether they fold, random in all that they hold."""
    inputs = keras.Input((6, 6, 2))
    x = layers.BatchNormalization(name="folds")(layers.Conv2D(3, 3)(inputs))
    x = layers.BatchNormalization(name="behind_batch_norm")(x)
    x = layers.BatchNormalization(name="behind_relu")(layers.Conv2D(3, 1, activation="relu")(x))
    x = layers.BatchNormalization(axis=1, name="along_rows")(layers.Conv2D(3, 1)(x))
    shared = layers.Conv2D(3, 1)
    x = layers.Add()([shared(x), layers.BatchNormalization(name="of_one_call")(shared(x))])
    side = layers.Conv2D(3, 1)(x)
    x = layers.Flatten()(layers.BatchNormalization(name="beside_an_output")(side))
    x = layers.BatchNormalization(name="folds_too")(layers.Dense(4)(x))
    model = keras.Model(inputs, [x, side])
    random = np.random.default_rng(0)
    model.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in model.get_weights()])
    return model


def test_what_folds_is_behind_a_layer_without_activation_whose_output_goes_nowhere_else(foldable):
    assert [place.path for place, _ in batch_norm.folding_places(foldable)] == ["folds", "folds_too"]


def test_with_kernels_rescaled_the_folded_layers_can_go(foldable):
    images = np.random.default_rng(1).normal(size=(5, 6, 6, 2)).astype(np.float32)
    expected = foldable.predict(images, verbose=0)
    for place, before in batch_norm.folding_places(foldable):
        gamma, beta, mean, variance = place.layer.get_weights()
        kernel, bias = before.get_weights()
        scale = gamma / np.sqrt(variance + place.layer.epsilon)
        before.set_weights([kernel * scale, (bias - mean) * scale + beta])
        ones, zeros = np.ones_like(gamma), np.zeros_like(gamma)
        place.layer.set_weights([ones, zeros, zeros, ones - place.layer.epsilon])  # which changes nothing
    for found, wanted in zip(foldable.predict(images, verbose=0), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4)
