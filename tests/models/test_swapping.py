import functools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_kinds import PROVIDERS, group_norm

from normlib.errors import RequestError
from normlib.models.swap import slots, swap
from normlib.tf import KERAS_3, tf

keras = tf.keras
SMALLEST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}  # pixels that Keras allows; 32 for all others


def random(*shape):
    """Return random numbers whose channels, on the last axis, differ in mean and spread."""
    channels = np.arange(1, shape[-1] + 1)
    return (np.random.default_rng(3).normal(size=shape) * channels - 2 * channels).astype(np.float32)


def give_random_weights(model):
    generator = np.random.default_rng(5)
    model.set_weights([generator.uniform(0.5, 1.5, size=weight.shape) for weight in model.get_weights()])
    return model


def network(*channels, **options):
    """Return a model with a 1 x 1 convolution and a BatchNorm, ``norm_1`` and so on, for each number of channels."""
    layers = [keras.Input((4, 3, 5))]
    for number, count in enumerate(channels, start=1):
        layers += [keras.layers.Conv2D(count, 1), keras.layers.BatchNormalization(name=f"norm_{number}", **options)]
    return give_random_weights(keras.Sequential(layers))


def one_layer(shape, **options):
    """Return a model that is one BatchNorm, ``norm``."""
    return keras.Sequential([keras.Input(shape), keras.layers.BatchNormalization(name="norm", **options)])


def layer_norm_only():
    return keras.Sequential([keras.Input((4, 6)), keras.layers.LayerNormalization()])


