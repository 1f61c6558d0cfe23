import warnings

import numpy as np
import pytest
from test_graphs import give_random_weights, nested, random, shared
from test_kinds import PROVIDERS, group_norm

from normlib.errors import RequestError
from normlib.models.swap import slots, swap
from normlib.tf import KERAS_3, tf

keras = tf.keras


def network(*channels, **options):
    """Return a model with a 1 x 1 convolution and a BatchNorm, ``norm_1`` and so on, for each number of channels."""
    layers = [keras.Input((4, 3, 5))]
    for number, count in enumerate(channels, start=1):
        layers += [keras.layers.Conv2D(count, 1), keras.layers.BatchNormalization(name=f"norm_{number}", **options)]
    return give_random_weights(keras.Sequential(layers))


def one_layer(shape, **options):
    """Return a model that is one BatchNorm, ``norm``."""
    return keras.Sequential([keras.Input(shape), keras.layers.BatchNormalization(name="norm", **options)])


class Subclassed(keras.Model):
    """A model of neither kind that swap knows."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = keras.layers.BatchNormalization()

    def call(self, inputs):
        return self.norm(inputs)


class Block(keras.layers.Layer):
    """A normalization layer in a layer of one's own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = keras.layers.LayerNormalization(name="norm")

    def build(self, shape):
        self.norm.build(shape)
        super().build(shape)

    def call(self, inputs):
        return self.norm(inputs)


def test_slots_are_listed_in_data_flow_order():
    table = slots(swap(network(8, 12, 8, 6), "bn/gn/ln/in", groups=4))
    assert table.index.name == "slot"
    assert table.reset_index().values.tolist() == [
        [1, "norm_1", "bn", 8, None, "(None, 4, 3, 8)", 32, True],
        [2, "norm_2", "gn", 12, 4, "(None, 4, 3, 12)", 24, True],
        [3, "norm_3", "ln", 8, 1, "(None, 4, 3, 8)", 16, True],
        [4, "norm_4", "in", 6, 6, "(None, 4, 3, 6)", 12, True],
    ]


def hidden():
    """Return a model with normalization inside other layers, and a BatchNorm in the open."""
    wrapper = keras.layers.TimeDistributed(keras.layers.BatchNormalization(name="inner"), name="wrapper")
    layers = [keras.Input((4, 6)), wrapper, Block(name="block"), keras.layers.BatchNormalization(name="norm")]
    return keras.Sequential(layers)


def test_slots_inside_wrappers_and_layers_of_ones_own_are_listed_as_out_of_reach():
    assert slots(hidden())[["layer", "kind", "channels", "can be swapped"]].values.tolist() == [
        ["wrapper/inner", "bn", 6, False],
        ["block/norm", "lnc", 6, False],
        ["norm", "bn", 6, True],
    ]


def test_an_ordering_is_repeated_from_the_first_slot_to_the_last():
    assert slots(swap(network(8, 12, 16), "bn/in+ln"))["kind"].tolist() == ["bn", "in", "ln", "bn"]
    assert slots(swap(network(8, 12, 16), "none/ln"))["kind"].tolist() == ["ln"]


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
        ("gn", ["bn", "lnc", "in"]),
        (["bn", "lnc"], ["in", "in", "gn"]),
    ],
)
def test_any_kind_that_slots_names_can_be_replaced(replace, kinds):
    model = mixed()
    swapped = swap(model, "in", replace=replace)
    assert slots(swapped)["kind"].tolist() == kinds
    assert slots(swapped)["layer"].tolist() == slots(model)["layer"].tolist()
    np.testing.assert_array_equal(swapped.layers[0].kernel, model.layers[0].kernel)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("policy", ["float16", "mixed_bfloat16"])
def test_in_half_precision_moments_are_taken_in_float32(provider, policy):
    """The variance of such images, 250,000, is beyond float16."""
    images = np.random.default_rng(0).normal(0, 500, size=(2, 6, 6, 8)).astype(np.float32)
    model = one_layer((6, 6, 8), dtype=policy)
    swapped = swap(model, "gn", groups=4, provider=provider)
    half = np.array(tf.cast(tf.cast(images, swapped.layers[-1].compute_dtype), tf.float32))
    expected = group_norm(half, 4, 1, 0, epsilon=0.001)
    assert swapped(images).dtype == swapped.layers[-1].compute_dtype
    np.testing.assert_allclose(np.array(swapped(images), np.float32), expected, atol=0.02 if "b" in policy else 4e-3)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_channels_stand_on_the_replaced_layers_axis(provider):
    images = random(2, 4, 3, 8)
    model = one_layer((8, 4, 3), axis=1)
    swapped = swap(model, "gn", 4, epsilon=0.5, provider=provider)
    computed = np.moveaxis(np.array(swapped(np.moveaxis(images, -1, 1))), 1, -1)
    np.testing.assert_allclose(computed, group_norm(images, 4, 1, 0, epsilon=0.5), rtol=1e-5, atol=2e-5)
    assert slots(model)["channels"].tolist() == slots(swapped)["channels"].tolist() == [8]


