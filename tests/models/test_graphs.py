"""Layers are found wherever they stand, with their paths, shapes and channels."""

import numpy as np

from normlib.models import graphs
from normlib.models.swap import slots
from normlib.tf import tf

keras = tf.keras


def random(*shape, mean=0.0):
    """Return random numbers whose channels, on the last axis, differ in mean and spread."""
    channels = np.arange(1, shape[-1] + 1)
    return (np.random.default_rng(3).normal(size=shape) * channels + channels + mean).astype(np.float32)


def give_random_weights(model):
    generator = np.random.default_rng(5)
    model.set_weights([generator.uniform(0.5, 1.5, size=weight.shape) for weight in model.get_weights()])
    return model


def nested():
    """Return a model with a BatchNorm of its own, one in a Functional that it calls twice and one in a Sequential."""
    inner = keras.Input((4, 3, 5))
    features = keras.layers.BatchNormalization(name="norm")(keras.layers.Conv2D(8, 1)(inner))
    functional = keras.Model(inner, features, name="functional")
    layers = [keras.layers.Conv2D(8, 1), keras.layers.BatchNormalization(name="norm")]
    sequential = keras.Sequential(layers, name="sequential")
    left, right = keras.Input((4, 3, 5), name="left"), keras.Input((4, 3, 5), name="right")
    both = keras.layers.Add()([functional(left), functional(right)])
    outer = keras.layers.BatchNormalization(name="norm")(sequential(both))
    return give_random_weights(keras.Model([left, right], outer))


def shared():
    """Return a model with a BatchNorm that normalizes inputs of two sizes."""
    large, small = keras.Input((4, 4, 8), name="large"), keras.Input((2, 2, 8), name="small")
    norm = keras.layers.BatchNormalization(name="norm")
    return give_random_weights(keras.Model([large, small], [norm(large), norm(small)]))


def test_layers_are_found_once_in_data_flow_order_with_their_paths():
    paths = [place.path for place in graphs.find_places(nested())]
    assert [path for path in paths if "norm" in path] == ["functional/norm", "sequential/norm", "norm"]


def test_a_place_says_shape_axis_and_channels():
    places = {place.path: place for place in graphs.find_places(nested())}
    norm = places["functional/norm"]
    assert (norm.shape, norm.axis, norm.channels, norm.has_positions) == ((None, 4, 3, 8), 3, 8, True)


def test_the_shape_of_a_shared_layer_is_what_its_calls_have_in_common():
    (norm,) = (place for place in graphs.find_places(shared()) if place.path == "norm")
    assert norm.shape == (None, None, None, 8)


def test_a_layers_calls_in_other_models_are_not_seen():
    norm = keras.layers.BatchNormalization()
    for size in (6, 4):
        image = keras.Input((size, size, 8))
        model = keras.Model(image, norm(image))
    assert slots(model)["output shape"].tolist() == ["(None, 4, 4, 8)"]