class Block(keras.layers.Layer):
    """Two normalization layers in a layer of one's own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norms = [keras.layers.LayerNormalization(name="first"), keras.layers.BatchNormalization(name="second")]

    def build(self, shape):
        """Build both."""
        for norm in self.norms:
            norm.build(shape)
        super().build(shape)

    def call(self, inputs):
        """Apply both."""
        return self.norms[1](self.norms[0](inputs))


def build_application(name):
    size = SMALLEST.get(name, 32)
    return getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=10)


def quietly(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return swap(*arguments, **options)


@functools.lru_cache(maxsize=4)  # the few that several tests share
def swapped_application(name):
    """Return an application and the same with GroupNorm; nothing changes them."""
    model = build_application(name)
    return model, quietly(model, "gn")


def test_slots_are_listed_in_data_flow_order():
    table = slots(swap(network(8, 12, 8, 6), "bn/gn/ln/in", groups=4))
    assert table.index.name == "slot"
    assert table.reset_index().values.tolist() == [
        [1, "norm_1", "bn", 8, None, "(None, 4, 3, 8)", 32, True],
        [2, "norm_2", "gn", 12, 4, "(None, 4, 3, 12)", 24, True],
        [3, "norm_3", "ln", 8, 1, "(None, 4, 3, 8)", 16, True],
        [4, "norm_4", "in", 6, 6, "(None, 4, 3, 6)", 12, True],
    ]


def test_slots_inside_wrappers_and_layers_of_ones_own_are_listed_as_out_of_reach():
    layers = [
        keras.Input((4, 6)),
        keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="inner"), name="wrapper"),
        Block(name="block"),
        keras.layers.BatchNormalization(name="norm"),
    ]
    table = slots(keras.Sequential(layers))
    assert table[["layer", "kind", "channels", "can be swapped"]].values.tolist() == [
        ["wrapper/inner", "bn", 6, False],
        ["block/first", "ln", 6, False],
        ["block/second", "bn", 6, False],
        ["norm", "bn", 6, True],
    ]


def test_slots_of_a_subclassed_model_are_listed():
    model = Subclassed()
    model(random(2, 6))
    assert slots(model)[["kind", "channels", "can be swapped"]].values.tolist() == [["bn", 6, False]]


def test_keras_layer_normalization_is_listed_and_other_layers_are_not():
    model = keras.Sequential([keras.Input((4, 6)), keras.layers.LayerNormalization(), keras.layers.Dense(2)])
    assert slots(model)[["kind", "channels", "groups"]].values.tolist() == [["ln", 6, None]]
    assert slots(keras.Sequential([keras.Input((4, 6)), keras.layers.Dense(2)])).empty


@pytest.mark.parametrize(
    ("ordering", "kinds"),
    [
        ("gn", ["gn", "gn", "gn"]),
        ("gn/bn", ["gn", "bn", "gn"]),
        ("none/ln", ["ln"]),
        ("bn+gn/none", ["bn", "gn", "bn", "gn"]),
        ("bn/gn/in+ln", ["bn", "gn", "in", "ln"]),
    ],
)
def test_an_ordering_is_repeated_from_the_first_slot_to_the_last(ordering, kinds):
    assert slots(swap(network(8, 12, 16), ordering, groups=4))["kind"].tolist() == kinds


@settings(max_examples=15)
@given(
    count=st.integers(1, 5),
    pattern=st.lists(st.sampled_from(["bn", "gn", "ln", "in", "none", "bn+gn", "gn+in"]), min_size=1, max_size=5),
)
def test_any_ordering_that_is_not_longer_than_the_model_is_followed(count, pattern):
    pattern = pattern[:count]
    expected = [kind for i in range(count) for kind in pattern[i % len(pattern)].split("+") if kind != "none"]
    assert slots(swap(network(*[8] * count), "/".join(pattern), groups=2))["kind"].tolist() == expected


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("kind", "groups"), [("gn", 4), ("ln", 1), ("in", 8)])
def test_what_stands_in_a_slot_computes_the_papers_group_norm(provider, kind, groups):
    model, images = one_layer((4, 3, 8)), random(2, 4, 3, 8)
    computed = swap(model, kind, 4, epsilon=0.5, provider=provider)(images)
    np.testing.assert_allclose(computed, group_norm(images, groups, 1, 0, epsilon=0.5), rtol=1e-5, atol=2e-5)


@pytest.mark.skipif("addons" not in PROVIDERS, reason="tensorflow-addons cannot be imported on this stack")
def test_a_whole_model_is_the_same_with_addons_and_with_keras():
    model, images = network(8, 12, 16), random(2, 4, 3, 5)
    addons, own = (swap(model, "gn/bn+gn", 4, provider=provider) for provider in ("addons", "keras"))
    np.testing.assert_allclose(addons(images), own(images), rtol=1e-5, atol=2e-5)


def test_batch_norm_alone_in_all_slots_is_the_model_itself_bit_for_bit():
    small, (large, _) = network(8, 12), swapped_application("MobileNetV2")
    give_random_weights(small)
    for model, images in ((small, random(2, 4, 3, 5)), (large, random(2, 32, 32, 3))):
        np.testing.assert_array_equal(model(images, training=False), swap(model, "bn")(images, training=False))


def test_all_other_layers_keep_their_weights():
    model = network(8, 12, 16)
    swapped = swap(model, "gn/bn/none", groups=4)
    for name in ("norm_2", *(layer.name for layer in model.layers if "conv" in layer.name)):
        for old, new in zip(model.get_layer(name).get_weights(), swapped.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)


def test_none_lets_through_what_enters():
    model, images = one_layer((4, 3, 8)), random(2, 4, 3, 8)
    swapped = swap(model, "none")
    np.testing.assert_array_equal(swapped(images), images)
    assert [layer.name for layer in swapped.layers] == ["norm"]
    assert swapped.count_params() == 0


def test_several_layers_in_a_slot_follow_each_other():
    model, images = one_layer((4, 3, 8)), random(2, 4, 3, 8)
    swapped = swap(model, "ln+in", epsilon=0.5)
    expected = group_norm(group_norm(images, 1, 1, 0, epsilon=0.5), 8, 1, 0, epsilon=0.5)
    np.testing.assert_allclose(swapped(images), expected, rtol=1e-5, atol=2e-5)
    assert slots(swapped)["layer"].tolist() == ["norm/norm_1_ln", "norm/norm_2_in"]


def test_the_given_model_is_left_as_it_is():
    model = network(8, 12)
    model.compile("sgd", "mse")
    before, weights = slots(model), [np.array(weight) for weight in model.get_weights()]
    swapped = swap(model, "gn/bn", groups=4)
    swapped.set_weights([weight + 1 for weight in swapped.get_weights()])
    assert slots(model).equals(before)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.optimizer is not None
    model.evaluate(random(2, 4, 3, 5), random(2, 4, 3, 12), verbose=0)


def test_what_replaces_a_batch_norm_takes_over_its_settings():
    options = {
        "epsilon": 0.25,
        "trainable": False,
        "gamma_initializer": keras.initializers.Constant(3.0),
        "beta_initializer": keras.initializers.Constant(-1.0),
        "gamma_regularizer": keras.regularizers.L2(0.5),
        "beta_constraint": keras.constraints.NonNeg(),
    }
    layer = swap(one_layer((4, 3, 8), **options), "gn", groups=4).get_layer("norm")
    assert (layer.epsilon, layer.trainable) == (0.25, False)
    assert type(layer.gamma_regularizer) is keras.regularizers.L2
    assert type(layer.beta_constraint) is keras.constraints.NonNeg
    np.testing.assert_array_equal(layer.gamma, [3.0] * 8)
    np.testing.assert_array_equal(layer.beta, [-1.0] * 8)


@pytest.mark.parametrize(("ordering", "name"), [("gn", "norm"), ("bn+gn", "norm/norm_2_gn"), ("ln", "norm")])
def test_trained_scale_and_offset_are_carried_over_where_that_is_asked(ordering, name):
    model, images = give_random_weights(one_layer((4, 3, 8))), random(2, 4, 3, 8)
    gamma, beta = (np.array(weight) for weight in model.get_layer("norm").weights[:2])
    for kept, expected in ((False, (np.ones(8), np.zeros(8))), (True, (gamma, beta))):
        layer = swap(model, ordering, groups=4, keep_affine=kept).get_layer("norm")
        layer = layer.layers[-1] if "/" in name else layer
        np.testing.assert_array_equal(layer.gamma, expected[0])
        np.testing.assert_array_equal(layer.beta, expected[1])
    if ordering == "gn":
        expected = group_norm(images, 4, gamma, beta, epsilon=0.001)
        computed = swap(model, "gn", groups=4, keep_affine=True)(images)
        np.testing.assert_allclose(computed, expected, rtol=1e-4, atol=2e-5)


def mixed():
    """Return a model with a BatchNorm, a LayerNormalization and a GroupNorm."""
    norms = [
        keras.layers.BatchNormalization(name="batch"),
        keras.layers.LayerNormalization(name="layer", epsilon=0.25),
        keras.layers.GroupNormalization(4, name="group"),
    ]
    layers = [part for norm in norms for part in (keras.layers.Conv2D(8, 1), norm)]
    return give_random_weights(keras.Sequential([keras.Input((4, 3, 5)), *layers]))


@pytest.mark.parametrize(
    ("replace", "kinds"),
    [
        ("bn", ["in", "ln", "gn"]),
        ("ln", ["bn", "in", "gn"]),
        ("gn", ["bn", "ln", "in"]),
        (["bn", "ln"], ["in", "in", "gn"]),
        (("bn", "ln", "gn"), ["in", "in", "in"]),
    ],
)
def test_any_kind_that_slots_names_can_be_replaced(replace, kinds):
    model = mixed()
    swapped = swap(model, "in", replace=replace)
    assert slots(swapped)["kind"].tolist() == kinds
    assert slots(swapped)["layer"].tolist() == slots(model)["layer"].tolist()
    np.testing.assert_array_equal(swapped.layers[0].kernel, model.layers[0].kernel)


def test_batch_norm_in_place_of_layer_norm_takes_over_what_it_can_have():
    swapped = swap(mixed(), "bn", replace="ln", momentum=0.5, keep_affine=True).get_layer("layer")
    assert isinstance(swapped, keras.layers.BatchNormalization)
    assert (swapped.epsilon, swapped.momentum) == (0.25, 0.5)
    np.testing.assert_array_equal(swapped.gamma, mixed().get_layer("layer").gamma)
    np.testing.assert_array_equal(swapped.moving_mean, np.zeros(8))


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("policy", ["mixed_float16", "float16", "mixed_bfloat16"])
def test_in_half_precision_moments_are_taken_in_float32(provider, policy):
    """The variance of such images, 250,000, is beyond float16."""
    images = np.random.default_rng(0).normal(0, 500, size=(2, 6, 6, 8)).astype(np.float32)
    model = one_layer((6, 6, 8), dtype=policy)
    swapped = swap(model, "gn", groups=4, provider=provider)
    half = np.array(tf.cast(tf.cast(images, swapped.layers[-1].compute_dtype), tf.float32))
    expected = group_norm(half, 4, 1, 0, epsilon=0.001)
    assert swapped(images).dtype == swapped.layers[-1].compute_dtype
    np.testing.assert_allclose(np.array(swapped(images), np.float32), expected, atol=0.02 if "b" in policy else 4e-3)


def test_momentum_and_epsilon_are_each_batch_norms_own_unless_given():
    model = network(8, momentum=0.5, epsilon=0.25)
    kept = swap(model, "bn").get_layer("norm_1")
    changed = swap(model, "bn", momentum=0.75, epsilon=0.125).get_layer("norm_1")
    assert (kept.momentum, kept.epsilon) == (0.5, 0.25)
    assert (changed.momentum, changed.epsilon) == (0.75, 0.125)
    np.testing.assert_array_equal(changed.gamma, model.get_layer("norm_1").gamma)
    stacked = swap(model, "gn+bn", groups=4, momentum=0.75).get_layer("norm_1").layers[-1]
    assert (stacked.momentum, stacked.epsilon) == (0.75, 0.25)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_channels_stand_on_the_replaced_layers_axis(provider):
    images = random(2, 4, 3, 8)
    model = one_layer((8, 4, 3), axis=1)
    swapped = swap(model, "gn", 4, epsilon=0.5, provider=provider)
    computed = np.moveaxis(np.array(swapped(np.moveaxis(images, -1, 1))), 1, -1)
    np.testing.assert_allclose(computed, group_norm(images, 4, 1, 0, epsilon=0.5), rtol=1e-5, atol=2e-5)
    assert slots(model)["channels"].tolist() == slots(swapped)["channels"].tolist() == [8]


@pytest.mark.parametrize(("scale", "center"), [(False, True), (True, False), (False, False)])
def test_scale_and_offset_are_only_there_where_the_replaced_layer_had_them(scale, center):
    swapped = swap(one_layer((4, 3, 8), scale=scale, center=center), "gn", groups=4)
    assert slots(swapped)["parameters"].tolist() == [8 * scale + 8 * center]


@pytest.mark.parametrize("ordering", ["bn", "gn", "none", "gn+ln"])
def test_the_dtype_policy_stays(ordering):
    model = one_layer((4, 3, 8), dtype="mixed_float16")
    swapped = swap(model, ordering, groups=4)
    layer = swapped.get_layer("norm")
    assert layer(random(2, 4, 3, 8)).dtype == tf.float16
    assert all("float32" in str(weight.dtype) for weight in layer.weights)


@pytest.mark.parametrize("ordering", ["gn", "none", "gn+ln"])
def test_masks_pass(ordering):
    layers = [keras.Input((5,)), keras.layers.Embedding(9, 8, mask_zero=True)]
    model = keras.Sequential([*layers, keras.layers.BatchNormalization(), keras.layers.LSTM(3)])
    swapped = swap(model, ordering, groups=4)
    # What stands behind the mask's end is no input of the LSTM; normalization would see it, so it is the same here.
    tokens = np.array([[1, 2, 0, 0, 0]])
    expected = swapped.layers[-1](swapped.layers[-2](swapped.layers[-3](tokens))[:, :2])
    np.testing.assert_allclose(swapped(tokens), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ordering", ["gn", "bn+gn"])
def test_layers_that_are_told_whether_they_train_can_be_replaced(ordering):
    image = keras.Input((4, 3, 8))
    model = keras.Model(image, keras.layers.BatchNormalization()(image, training=False))
    assert slots(swap(model, ordering, groups=4))["kind"].tolist() == ordering.split("+")


@pytest.mark.parametrize("options", [{}, {"dtype": "mixed_float16"}], ids=str)
@pytest.mark.parametrize("ordering", ["gn", "bn/gn", "bn+gn/none"])
def test_a_swapped_model_can_be_saved_and_loaded(ordering, options, tmp_path):
    swapped = give_random_weights(swap(network(8, 12, **options), ordering, groups=4))
    swapped.save(tmp_path / "swapped.keras")
    loaded = keras.models.load_model(tmp_path / "swapped.keras", compile=False)
    images = random(2, 4, 3, 5)
    np.testing.assert_array_equal(swapped(images), loaded(images))


def test_channels_per_group_decides_the_number_of_groups_of_each_layer():
    swapped = swap(network(8, 12, 16), "gn", channels_per_group=4)
    assert slots(swapped)["groups"].tolist() == [2, 3, 4]


def test_the_default_is_32_groups():
    assert slots(swap(network(64, 96), "gn"))["groups"].tolist() == [32, 32]


@pytest.mark.parametrize(
    ("setting", "groups", "text"),
    [
        (
            {"groups": 8},
            [8, 6, 5, 7, 3],
            "groups 8 does not fit all layers; the nearest divisor below is taken for norm_2 (12 channels, 6 groups), "
            "norm_3 (10 channels, 5 groups), norm_4 (7 channels, 7 groups), 1 more",
        ),
        (
            {"channels_per_group": 5},
            [1, 2, 2, 1, 1],
            "channels_per_group 5 does not fit all layers; the nearest divisor below is taken for norm_1 (8 channels, "
            "1 group), norm_2 (12 channels, 2 groups), norm_4 (7 channels, 1 group), 1 more",
        ),
        (
            {},
            [8, 12, 10, 7, 3],
            "groups 32 does not fit all layers; the nearest divisor below is taken for norm_1 (8 channels, 8 groups), "
            "norm_2 (12 channels, 12 groups), norm_3 (10 channels, 10 groups), 2 more",
        ),
    ],
)
def test_where_groups_do_not_divide_the_channels_the_next_smaller_divisor_is_taken_and_said(setting, groups, text):
    with pytest.warns(UserWarning, match="nearest divisor") as caught:
        swapped = swap(network(8, 12, 10, 7, 3), "gn", **setting)
    assert [str(warning.message) for warning in caught if warning.category is UserWarning] == [text]
    assert slots(swapped)["groups"].tolist() == groups


def test_nothing_is_said_of_layers_that_get_no_group_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras' own initializers warn of what will be an error in Python
        swap(network(8, 10), "gn/bn", groups=8)


def test_without_positions_a_group_has_at_least_two_channels():
    with pytest.warns(UserWarning, match=r"norm \(12 channels, 6 groups\)"):
        swapped = swap(one_layer((12,)), "gn", groups=12)
    assert slots(swapped)["groups"].tolist() == [6]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: 3, ["gn"], "model is 'int', but must be a Keras model, Sequential or Functional"),
        (lambda: keras.layers.Dense(3), ["gn"], "model is 'Dense', but must be a Keras model"),
        (lambda: Subclassed(), ["gn"], "model is 'Subclassed', but must be a Keras model, Sequential or Functional"),
        (
            lambda: keras.Sequential([keras.layers.BatchNormalization()]),
            ["gn"],
            "model is 'an unbuilt Sequential', but must be .* that is built",
        ),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), ["gn"], "it has no slot"),
        (lambda: hidden(keras.layers.TimeDistributed), ["gn"], "cannot reach that inside TimeDistributed 'outer'"),
        (lambda: hidden(lambda _, name: Subclassed(name=name)), ["gn"], "that inside Subclassed 'outer'"),
        (lambda: network(8, 8), ["gn/bn/gn"], "ordering is 'gn/bn/gn', but must be .* which is 2, and this has 3"),
        (lambda: network(8), ["gm"], "ordering is 'gm', but must be .*there is no kind 'gm'"),
        (lambda: one_layer((8,)), ["in"], "ordering is 'in', but must be no 'in' in slot 1, 'norm' .* one number"),
        (lambda: one_layer((1, 1, 8)), ["in"], r"no 'in' in slot 1, 'norm' \(None, 1, 1, 8\): without positions"),
        (lambda: one_layer((1,)), ["ln"], "no 'ln' in slot 1, 'norm'"),
        (lambda: one_layer((1,)), ["gn"], "groups is 32, but must be no GroupNorm in place of 'norm'"),
        (lambda: network(8), ["gn", 0], "groups is 0, but must be a whole number from 1 up"),
        (lambda: network(8), ["gn", 2.5], "groups is 2.5, but must be a whole number from 1 up"),
        (lambda: layer_norm_only(), ["bn"], "it has no slot; what it has is replaced with replace='ln'"),
    ],
)
def test_what_cannot_be_swapped_is_refused_in_one_line(make, arguments, message):
    with pytest.raises(RequestError, match=message) as caught:
        swap(make(), *arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(KERAS_3, reason="Keras 3 has no BatchNorm over several axes")
def test_batch_norm_over_several_axes_can_stay_or_go_but_not_become_group_norm():
    model = one_layer((4, 3, 8), axis=[1, 3])
    assert slots(swap(model, "bn"))["kind"].tolist() == ["bn"]
    assert slots(swap(model, "none")).empty
    with pytest.raises(RequestError, match="must be bn or none in slot 1, whose layer 'norm' normalizes over several"):
        swap(model, "gn", groups=4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"groups": 4, "channels_per_group": 2}, r"groups is 4, but must be None where channels_per_group is given \(2\)"),
        ({"channels_per_group": 0}, "channels_per_group is 0, but must be a whole number from 1 up"),
        ({"momentum": 1}, "momentum is 1, but must be a number from 0 up to, but not including, 1"),
        ({"epsilon": 0}, "epsilon is 0, but must be a number above 0"),
        ({"provider": "addon"}, "provider is 'addon', but must be auto, addons, keras"),
        (
            {"groups": 8, "strict": True},
            "groups is 8, but must be what divides the 12 channels of layer 'norm_1': 1, 2, 3, 4, 6, 12",
        ),
        (
            {"channels_per_group": 5, "strict": True},
            "channels_per_group is 5, but must be what divides the 12 channels of layer 'norm_1': 1, 2, 3, 4, 6, 12",
        ),
        ({"strict": True}, "groups is 32, but must be what divides the 12 channels of layer 'norm_1'"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(setting, message):
    with pytest.raises(RequestError, match=message):
        swap(network(12), "gn", **setting)


class Subclassed(keras.Model):
    """A model of neither kind that swap knows."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = keras.layers.BatchNormalization()

    def call(self, inputs):
        """Normalize."""
        return self.norm(inputs)


