"""The models that come with normlib: layers, shapes and numbers of weights, by hand from the papers' widths."""

import numpy as np
import pytest

from normlib.errors import RequestError
from normlib.models.build import build_model, describe_layers
from normlib.models.instance import Instance
from normlib.models.zoo import MODELS


def numbers_of_weights(ordering, model, dataset="mnist"):
    layers = describe_layers(build_model(Instance(ordering, model, dataset=dataset)))
    return layers["parameters"].sum(), layers["of them trainable"].sum()


# 3 x 3 convolutions of 16 filters, from 1 channel and then 16, with biases; 7 x 7 x 16 to 10 classes.
CONVNET = (9 + 1) * 16 + 3 * (9 * 16 + 1) * 16 + (7 * 7 * 16 + 1) * 10
# Three stages of six convolutions; of the first block of a stage, the first has fewer channels to read.
BLOCKS = 9 * (6 * 16 * 16 + (16 * 32 + 5 * 32 * 32) + (32 * 64 + 5 * 64 * 64))
CHANNELS = 16 + 6 * (16 + 32 + 64)  # in all 19 slots
RESNET = 9 * 16 + BLOCKS + 64 * 10 + 10  # from 1 channel
SMALL_MAPS = 160 + 4640 + 9248 + 18496 + 650
DENSE = 100480 + 16512 + 1290
# Of MNIST's 16 patches of 7 x 7; attention has four kernels of 64 x 64 with offsets, the MLP 64 x 128 and back.
VIT = 49 * 64 + 16 * 64 + 6 * (4 * 65 * 64 + 65 * 128 + 129 * 64) + 650


@pytest.mark.parametrize(
    ("model", "ordering", "total", "moving"),
    [
        # Of the four numbers a channel of a BatchNorm, two are moving averages.
        ("convnet", "none", CONVNET, 0),
        ("convnet", "bn/none/gn+bn", CONVNET + 3 * 32 + 2 * 32, 2 * 32),
        ("small_maps", "bn/none/none/gn", SMALL_MAPS + 4 * 16 + 2 * 64, 2 * 16),
        ("dense", "bn/rms", DENSE + 4 * 128 + 128, 2 * 128),
        ("dense", "dyt/lnc", DENSE + 1 + 2 * 128 + 2 * 128, 0),
        # An empty slot's convolution has a bias; the second of two slots has half of the channels of the blocks.
        ("resnet20", "bn/bn", RESNET + 4 * CHANNELS, 2 * CHANNELS),
        ("resnet20", "none/gn", RESNET + CHANNELS + 336, 0),
        # What stands last stands once more before the mean, unless it stands after the sums.
        ("vit", "none", VIT, 0),
        ("vit", "none/none/lnc", VIT + 12 * 2 * 64, 0),
        ("vit", "lnc/rms+dyt/none", VIT + 12 * (2 * 64 + 64 + 2 * 64 + 1) + 2 * 64 + 1, 0),
    ],
)
def test_a_model_has_these_weights(model, ordering, total, moving):
    assert numbers_of_weights(ordering, model) == (total, total - moving)


def test_resnet20_has_the_papers_number_of_weights():
    """He et al. 2016, table 6: 0.27 M; they count what is trained, with BatchNorm, from three channels."""
    total, trainable = numbers_of_weights("bn/bn", "resnet20", "cifar10")
    assert total == RESNET + 18 * 16 + 4 * CHANNELS
    assert round(trainable / 1e6, 2) == 0.27


@pytest.mark.parametrize(
    ("model", "sides"), [("convnet", [28, 28, 14, 14]), ("small_maps", [14, 7, 4, 2])], ids=["pooling", "strides"]
)
def test_positions_shrink_along_a_plain_network(model, sides):
    layers = build_model(Instance("none", model)).layers
    assert [layer.output.shape[1] for layer in layers if layer.name.startswith("convolution_")] == sides


