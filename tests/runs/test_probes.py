"""The specification of what a probe sees, worked out by hand, and that it changes nothing."""

import itertools
import random

import numpy as np
import pytest

from normlib import data
from normlib.models import build, graphs, readings, watching
from normlib.models.instance import Instance
from normlib.runs import probes
from normlib.tf import tf


def fit_images(number):
    images, labels = data.load_split("mnist", Instance(fit_split=f"test[:{number}]").fit_examples)
    return images, labels


def test_looking_changes_neither_weights_nor_random_numbers():
    drawn = []
    for looks in (0, 2):
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(0)
        model = build.build_model(Instance("bn/bn"))
        before = [np.array(weight) for weight in model.weights]
        probe = probes.Probe(model, True, *fit_images(40), 32)
        seen = [probe.look() for _ in range(looks)]
        assert all(rows == seen[0] for rows in seen)
        initial = tf.keras.initializers.GlorotUniform()((3,))
        drawn.append((random.random(), np.random.rand(), tf.random.uniform([]).numpy(), *np.array(initial)))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert int(model.optimizer.iterations) == 0
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    assert not [layer for layer in model.layers if "call" in vars(layer)]


def cosine(outputs):
    return probes.mean_cosine(probes.unit_sum(tf.constant(outputs)).numpy(), len(outputs))


def test_cosine_similarity_is_the_mean_over_pairs_of_flattened_outputs():
    outputs = np.random.default_rng(0).normal([0.5, -1, 3], [1, 2, 0.1], size=(7, 4, 5, 3)).astype(np.float32)
    flat = outputs.reshape(7, -1).astype(np.float64)
    pairs = [
        flat[i] @ flat[j] / np.sqrt((flat[i] @ flat[i]) * (flat[j] @ flat[j]))
        for i, j in itertools.combinations(range(7), 2)
    ]
    assert len(pairs) == 21
    assert cosine(outputs) == pytest.approx(np.mean(pairs), rel=1e-12)


def test_cosine_similarity_of_one_sample_or_of_zeros_is_not_a_number():
    assert np.isnan(cosine([[1.0, 2.0]]))
    assert np.isnan(cosine([[1.0, 2.0], [0.0, 0.0]]))


def test_cosine_similarity_is_taken_where_each_slot_ends():
    """Of GroupNorm's output in the first slot, of the convolution's before the second, which is empty."""
    model = build.build_model(Instance("gn/none"))
    images, labels = fit_images(40)
    found = {row[1]: row for row in probes.Probe(model, True, images, labels, 32).look() if row[0].startswith("cosine")}
    outputs = images
    for layer in model.layers[:4]:
        outputs = np.array(layer(outputs))
        for number, name in ((1, "slot_1_1"), (2, "convolution_2")):
            if layer.name == name:
                assert found[number][2:] == (name, pytest.approx(cosine(outputs), rel=1e-5))
    assert layer.name == "convolution_2"
    assert sorted(found) == [1, 2]


@pytest.mark.parametrize("ordering", ["none/none", "gn/none"])
def test_gradient_norms_are_those_of_a_plain_gradient_tape(ordering):
    """Forty images are a batch of 32 and one of 8; without BatchNorm they are as one of 40."""
    tf.keras.utils.set_random_seed(1)
    model = build.build_model(Instance(ordering))
    images, labels = fit_images(40)
    kernels = [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]
    with tf.GradientTape() as tape:
        loss = tf.keras.losses.SparseCategoricalCrossentropy()(labels, model(images, training=False))
    expected = [np.linalg.norm(np.array(gradient)) for gradient in tape.gradient(loss, kernels)]
    found = [row for row in probes.Probe(model, True, images, labels, 32).look() if row[0] == "gradient norm"]
    assert [row[1] for row in found] == [1, 2, 3, 4]
    assert [row[2] for row in found][:2] == ["convolution_1", "convolution_2"]
    assert [row[3] for row in found] == pytest.approx(expected, rel=1e-4)