def hidden(outer):
    """Return a model with one BatchNorm in the open and one inside another layer."""
    image = keras.Input((4, 3, 8))
    inner = outer(keras.layers.BatchNormalization(), name="outer")
    return keras.Model(image, inner(keras.layers.BatchNormalization()(image)))


def inverted_residual_channels(stages):
    """Count the channels of what MobileNetV2 and EfficientNetB0 share.

    A block expands its input's channels six times, has a depthwise convolution of as many, and projects them.
    """
    total, entering = 0, 16
    for leaving, blocks in stages:
        for _ in range(blocks):
            total += 6 * entering + 6 * entering + leaving
            entering = leaving
    return total


def mobile_net_channels():
    # The first convolution has 32, the first block no expansion: 32 and 16; the last convolution 1280.
    stages = [(24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)]
    return 32 + (32 + 16) + inverted_residual_channels(stages) + 1280


def efficient_net_channels():
    # As MobileNetV2, with stages of its own.
    stages = [(24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)]
    return 32 + (32 + 16) + inverted_residual_channels(stages) + 1280


def res_net_channels():
    # In front of each block, and after its first two convolutions; and once at the end.
    total, entering = 0, 64
    for filters, blocks in [(64, 3), (128, 4), (256, 6), (512, 3)]:
        for _ in range(blocks):
            total += entering + filters + filters
            entering = 4 * filters
    return total + 2048


