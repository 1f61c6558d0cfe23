"""The specification of a diagnosis: it changes no bit of a run, and says when and where each figure was seen."""

import itertools

import numpy as np
import pytest

from normlib.models import build as build_module
from normlib.models.instance import Instance
from normlib.runs import diagnose, train
from normlib.tf import tf

TINY = {"fit_split": "test[:96]", "evaluate_split": "train[:50]"}  # three steps of 32
COLUMNS = ["step", "quantity", "place", "layer", "value"]


def nested(input_shape):
    """A model of one's own: BatchNorm in a Sequential, and Identity layers once orderings leave slots empty."""
    keras = tf.keras
    shape = (input_shape[0] // 4, input_shape[1] // 4, 4)
    block = [keras.Input(shape), keras.layers.BatchNormalization(), keras.layers.Conv2D(3, 2), keras.layers.ReLU()]
    layers = [
        keras.Input(input_shape),
        keras.layers.Conv2D(4, 4, strides=4),
        keras.Sequential([*block, keras.layers.BatchNormalization()], name="block"),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10, activation="softmax", kernel_regularizer="l2"),
    ]
    return keras.Sequential(layers)


def final_weights(monkeypatch, run):
    """Return a run's result and its final weights."""
    kept = []
    monkeypatch.setattr(
        build_module,
        "build_model",
        lambda instance, build=build_module.build_model: kept.append(build(instance)) or kept[0],
    )
    result = run()
    return result, [np.array(weight) for weight in kept[0].weights]


@pytest.mark.parametrize(
    "instance",
    [
        Instance("bn/gn", **TINY),
        Instance("bn/none", "test_diagnose:nested", **TINY, groups=1, epochs=2),
    ],
    ids=lambda instance: f"{instance.model}, {instance.ordering}",
)
def test_a_run_has_the_same_bits_with_a_diagnosis_and_without(instance, monkeypatch):
    """Dropout is on while they are trained, and batches are shuffled."""
    with monkeypatch.context() as patch:
        plain, expected = final_weights(patch, lambda: train.train(instance, seed=3))
    with monkeypatch.context() as patch:
        diagnosed, weights = final_weights(patch, lambda: diagnose.diagnose(instance, seed=3, points=4, images=40))
    record = diagnosed.record
    assert (record.training, record.curve, record.evaluation) == (plain.training, plain.curve, plain.evaluation)
    assert (record.key, record.parameters, record.seed) == (plain.key, plain.parameters, 3)
    for weight, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_row_a_moment_quantity_and_place():
    found = diagnose.diagnose(Instance("none/bn+gn", **TINY), seed=0, points=3, images=40).frame
    assert list(found) == COLUMNS
    rows = [tuple(row) for row in found[["step", "quantity", "place", "layer"]].itertuples(index=False)]
    per_moment = [
        ("cosine similarity", 1, "convolution_1"),
        ("cosine similarity", 2, "slot_2_2"),
        *[
            ("gradient norm", i, name)
            for i, name in enumerate(("convolution_1", "convolution_2", "dense", "dense_1"), 1)
        ],
        ("moving mean distance", 2, "slot_2_1"),
        ("moving variance distance", 2, "slot_2_1"),
    ]
    assert rows == [(step, *row) for step in (0, 1, 3) for row in per_moment]
    start = found[(found["step"] == 0) & (found["quantity"] == "moving mean distance")]
    assert start["value"].tolist() == [1]


@pytest.mark.parametrize(
    ("steps", "points", "expected"),
    [
        (10_000, 5, [0, 1, 22, 464, 10_000]),
        (313, 2, [0, 313]),
        (10, 9, [0, 1, 2, 3, 4, 5, 6, 7, 10]),
    ],
)
def test_moments_grow_by_a_factor_from_the_first_step_to_the_last(steps, points, expected):
    assert diagnose.moments(steps, points) == expected


def test_moments_are_as_many_as_asked_for_where_there_are_steps():
    for steps, points in itertools.product(range(1, 60), range(2, 30)):
        found = diagnose.moments(steps, points)
        assert len(set(found)) == len(found) == min(points, steps + 1)
        assert (found[0], found[-1]) == (0, steps)


def test_a_run_that_diverges_gives_figures_that_are_none():
    instance = Instance("none", **TINY, learning_rate=1e30)
    found = diagnose.diagnose(instance, seed=0, points=4, images=8)
    assert np.isfinite(found.frame.loc[found.frame["step"] == 0, "value"]).all()
    assert not np.isfinite(found.frame.loc[found.frame["step"] == 3, "value"]).all()
    assert "none/none, seed 0" in found._repr_html_()