def test_the_gradient_has_what_regularizers_add():
    """With a regularizer that is far heavier than the loss, its gradient: 2 * 1000 * kernel."""
    layers = [
        tf.keras.Input((4,)),
        tf.keras.layers.Dense(3, "softmax", kernel_regularizer=tf.keras.regularizers.L2(1e3)),
    ]
    model = tf.keras.Sequential(layers)
    model.compile(loss="sparse_categorical_crossentropy")
    images = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    probe = probes.Probe(model, False, images, np.arange(6) % 3, 6)
    ((_, _, _, norm),) = probe.look()
    assert norm == pytest.approx(2000 * np.linalg.norm(np.array(model.layers[-1].kernel)), rel=1e-2)


def test_moving_statistics_start_at_zero_and_are_at_no_distance_once_recalibrated():
    tf.keras.utils.set_random_seed(0)
    model = build.build_model(Instance("bn/bn"))
    images, labels = fit_images(70)
    probe = probes.Probe(model, True, images, labels, 32)
    start = distances(probe)
    watch = watching.Watch(model)
    with graphs.keeping_variables(model):
        watch.pass_data(images, 32)
    for place, (_, variance) in enumerate(watch.population.values(), start=1):
        # Moving means are zeros, moving variances ones.
        assert start["mean", place] == 1
        expected = np.linalg.norm(1 - variance) / np.linalg.norm(variance)
        assert start["variance", place] == pytest.approx(expected, rel=1e-6)
    readings.recalibrate(model, images, 32, in_place=True)
    assert list(distances(probe).values()) == pytest.approx([0] * 4, abs=1e-6)


def distances(probe):
    rows = [row for row in probe.look() if row[0].startswith("moving")]
    return {(quantity.split()[1], place): value for quantity, place, _, value in rows}


def test_a_relative_distance_by_hand():
    """(1, 2) is (3, 4) apart from (4, 6), which is sqrt(52) long."""
    assert probes.relative_distance([1.0, 2.0], np.array([4.0, 6.0])) == pytest.approx(5 / np.sqrt(52))
    assert probes.relative_distance([1.0], np.array([0.0])) == np.inf
    assert np.isnan(probes.relative_distance([np.nan], np.array([1.0])))


@pytest.mark.parametrize(
    ("model", "ordering", "slots", "normalized", "kernels"),
    [
        ("dense", "bn/none", 2, [1], 3),
        # The first slot of a block is every second one from 2; the one behind the first convolution counts as one.
        ("resnet20", "bn/none", 19, [1, *range(2, 20, 2)], 20),
        # Layers with kernels: patches, six times attention and the two of the MLP, and classes.
        ("vit", "bn/none/lnc", 36, list(range(1, 37, 3)), 1 + 6 * 3 + 1),
    ],
)
def test_each_slot_of_a_model_is_seen_and_every_kernel_gets_a_gradient(model, ordering, slots, normalized, kernels):
    rows = probes.Probe(build.build_model(Instance(ordering, model)), True, *fit_images(8), 8).look()
    assert [row[1] for row in rows if row[0] == "cosine similarity"] == list(range(1, slots + 1))
    assert [row[1] for row in rows if row[0] == "moving mean distance"] == normalized
    gradients = [row[3] for row in rows if row[0] == "gradient norm"]
    assert len(gradients) == kernels
    assert min(gradients) > 0


def test_the_slots_of_a_model_of_ones_own_are_those_that_swap_leaves():
    """A stack of layers is one slot, an empty slot an Identity; both stand in a nested model."""
    model = build.build_model(Instance("bn+gn/none", "test_diagnose:nested", groups=1))
    first, second = probes.find_slots(model, named=False)
    assert (first.number, second.number) == (1, 2)
    assert isinstance(first.layer, tf.keras.Sequential)
    assert first.path.split("/")[-2:] == ["block", first.layer.name]
    assert first.members == first.layer.layers
    assert type(second.layer).__name__ == "Identity"
    rows = probes.Probe(model, False, *fit_images(40), 32).look()
    assert [row[0] for row in rows].count("cosine similarity") == 2
    assert [row[0] for row in rows].count("gradient norm") == 3
    assert [row[1] for row in rows if row[0].startswith("moving")] == [1, 1]
