"""Both providers' GroupNorm, and BatchNorm, against float64 NumPy from the papers' formulas; one's own kinds."""

import re
import sys

import numpy as np
import pytest

from normlib import stack
from normlib.analysis.contrasts import Contrast
from normlib.errors import RequestError
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.models.kinds import find_kind, normalization_layer
from normlib.models.swap import slots, swap
from normlib.studies.study import Study

EPSILON = 1e-3
PROVIDERS = [*(["addons"] if stack.resolve_provider("auto") == "addons" else []), "keras"]


@pytest.fixture
def images():
    """Random images, 6 of 5 x 4 positions, whose 10 channels differ in mean and spread."""
    generator = np.random.default_rng(7)
    noise = generator.normal(size=(6, 5, 4, 10))
    return (noise * np.arange(1, 11) + 3 * np.arange(10)[::-1]).astype(np.float32)


def give_weights(layer, images):
    """Build a layer and give it a scale and an offset that differ from channel to channel."""
    layer.build(images.shape)
    channels = images.shape[-1]
    scale, offset = np.linspace(0.5, 2, channels), np.linspace(-1, 1, channels)
    layer.gamma.assign(scale)
    layer.beta.assign(offset)
    return scale, offset


def group_norm(images, groups, scale, offset, epsilon=EPSILON):
    """Wu and He 2018, equations 1, 2 and 7: each image and each group of consecutive channels by itself."""
    batch, height, width, channels = images.shape
    grouped = images.astype(np.float64).reshape(batch, height, width, groups, channels // groups)
    mean = grouped.mean(axis=(1, 2, 4), keepdims=True)
    variance = ((grouped - mean) ** 2).mean(axis=(1, 2, 4), keepdims=True)
    return ((grouped - mean) / np.sqrt(variance + epsilon)).reshape(images.shape) * scale + offset


def batch_norm(images, mean, variance, scale, offset, epsilon=EPSILON):
    """Ioffe and Szegedy 2015, algorithm 1: each channel by itself."""
    return (images.astype(np.float64) - mean) / np.sqrt(variance + epsilon) * scale + offset


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("kind", "parts"), [("gn", 5), ("ln", 1), ("in", 10)])
def test_group_norm_is_the_papers_layer_norm_has_one_group_and_instance_norm_one_per_channel(
    images, provider, kind, parts
):
    layer = normalization_layer(kind, channels=10, groups=5, provider=provider)
    assert type(layer).__module__.startswith({"addons": "tensorflow_addons", "keras": "keras"}[provider])
    scale, offset = give_weights(layer, images)
    np.testing.assert_allclose(layer(images), group_norm(images, parts, scale, offset), rtol=1e-5, atol=2e-5)


