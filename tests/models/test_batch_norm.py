"""BatchNorm's moving averages are found wherever the layer is, set, read and debiased."""

import warnings

import numpy as np
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


def test_what_is_assigned_is_read_again():
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization(), layers.BatchNormalization()])
    wanted = {path: (random(3), random(3) + 9) for path in batch_norm.batch_norm_layers(model)}
    batch_norm.assign_statistics(model, wanted)
    found = batch_norm.moving_statistics(model)
    for key, statistics in wanted.items():
        np.testing.assert_array_equal(found[key], statistics)


def test_a_dead_channel_is_debiased_to_a_variance_of_zero():
    x = random(64, 3) * np.array([1, 0, 1], np.float32)
    model = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    for _ in range(150):
        model(x, training=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        (norm,) = norms(readings.debias(model, 150))
    assert 0 <= float(norm.moving_variance[1]) < 1e-4


def test_batch_norm_folds_into_a_layer_without_activation_whose_output_goes_nowhere_else():
    """That the outputs stay the same is in test_readings.py."""
    inputs = keras.Input((6, 6, 2))
    into_conv = layers.Conv2D(3, 3, name="conv")
    x = layers.BatchNormalization(name="folds")(into_conv(inputs))
    x = layers.BatchNormalization(name="behind_batch_norm")(x)
    x = layers.BatchNormalization(name="behind_relu")(layers.Conv2D(3, 1, activation="relu")(x))
    shared = layers.Conv2D(3, 1)(x)
    x = layers.Add()([shared, layers.BatchNormalization(name="beside_a_sum")(shared)])
    into_dense = layers.Dense(4, use_bias=False)
    x = layers.BatchNormalization(name="folds_too")(into_dense(layers.Flatten()(x)))
    found = batch_norm.folding_places(keras.Model(inputs, x))
    assert [(place.path, before) for place, before in found] == [("folds", into_conv), ("folds_too", into_dense)]