@pytest.mark.parametrize("model", MODELS)
def test_a_model_has_the_layers_and_blocks_that_its_facts_say(model):
    """Its picture is drawn from these facts."""
    facts, built = MODELS[model], build_model(Instance("none", model))
    before = ("slot_",) if facts.has_tokens else ("convolution_", "hidden_")
    channels = [layer.output.shape[-1] for layer in built.layers if layer.name.startswith(before)]
    stem = 1 if facts.blocks and not facts.start else 0
    assert len(channels) == stem + (facts.blocks or 1) * facts.slots
    assert set(channels) == set(facts.channels)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ordering": "in"}, "ordering is 'in/none', but dense has no positions, so that a group of 'in' would be one"),
        ({"ordering": "gn", "groups": 128}, "groups is 128, but dense has no positions, so that a group would be one"),
        ({"ordering": "gn", "channels_per_group": 1}, "channels_per_group is 1, but dense has no positions"),
        ({"model": "vit", "ordering": "none/gn"}, "but vit has tokens, of which 'gn' would take all .* see 'lnc'"),
        ({"model": "vit", "ordering": "ln"}, "but vit has tokens, of which 'ln' would take all .* see 'lnc'"),
        ({"model": "convnet", "activation": "relu"}, "but must be none for convnet, whose activations are its own"),
        ({"model": "convnet", "channels_per_group": 3}, "channels_per_group is 3, but must be a divisor of the 16 .*8"),
        ({"groups": 4, "channels_per_group": 4}, r"channels_per_group is 4, but groups is given too \(4\)"),
    ],
)
def test_what_a_model_does_not_allow_is_refused(settings, message):
    with pytest.raises(RequestError, match=message):
        Instance(**{"model": "dense", **settings})


def test_resnet20s_ordering_is_the_pattern_of_a_block_and_the_stem_counts_as_slot_one():
    model = build_model(Instance("bn/gn", "resnet20"))
    slots = {layer.name: type(layer).__name__ for layer in model.layers if layer.name.startswith("slot_")}
    assert list(slots) == [f"slot_{place}_1" for place in range(1, 20)]
    kinds = ["BatchNormalization", *["BatchNormalization", "GroupNormalization"] * 9]
    assert list(slots.values()) == kinds


def test_a_residual_block_that_keeps_its_size_adds_its_input_and_one_that_shrinks_every_second_position():
    """With all kernels and offsets zero, a block gives its input; channels that are new give zero."""
    model = build_model(Instance("none", "resnet20"))
    for layer in model.layers:
        if layer.name.startswith("convolution_") and layer.name != "convolution_1":
            layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    images = np.random.default_rng(0).random((2, 28, 28), np.float32)
    stem = np.maximum(call_until(model, images, "convolution_1"), 0)
    last = call_until(model, images, model.layers[-2].name)
    expected = np.concatenate([stem[:, ::4, ::4].mean(axis=(1, 2)), np.zeros((2, 48))], axis=1)
    np.testing.assert_allclose(last, expected, rtol=1e-5)


def call_until(model, images, name):
    from normlib.tf import tf

    (layer,) = (layer for layer in model.layers if layer.name == name)
    return np.asarray(tf.keras.Model(model.inputs[0], layer.output)(images))


@pytest.mark.parametrize("ordering", ["lnc/rms/dyt", "lnc/none/none"])
def test_a_transformers_slots_stand_before_a_sublayer_on_its_branch_and_after_the_sum(ordering):
    """Recomputed from the layers that it has, sublayer by sublayer."""
    model = build_model(Instance(ordering, "vit"))
    images = np.random.default_rng(0).random((2, 28, 28), np.float32)
    layers = {layer.name: layer for layer in model.layers}
    patches = images.reshape(2, 4, 7, 4, 7).transpose(0, 1, 3, 2, 4).reshape(2, 16, 49)
    x = np.asarray(layers["patches"](patches))
    for sublayer in range(12):
        before, branch, after = (layers[f"slot_{3 * sublayer + place}_1"] for place in (1, 2, 3))
        y, number = before(x), sublayer // 2 + 1
        if sublayer % 2:
            y = layers[f"mlp_{number}"](layers[f"mlp_{number}_wide"](y))
        else:
            y = layers[f"attention_{number}"](y, y)
        x = after(x + branch(y))
    x = layers["slot_37_1"](x) if "slot_37_1" in layers else x
    expected = layers["classes"](np.asarray(x).mean(axis=1))
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)