@pytest.mark.parametrize("ordering", ["gn", "none", "gn+ln"])
def test_masks_pass(ordering):
    layers = [keras.Input((5,)), keras.layers.Embedding(9, 8, mask_zero=True)]
    pooling = keras.layers.GlobalAveragePooling1D()
    swapped = swap(keras.Sequential([*layers, keras.layers.BatchNormalization(), pooling]), ordering, groups=4)
    # What stands behind the mask's end is not pooled; normalization sees it, so it is the same here.
    tokens = np.array([[1, 2, 0, 0, 0]])
    expected = np.array(swapped.layers[-2](swapped.layers[-3](tokens)))[:, :2].mean(axis=1)
    np.testing.assert_allclose(swapped(tokens), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ordering", ["gn", "bn+gn/none"])
def test_a_swapped_model_can_be_saved_and_loaded(ordering, tmp_path):
    swapped = give_random_weights(swap(network(8, 12, dtype="mixed_float16"), ordering, groups=4))
    swapped.save(tmp_path / "swapped.keras")
    loaded = keras.models.load_model(tmp_path / "swapped.keras", compile=False)
    images = random(2, 4, 3, 5)
    np.testing.assert_array_equal(swapped(images), loaded(images))


def test_where_groups_do_not_divide_the_channels_the_next_smaller_divisor_is_taken_and_said():
    with pytest.warns(UserWarning, match="nearest divisor") as caught:
        swapped = swap(network(8, 12, 10, 7, 3), "gn", channels_per_group=5)
    assert [str(warning.message) for warning in caught if warning.category is UserWarning] == [
        "channels_per_group 5 does not fit all layers; the nearest divisor below is taken for norm_1 (8 channels, "
        "1 group), norm_2 (12 channels, 2 groups), norm_4 (7 channels, 1 group), 1 more"
    ]
    assert slots(swapped)["groups"].tolist() == [1, 2, 2, 1, 1]


def test_none_lets_through_what_enters_and_several_layers_in_a_slot_follow_each_other():
    model, images = one_layer((4, 3, 8)), random(2, 4, 3, 8)
    empty, several = swap(model, "none"), swap(model, "ln+in", epsilon=0.5)
    np.testing.assert_array_equal(empty(images), images)
    assert [layer.name for layer in empty.layers] == ["norm"]
    expected = group_norm(group_norm(images, 1, 1, 0, epsilon=0.5), 8, 1, 0, epsilon=0.5)
    np.testing.assert_allclose(several(images), expected, rtol=1e-5, atol=2e-5)
    assert slots(several)["layer"].tolist() == ["norm/norm_1_ln", "norm/norm_2_in"]


def test_what_replaces_a_batch_norm_takes_over_its_settings():
    options = {
        "epsilon": 0.25,
        "trainable": False,
        "center": False,
        "gamma_initializer": keras.initializers.Constant(3.0),
        "gamma_regularizer": keras.regularizers.L2(0.5),
        "gamma_constraint": keras.constraints.NonNeg(),
    }
    layer = swap(one_layer((4, 3, 8), **options), "gn", groups=4).get_layer("norm")
    assert (layer.epsilon, layer.trainable, layer.count_params()) == (0.25, False, 8)
    assert type(layer.gamma_regularizer) is keras.regularizers.L2
    assert type(layer.gamma_constraint) is keras.constraints.NonNeg
    np.testing.assert_array_equal(layer.gamma, [3.0] * 8)


def test_trained_scale_and_offset_are_carried_over_where_that_is_asked():
    model = give_random_weights(one_layer((4, 3, 8)))
    gamma, beta = (np.array(weight) for weight in model.get_layer("norm").weights[:2])
    for kept, expected in ((False, (np.ones(8), np.zeros(8))), (True, (gamma, beta))):
        last = swap(model, "bn+gn", groups=4, keep_affine=kept).get_layer("norm").layers[-1]
        np.testing.assert_array_equal(last.gamma, expected[0])
        np.testing.assert_array_equal(last.beta, expected[1])


def test_momentum_and_epsilon_are_each_batch_norms_own_unless_given():
    model = network(8, momentum=0.5, epsilon=0.25)
    given = {"momentum": 0.75, "epsilon": 0.125}
    kept, changed, stacked = (swap(model, *how, **options).get_layer("norm_1") for how, options in (
        (["bn"], {}), (["bn"], given), (["gn+bn", 4], given)
    ))  # fmt: skip
    assert (kept.momentum, kept.epsilon) == (0.5, 0.25)
    assert (
        (changed.momentum, changed.epsilon)
        == (stacked.layers[-1].momentum, stacked.layers[-1].epsilon)
        == (0.75, 0.125)
    )
    np.testing.assert_array_equal(changed.gamma, model.get_layer("norm_1").gamma)
    of_layer_norm = swap(mixed(), "bn", replace="lnc", momentum=0.5).get_layer("layer")
    assert (of_layer_norm.momentum, of_layer_norm.epsilon) == (0.5, 0.25)


def test_groups_are_as_many_as_set_or_by_channels_per_group_or_32():
    """Nothing is said of layers that get no GroupNorm."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # Keras' own initializers warn of what will be an error in Python
        assert slots(swap(network(8, 12, 16), "gn", channels_per_group=4))["groups"].tolist() == [2, 3, 4]
        assert slots(swap(network(64, 96), "gn"))["groups"].tolist() == [32, 32]
        assert slots(swap(network(8, 10), "gn/bn", groups=8))["groups"].tolist() == [8, None]
    with pytest.warns(UserWarning, match=r"norm \(12 channels, 6 groups\)"):  # without positions, two channels at least
        assert slots(swap(one_layer((12,)), "gn", groups=12))["groups"].tolist() == [6]


def test_all_other_layers_keep_their_weights_and_the_given_model_is_left_as_it_is():
    model = network(8, 12, 16)
    model.compile("sgd", "mse")
    before, weights = slots(model), [np.array(weight) for weight in model.get_weights()]
    swapped = swap(model, "gn/bn/none", groups=4)
    assert getattr(swapped, "optimizer", None) is None
    for name in ("norm_2", *(layer.name for layer in model.layers if "conv" in layer.name)):
        for old, new in zip(model.get_layer(name).get_weights(), swapped.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
    swapped.set_weights([weight + 1 for weight in swapped.get_weights()])
    assert slots(model).equals(before)
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.evaluate(random(2, 4, 3, 5), random(2, 4, 3, 16), verbose=0)


def test_layers_of_nested_models_are_replaced():
    swapped = swap(nested(), "bn/bn+gn/ln", groups=4)
    expected = ["functional/norm", "sequential/norm/norm_1_bn", "sequential/norm/norm_2_gn", "norm"]
    assert slots(swapped)["layer"].tolist() == expected
    assert swapped([random(2, 4, 3, 5), random(2, 4, 3, 5)]).shape == (2, 4, 3, 8)


@pytest.mark.parametrize(("ordering", "weights"), [("bn", 4), ("bn+gn", 6), ("none", 0)])
def test_a_shared_layer_stays_shared(ordering, weights):
    swapped = swap(shared(), ordering, groups=4)
    assert len(swapped.weights) == weights
    large, small = swapped([random(2, 4, 4, 8), random(2, 2, 2, 8)])
    assert (large.shape, small.shape) == ((2, 4, 4, 8), (2, 2, 2, 8))


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (lambda: 3, ["gn"], "model is 'int', but must be a Keras model, Sequential or Functional"),
        (Subclassed, ["gn"], "model is 'Subclassed', but must be a Keras model, Sequential or Functional"),
        (
            lambda: keras.Sequential([keras.layers.BatchNormalization()]),
            ["gn"],
            "model is 'an unbuilt Sequential', but must be .* that is built",
        ),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)]), ["gn"], "it has no slot"),
        (hidden, ["gn"], "swap cannot reach the bn inside TimeDistributed 'wrapper'"),
        (lambda: network(8, 8), ["gn/bn/gn"], "ordering is 'gn/bn/gn', but it has 3 slots, and this model 2"),
        (lambda: one_layer((8,)), ["in"], r"slot 1 \('norm', \(None, 8\)\) has no positions, so that a group of 'in'"),
        (lambda: one_layer((1, 1, 8)), ["in"], r"slot 1 \('norm', \(None, 1, 1, 8\)\) has no positions"),
        (lambda: one_layer((1,)), ["ln"], "has no positions, so that a group of 'ln' would be one number"),
        (lambda: one_layer((1,)), ["gn"], "groups is 32, but GroupNorm cannot replace 'norm'"),
        (lambda: network(8), ["gn", 2.5], "groups is 2.5, but must be a whole number from 1 up"),
        (lambda: one_layer((4, 1)), ["rms"], "has one channel, which is all that 'rms' would normalize over"),
        (
            lambda: keras.Sequential([keras.Input((4, 6)), keras.layers.LayerNormalization()]),
            ["bn"],
            "it has no slot, .*; what it has is replaced with replace='lnc'",
        ),
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
    with pytest.raises(RequestError, match="normalizes over several axes, where only bn or none can stand"):
        swap(model, "gn", groups=4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"groups": 4, "channels_per_group": 2}, r"groups is 4, but channels_per_group is given too \(2\)"),
        ({"channels_per_group": 0}, "channels_per_group is 0, but must be a whole number from 1 up"),
        ({"momentum": 1}, "momentum is 1, but must be a number from 0 up to, but not including, 1"),
        ({"epsilon": 0}, "epsilon is 0, but must be a number above 0"),
        ({"provider": "addon"}, "provider is 'addon', but must be "),
        ({"replace": []}, "replace is .*, but must be one of bn, gn, ln, in, lnc"),
        ({"replace": "xx"}, "replace is 'xx', but must be "),
        (
            {"groups": 8, "strict": True},
            "groups is 8, but must be a divisor of the 12 channels of 'norm_1': 1, 2, 3, 4,",
        ),
        (
            {"channels_per_group": 5, "strict": True},
            "channels_per_group is 5, but must be a divisor of the 12 channels",
        ),
    ],
)
def test_settings_that_are_not_allowed_are_refused(setting, message):
    with pytest.raises(RequestError, match=message):
        swap(network(12), "gn", **setting)


def test_every_application_can_be_swapped(application):
    """BatchNorm's two moving averages go, for each channel; its scale and offset stay where it has them."""
    size = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}.get(application, 32)  # pixels that Keras allows
    model = getattr(keras.applications, application)(weights=None, input_shape=(size, size, 3), classes=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        swapped = swap(model, "gn")
    before, after = slots(model), slots(swapped)
    assert set(before["kind"]) - {"lnc"} == {"bn"}
    assert "bn" not in set(after["kind"])
    assert after["layer"].tolist() == before["layer"].tolist()
    assert after["output shape"].tolist() == before["output shape"].tolist()
    replaced = before[before["kind"] == "bn"]["channels"].sum()
    assert swapped.count_params() == model.count_params() - 2 * replaced
    assert swapped.output_shape == model.output_shape


def transformer_block():
    """Return a Keras transformer block, pre-norm: attention, then an MLP, each with LayerNormalization before it."""
    inputs = keras.Input((7, 16))
    x = keras.layers.LayerNormalization(name="before_attention")(inputs)
    x = inputs + keras.layers.MultiHeadAttention(2, 8, name="attention")(x, x)
    y = keras.layers.LayerNormalization(name="before_mlp")(x)
    return keras.Model(inputs, x + keras.layers.Dense(16, activation="gelu", name="mlp")(y))


@pytest.mark.parametrize("kind", ["rms", "dyt", "none"])
def test_the_layer_norms_of_a_transformer_block_are_swapped(kind):
    model = transformer_block()
    assert slots(model)["kind"].tolist() == ["lnc", "lnc"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        swapped = swap(model, kind, replace="lnc", keep_affine=True)
    said = [str(warning.message) for warning in caught if "offset" in str(warning.message)]
    lost = ["no offset is taken over, since rms has none, from before_attention, before_mlp"]
    assert said == (lost if kind == "rms" else [])
    assert slots(swapped)["kind"].tolist() == ([] if kind == "none" else [kind] * 2)
    assert np.isfinite(np.asarray(swapped(random(3, 7, 16)))).all()
    if kind != "none":
        assert swapped.get_layer("before_mlp").epsilon == model.get_layer("before_mlp").epsilon


@pytest.mark.parametrize("kind", ["gn", "ln", "in"])
def test_what_takes_all_tokens_together_does_not_replace_a_transformers_layer_norm(kind):
    message = f"normalizes tokens, of which '{kind}' would take all of an example together: see 'lnc'"
    with pytest.raises(RequestError, match=message):
        swap(transformer_block(), kind, replace="lnc")