def test_batch_norm_is_the_papers_in_training_and_uses_its_moving_averages_at_inference(images):
    layer = normalization_layer("bn", channels=10, groups=5)
    scale, offset = give_weights(layer, images)
    mean, variance = images.astype(np.float64).mean(axis=(0, 1, 2)), images.astype(np.float64).var(axis=(0, 1, 2))
    expected = batch_norm(images, mean, variance, scale, offset)
    np.testing.assert_allclose(layer(images, training=True), expected, rtol=1e-5, atol=2e-5)
    mean, variance = np.arange(10.0), np.arange(1.0, 11.0)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    expected = batch_norm(images, mean, variance, scale, offset)
    np.testing.assert_allclose(layer(images, training=False), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("kind", ["bn", "gn"])
def test_other_options_are_the_keras_layers(images, kind, provider):
    layer = normalization_layer(kind, 5, 1, provider=provider, axis=1, scale=False, name="named", dtype="float64")
    layer.build(images.shape)  # [6, 5, 4, 10]: five channels on axis 1
    assert layer.name == "named"
    trainable = [(tuple(weight.shape), str(weight.dtype)) for weight in layer.trainable_weights]
    assert [shape for shape, _ in trainable] == [(5,)]
    assert "float64" in trainable[0][1]


MODULE = """
import tensorflow as tf


class Centred(tf.keras.layers.Layer):
    def build(self, shape):
        self.offset = self.add_weight(shape=(shape[-1],), initializer="ones", name="offset")

    def call(self, inputs):
        return inputs - tf.reduce_mean(inputs, axis=(1, 2), keepdims=True) + self.offset


def grouped(channels, groups):
    layer = Centred()
    layer.seen = (channels, groups)
    return layer


class Smaller(tf.keras.layers.Layer):
    def call(self, inputs):
        return inputs[:, ::2]


class Half(tf.keras.layers.Layer):
    def call(self, inputs):
        return tf.cast(inputs, "float16")


class Fails(tf.keras.layers.Layer):
    def call(self, inputs):
        raise ValueError("out of luck")


def number(channels, groups):
    return 7
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "ones_norms.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("ones_norms", None)


def test_a_kind_of_ones_own_is_imported_only_when_a_run_needs_it():
    Instance("no.such.module:Kind")
    assert "ones_norms" not in sys.modules
    build_model(Instance("ones_norms:Centred"))
    assert "ones_norms" in sys.modules


def test_a_class_and_a_function_of_channels_and_groups_stand_in_their_slots():
    model = build_model(Instance("ones_norms:Centred/ones_norms:grouped", groups=2))
    assert model.get_layer("slot_2_1").seen == (10, 2)
    layer = model.get_layer("slot_1_1")
    images = np.random.default_rng(0).normal(3, 2, (4, 5, 5, 10)).astype("float32")
    np.testing.assert_allclose(layer(images), images - images.mean((1, 2), keepdims=True) + 1, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "model", "said"),
    [
        ("Smaller", "source_cnn", "in slot_1_1 it takes (None, 26, 26, 10) of float32 and gives (None, 13, 26, 10)"),
        ("Smaller", "resnet20", "a kind cannot stand in its slot of resnet20; it raised ValueError"),
        ("Half", "source_cnn", "(None, 26, 26, 10) of float32 and gives (None, 26, 26, 10) of float16"),
        ("Fails", "source_cnn", "a kind cannot stand in its slot of source_cnn; it raised "),
        ("number", "source_cnn", "a function of channels and groups that returns a layer; it returned 7"),
        ("Absent", "source_cnn", "it raised AttributeError: module 'ones_norms' has no attribute 'Absent'"),
    ],
)
def test_a_kind_that_cannot_stand_in_a_slot_is_refused_in_one_line(kind, model, said):
    with pytest.raises(RequestError, match=re.escape(said)) as refusal:
        build_model(Instance(f"ones_norms:{kind}", model))
    assert "\n" not in str(refusal.value)


def test_slots_and_swap_know_a_kind_of_ones_own_and_its_weights_are_kept():
    model = build_model(Instance("ones_norms:Centred/bn"))
    assert slots(model)["kind"].tolist() == ["ones_norms:Centred", "bn"]
    model.get_layer("slot_1_1").offset.assign(np.arange(10.0))
    images = np.random.default_rng(0).random((2, 28, 28), "float32")
    np.testing.assert_array_equal(swap(model, "bn")(images), model(images))
    swapped = swap(model, "gn+ones_norms:Centred", groups=5, replace=["bn", "ones_norms:Centred"])
    assert slots(swapped)["kind"].tolist() == ["gn", "ones_norms:Centred"] * 2
    with pytest.raises(RequestError, match=r"in slot_2_1 it takes .* and gives"):
        swap(model, "ones_norms:Smaller")
    with pytest.raises(RequestError, match=r"kind is 'ones_norms:Fails', but it cannot stand in slot_2_1; it raised"):
        swap(model, "ones_norms:Fails")


def test_contrasts_name_a_kind_of_ones_own_in_full_or_by_the_part_behind_the_colon():
    orderings = ["bn/Centred", "none/none"]
    texts = ("bn/ones_norms:Centred - none", "bn/Centred - none")
    full, short = (Contrast.parse("own", text, orderings) for text in texts)
    assert full == short
    with pytest.raises(RequestError, match="tables and figures call two of them the same"):
        Study("own", "Which?", ("a:Norm", "b:Norm"))


@pytest.mark.parametrize("kind", ["lnc", "rms"])
@pytest.mark.parametrize("shape", [(6, 5, 4, 10), (6, 7, 10), (6, 10)], ids=["images", "tokens", "dense"])
def test_layer_norm_of_channels_and_rms_norm_are_the_papers(kind, shape):
    """Ba, Kiros and Hinton 2016, equations 3 and 4; Zhang and Sennrich 2019, equation 4: no mean and no offset."""
    inputs = np.random.default_rng(3).normal(2, 3, shape).astype(np.float32)
    layer = normalization_layer(kind, channels=10, groups=5, axis=-1)
    layer.build(shape)
    scale, offset = np.linspace(0.5, 2, 10), np.linspace(-1, 1, 10) if kind == "lnc" else 0
    layer.set_weights([scale, offset] if kind == "lnc" else [scale])
    exact = inputs.astype(np.float64)
    centred = exact - exact.mean(axis=-1, keepdims=True) if kind == "lnc" else exact
    expected = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON) * scale + offset
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=2e-5)


def test_dynamic_tanh_is_the_papers_and_starts_with_an_alpha_of_a_half(images):
    """Zhu, Chen, He, LeCun and Liu 2025, equation 1."""
    layer = normalization_layer("dyt", channels=10, groups=5)
    scale, offset = give_weights(layer, images)
    expected = scale * np.tanh(0.5 * images.astype(np.float64)) + offset
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=2e-5)
    assert sorted(tuple(weight.shape) for weight in layer.trainable_weights) == [(), (10,), (10,)]


@pytest.mark.parametrize("kind", ["lnc", "rms", "dyt"])
def test_a_layer_over_channels_is_made_anew_from_its_configuration_and_found_as_its_kind(images, kind):
    layer = normalization_layer(kind, 10, 5, name="named", dtype="mixed_float16")
    again = type(layer).from_config(layer.get_config())
    given = images.astype(np.float16) / 8
    np.testing.assert_array_equal(layer(given), again(given))
    assert str(layer(given).dtype).endswith("float16'>") or layer(given).dtype == np.float16
    assert np.isfinite(np.asarray(layer(np.full((1, 2, 2, 10), 30000, np.float16)), np.float64)).all()
    assert find_kind(layer, 10) == find_kind(again, 10) == kind


@pytest.mark.parametrize("size", [2, 4, 6], ids=["three parts", "one and what is left over", "the whole batch"])
@pytest.mark.parametrize("shape", [(6, 5, 4, 10), (6, 10)], ids=["images", "dense"])
def test_batch_norm_takes_each_part_of_the_batch_by_itself_and_moves_its_averages_by_their_mean(shape, size):
    """Hoffer, Hubara and Soudry 2017, algorithm 1; the last part has what is left over."""
    inputs = (np.random.default_rng(5).normal(size=shape) * np.arange(1, 11) + np.arange(10)).astype(np.float32)
    layer = normalization_layer("bn", 10, 5, momentum=0.9, statistics_batch=size, axis=-1)
    scale, offset = give_weights(layer, inputs)
    exact, axes = inputs.astype(np.float64), tuple(range(len(shape) - 1))
    parts = [exact[start : start + size] for start in range(0, len(exact), size)]
    parts = [(part, part.mean(axis=axes), part.var(axis=axes)) for part in parts]
    expected = np.concatenate([batch_norm(part, mean, variance, scale, offset) for part, mean, variance in parts])
    np.testing.assert_allclose(layer(inputs, training=True), expected, rtol=1e-5, atol=2e-5)
    means, variances = (np.mean(moments, axis=0) for moments in list(zip(*parts, strict=True))[1:])
    np.testing.assert_allclose(np.asarray(layer.moving_mean), 0.1 * means, rtol=1e-5)
    np.testing.assert_allclose(np.asarray(layer.moving_variance), 0.9 + 0.1 * variances, rtol=1e-5)
    before = [np.array(weight) for weight in layer.weights]
    expected = batch_norm(inputs, before[2], before[3], scale, offset)
    np.testing.assert_allclose(layer(inputs, training=False), expected, rtol=1e-5, atol=2e-5)
    layer.trainable = False
    np.testing.assert_allclose(layer(inputs, training=True), expected, rtol=1e-5, atol=2e-5)
    for weight, kept in zip(layer.weights, before, strict=True):
        np.testing.assert_array_equal(np.array(weight), kept)


def test_batch_norm_in_parts_takes_no_mask_and_is_made_anew_with_its_parts(images):
    layer = normalization_layer("bn", 10, 5, statistics_batch=2, dtype="mixed_float16")
    again = type(layer).from_config(layer.get_config())
    given = images.astype(np.float16)
    np.testing.assert_array_equal(layer(given, training=True), again(given, training=True))
    assert find_kind(again, 10) == "bn"
    with pytest.raises(RequestError, match=r"mask is .*, but must be None where BatchNorm takes parts of the batch"):
        layer.call(given, mask=given > 0)
