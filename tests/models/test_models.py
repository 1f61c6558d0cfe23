import numpy as np
import pytest

from normlib.models.build import build_model, describe_layers
from normlib.models.instance import Instance
from normlib.tf import tf

BATCH, GROUP = "BatchNormalization", "GroupNormalization"


def layer_names(ordering, **settings):
    return [type(layer).__name__ for layer in build_model(Instance(ordering, **settings)).layers]


@pytest.mark.parametrize(
    ("ordering", "first", "second"),
    [
        ("bn/none", [BATCH], []),
        ("gn/none", [GROUP], []),
        ("gn/bn", [GROUP], [BATCH]),
        ("bn/gn", [BATCH], [GROUP]),
        ("none/none", [], []),
        ("none/gn", [], [GROUP]),
        ("bn+gn/none", [BATCH, GROUP], []),
        ("gn+bn/ln+in", [GROUP, BATCH], [GROUP, GROUP]),
    ],
)
def test_layers_stand_where_the_ordering_says(ordering, first, second):
    head = ["Flatten", "Dense", "Dropout", "Dense"]
    assert layer_names(ordering) == ["Reshape", "Conv2D", *first, "Conv2D", *second, *head]


def test_relu_follows_each_convolution_and_its_normalization():
    expected = ["Reshape", "Conv2D", BATCH, "Activation", "Conv2D", "Activation", "Flatten"]
    assert layer_names("bn/none", activation="relu")[:7] == expected


@pytest.mark.parametrize(
    ("ordering", "total", "non_trainable"),
    [
        ("bn/none", 739_748, 20),
        ("gn/none", 739_728, 0),
        ("gn/bn", 739_768, 20),
        ("bn/gn", 739_768, 20),
        ("none/none", 739_708, 0),
        # Two BatchNorms have four weights for each of ten channels, ten of each set moving averages of two kinds.
        ("bn/bn", 739_788, 40),
        ("bn+gn/ln+in", 739_808, 20),
    ],
)
def test_numbers_of_weights_are_the_sources(ordering, total, non_trainable):
    """Source: 100 + 910 in the convolutions, 5760 * 128 + 128 and 128 * 10 + 10 in the dense layers."""
    layers = describe_layers(build_model(Instance(ordering)))
    assert layers["parameters"].sum() == total
    assert layers["parameters"].sum() - layers["of them trainable"].sum() == non_trainable


def test_layers_are_described_with_their_output_shapes():
    layers = describe_layers(build_model(Instance("bn/none")))
    assert layers.loc[3].tolist() == [BATCH, "(None, 26, 26, 10)", 40, 20]
    assert layers["output shape"].tolist()[-4:] == ["(None, 5760)", "(None, 128)", "(None, 128)", "(None, 10)"]


def test_settings_reach_the_layers_and_the_optimizer():
    model = build_model(Instance("bn/gn", momentum=0.9, groups=2, learning_rate=0.01))
    batch, group = (layer for layer in model.layers if type(layer).__name__ in (BATCH, GROUP))
    assert batch.momentum == 0.9
    assert group.groups == 2
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01, rtol=1e-6)


def test_group_norm_has_the_sources_five_groups_unless_asked_otherwise():
    (group,) = (layer for layer in build_model(Instance("gn")).layers if type(layer).__name__ == GROUP)
    assert group.groups == 5


def test_a_layer_with_several_outputs_is_described_with_their_shapes():
    keras = tf.keras
    inputs = keras.Input((4,))
    first, second = keras.layers.Lambda(lambda x: (x, x[:, :2]))(inputs)
    layers = describe_layers(keras.Model(inputs, [first, second]))
    assert layers["output shape"].tolist()[-1] == "(None, 4), (None, 2)"
