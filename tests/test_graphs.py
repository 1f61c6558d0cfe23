import numpy as np
import pytest

from normlib import graphs
from normlib.errors import RequestError
from normlib.swapping import slots, swap
from normlib.tensorflow_quietly import tf

keras = tf.keras


def random(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


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


@pytest.mark.parametrize(
    ("ordering", "layers"),
    [
        ("gn", ["functional/norm", "sequential/norm", "norm"]),
        ("gn/none", ["functional/norm", "norm"]),
        (
            "bn/bn+gn/ln",
            ["functional/norm", "sequential/norm/norm_1_bn", "sequential/norm/norm_2_gn", "norm"],
        ),
    ],
)
def test_layers_of_nested_models_are_replaced(ordering, layers):
    swapped = swap(nested(), ordering, groups=4)
    assert slots(swapped)["layer"].tolist() == layers
    assert swapped([random(2, 4, 3, 5), random(2, 4, 3, 5)]).shape == (2, 4, 3, 8)


def test_a_nested_model_is_copied_bit_for_bit():
    model, images = nested(), [random(2, 4, 3, 5), random(2, 4, 3, 5) + 1]
    copy = graphs.copy_model(model, {}, set())
    assert copy is not model
    np.testing.assert_array_equal(model(images, training=False), copy(images, training=False))


@pytest.mark.parametrize(("ordering", "weights"), [("bn", 4), ("gn", 2), ("bn+gn", 6), ("none", 0)])
def test_a_shared_layer_stays_shared(ordering, weights):
    swapped = swap(shared(), ordering, groups=4)
    assert len(swapped.weights) == weights
    large, small = swapped([random(2, 4, 4, 8), random(2, 2, 2, 8)])
    assert (large.shape, small.shape) == ((2, 4, 4, 8), (2, 2, 2, 8))


def test_a_layer_shared_with_a_nested_model_stays_shared():
    norm, inner, outer = keras.layers.BatchNormalization(name="norm"), keras.Input((8,)), keras.Input((8,))
    model = keras.Model(outer, norm(keras.Model(inner, norm(inner), name="inner")(outer)))
    swapped = swap(model, "gn", groups=4)
    assert len(swapped.weights) == 2
    assert slots(swapped)["kind"].tolist() == ["gn"]


@pytest.mark.parametrize("build", [lambda model: model(random(2, 4, 3, 5)), lambda model: model.build((None, 4, 3, 5))])
def test_a_sequential_that_got_its_shape_later_is_copied_built(build):
    model = keras.Sequential([keras.layers.Conv2D(8, 1), keras.layers.BatchNormalization()])
    build(model)
    copy = graphs.copy_model(model, {}, set())
    np.testing.assert_array_equal(model(random(2, 4, 3, 5)), copy(random(2, 4, 3, 5)))


def test_a_copy_is_not_compiled():
    model = nested()
    model.compile("sgd", "mse")
    copy = graphs.copy_model(model, {}, set())
    assert getattr(copy, "optimizer", None) is None
    assert model.optimizer is not None


def test_what_is_trainable_stays_so():
    model = nested()
    model.get_layer("functional").trainable = False
    model.get_layer("functional").get_layer("norm").trainable = True  # in a model that is not, which decides
    model.get_layer("norm").trainable = False
    copy = swap(model, "bn/gn/bn", groups=4)
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    assert copy.get_layer("functional").get_layer("norm").trainable
    assert len(copy.trainable_weights) == len(model.trainable_weights)


def test_statistics_of_preprocessing_layers_are_kept():
    normalization = keras.layers.Normalization()
    normalization.adapt(random(50, 8) * 3 + 7)
    model = keras.Sequential([keras.Input((8,)), normalization, keras.layers.BatchNormalization()])
    copy = graphs.copy_model(model, {}, set())
    np.testing.assert_array_equal(model(random(2, 8)), copy(random(2, 8)))


class Forgetful(keras.layers.Layer):
    """Scales its input; its configuration does not say how many channels it has."""

    def __init__(self, channels, **options):
        super().__init__(**options)
        self.scale = self.add_weight(shape=(channels,), name="scale")

    def call(self, inputs):
        """Scale."""
        return inputs * self.scale

    def get_config(self):
        """Return the name only."""
        return {"name": self.name}


class Inconstant(Forgetful):
    """The same; its configuration says another number."""

    def __init__(self, channels=1, **options):
        super().__init__(channels, **options)


@pytest.mark.parametrize("layer", [Forgetful, Inconstant])
def test_a_layer_that_its_configuration_does_not_describe_is_refused(layer):
    model = keras.Sequential([keras.Input((8,)), layer(8, name="scale"), keras.layers.BatchNormalization()])
    with pytest.raises(RequestError, match=rf"get_config describes in full; that of {layer.__name__} 'scale' does not"):
        swap(model, "gn", groups=4)


@pytest.mark.parametrize("make", [int, keras.layers.BatchNormalization, keras.Sequential])
def test_what_has_no_graph_is_refused(make):
    with pytest.raises(RequestError, match="allowed: a Keras model, Sequential or Functional, that is built"):
        graphs.check_graph(make())
