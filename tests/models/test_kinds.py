"""Both providers' GroupNorm, and BatchNorm, against float64 NumPy written from the papers' formulas."""

import numpy as np
import pytest

from normlib import stack
from normlib.models.kinds import normalization_layer

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
@pytest.mark.parametrize("groups", [1, 2, 5, 10])
def test_group_norm_is_the_papers(images, provider, groups):
    layer = normalization_layer("gn", channels=10, groups=groups, provider=provider)
    scale, offset = give_weights(layer, images)
    np.testing.assert_allclose(layer(images), group_norm(images, groups, scale, offset), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(("kind", "groups"), [("ln", 1), ("in", 10)])
def test_layer_norm_has_one_group_and_instance_norm_one_per_channel(images, provider, kind, groups):
    layer = normalization_layer(kind, channels=10, groups=5, provider=provider)
    scale, offset = give_weights(layer, images)
    np.testing.assert_allclose(layer(images), group_norm(images, groups, scale, offset), rtol=1e-5, atol=2e-5)


def test_batch_norm_is_the_papers_in_training(images):
    layer = normalization_layer("bn", channels=10, groups=5)
    scale, offset = give_weights(layer, images)
    exact = images.astype(np.float64)
    mean, variance = exact.mean(axis=(0, 1, 2)), exact.var(axis=(0, 1, 2))
    expected = batch_norm(images, mean, variance, scale, offset)
    np.testing.assert_allclose(layer(images, training=True), expected, rtol=1e-5, atol=2e-5)


def test_batch_norm_uses_its_moving_averages_at_inference(images):
    layer = normalization_layer("bn", channels=10, groups=5)
    scale, offset = give_weights(layer, images)
    mean, variance = np.arange(10.0), np.arange(1.0, 11.0)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    expected = batch_norm(images, mean, variance, scale, offset)
    np.testing.assert_allclose(layer(images, training=False), expected, rtol=1e-5, atol=2e-5)


def test_momentum_is_that_of_batch_norms_moving_averages(images):
    layer = normalization_layer("bn", channels=10, groups=5, momentum=0.75)
    give_weights(layer, images)
    layer(images, training=True)
    mean = images.astype(np.float64).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, 0.25 * mean, rtol=1e-5)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_epsilon_is_what_is_added_to_group_norms_variance(images, provider):
    layer = normalization_layer("gn", channels=10, groups=5, provider=provider, epsilon=2.0)
    scale, offset = give_weights(layer, images)
    np.testing.assert_allclose(layer(images), group_norm(images, 5, scale, offset, epsilon=2.0), rtol=1e-5, atol=2e-5)


def test_epsilon_is_what_is_added_to_batch_norms_variance(images):
    layer = normalization_layer("bn", channels=10, groups=5, epsilon=2.0)
    scale, offset = give_weights(layer, images)
    expected = batch_norm(images, np.zeros(10), np.ones(10), scale, offset, epsilon=2.0)
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


@pytest.mark.skipif("addons" not in PROVIDERS, reason="tensorflow-addons cannot be imported on this stack")
@pytest.mark.parametrize("groups", [1, 2, 5, 10])
def test_addons_agrees_with_keras(images, groups):
    outputs = []
    for provider in ("addons", "keras"):
        layer = normalization_layer("gn", channels=10, groups=groups, provider=provider)
        give_weights(layer, images)
        outputs.append(layer(images))
    np.testing.assert_allclose(*outputs, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_provider_that_was_asked_for_provides_the_layer(provider):
    layer = normalization_layer("gn", channels=10, groups=5, provider=provider)
    assert type(layer).__module__.startswith({"addons": "tensorflow_addons", "keras": "keras"}[provider])