def dense_net_channels():
    # The stem has 64; a dense layer normalizes what enters it and its own 128, and adds 32; a transition normalizes
    # what enters it and halves it, and the end, which is none, normalizes only.
    total, entering = 64, 64
    for layers in (6, 12, 24, 16):
        total += sum(entering + 32 * i + 128 for i in range(layers))
        entering += 32 * layers
        total += entering
        entering //= 2
    return total


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("DenseNet121", dense_net_channels()),
        ("EfficientNetB0", efficient_net_channels()),
        ("MobileNetV2", mobile_net_channels()),
        ("ResNet50V2", res_net_channels()),
    ],
)
def test_group_norm_has_half_the_numbers_of_batch_norm_for_each_channel(name, channels):
    """BatchNorm has scale, offset and two moving averages for each channel, GroupNorm has scale and offset."""
    model, swapped = swapped_application(name)
    assert slots(model)["channels"].sum() == slots(swapped)["channels"].sum() == channels
    assert slots(model)["parameters"].sum() == 4 * channels
    assert slots(swapped)["parameters"].sum() == 2 * channels
    assert swapped.count_params() == model.count_params() - 2 * channels


def test_every_application_can_be_swapped(application):
    """BatchNorm's two moving averages go, for each channel; its scale and offset stay where it has them."""
    model, swapped = swapped_application(application)
    before, after = slots(model), slots(swapped)
    assert set(before["kind"]) - {"ln"} == {"bn"}
    replaced = before[before["kind"] == "bn"]
    assert len(after) == len(before)
    assert "bn" not in set(after["kind"])
    assert after["layer"].tolist() == before["layer"].tolist()
    assert after["output shape"].tolist() == before["output shape"].tolist()
    assert swapped.count_params() == model.count_params() - 2 * replaced["channels"].sum()
    assert swapped.output_shape == model.output_shape


@pytest.mark.parametrize("name", ["DenseNet121", "EfficientNetB0", "MobileNetV2", "ResNet50V2"])
def test_a_swapped_application_learns(name):
    _, swapped = swapped_application(name)
    with tf.GradientTape() as tape:
        probabilities = swapped(random(2, 32, 32, 3), training=True)
        loss = -tf.reduce_mean(tf.math.log(probabilities[:, 0]))
    gradients = tape.gradient(loss, swapped.trainable_weights)
    assert np.isfinite(loss)
    assert all(gradient is not None and np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "VGG16"])
def test_applications_without_batch_norm_have_no_slot(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(32, 32, 3), include_top=False)
    with pytest.raises(RequestError, match="it has no slot"):
        swap(model, "gn")
