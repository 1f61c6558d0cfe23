"""BatchNorm's moving averages are found wherever the layer is, read, set and put back."""

import numpy as np
import pytest

from normlib.moving_averages import assign_statistics, batch_norm_layers, keeping_statistics, moving_statistics
from normlib.tensorflow_quietly import tf


@pytest.fixture
def model():
    """A BatchNorm in the model, and one in a model within it."""
    inner = tf.keras.Sequential([tf.keras.Input((4, 4, 3)), tf.keras.layers.BatchNormalization()])
    return tf.keras.Sequential([tf.keras.Input((4, 4, 3)), tf.keras.layers.BatchNormalization(), inner])


def test_layers_within_layers_are_found_and_start_from_mean_zero_and_variance_one(model):
    assert len(batch_norm_layers(model)) == 2
    for mean, variance in moving_statistics(model):
        assert (mean.tolist(), variance.tolist()) == ([0, 0, 0], [1, 1, 1])


def test_what_is_assigned_is_read_again(model):
    random = np.random.default_rng(0)
    wanted = [(random.random(3, np.float32), random.random(3, np.float32)) for _ in range(2)]
    assign_statistics(model, wanted)
    np.testing.assert_array_equal(moving_statistics(model), wanted)


def test_averages_that_training_moves_are_put_back(model):
    before = moving_statistics(model)
    with keeping_statistics(model):
        model(np.random.default_rng(0).random((8, 4, 4, 3), np.float32), training=True)
        assert not np.array_equal(moving_statistics(model), before)
    np.testing.assert_array_equal(moving_statistics(model), before)
