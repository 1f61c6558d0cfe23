"""A model is built as the settings say; one of one's own is imported when a run needs it, and checked."""

import sys

import numpy as np
import pytest

from normlib.errors import RequestError
from normlib.execution.schedule import run_study
from normlib.execution.workers import find_refusal
from normlib.models.batch_norm import batch_norm_layers
from normlib.models.build import build_model, describe_layers
from normlib.models.instance import Instance
from normlib.models.swap import slots
from normlib.runs.train import train
from normlib.studies.study import Study
from normlib.tf import tf

BATCH, GROUP = "BatchNormalization", "GroupNormalization"


def built(ordering, **settings):
    return build_model(Instance(ordering, **settings))


def names(model):
    return [type(layer).__name__ for layer in model.layers]


@pytest.mark.parametrize(
    ("ordering", "first", "second", "total", "non_trainable"),
    [
        ("bn/none", [BATCH], [], 739_748, 20),
        ("gn/none", [GROUP], [], 739_728, 0),
        ("gn/bn", [GROUP], [BATCH], 739_768, 20),
        ("bn/gn", [BATCH], [GROUP], 739_768, 20),
        ("none/none", [], [], 739_708, 0),
        ("gn+bn/ln+in", [GROUP, BATCH], [GROUP, GROUP], 739_808, 20),
    ],
)
def test_layers_stand_where_the_ordering_says_with_the_sources_numbers_of_weights(
    ordering, first, second, total, non_trainable
):
    """Source: 100 + 910 in the convolutions, 5760 * 128 + 128 and 128 * 10 + 10 in the dense layers."""
    model = built(ordering)
    assert names(model) == ["Reshape", "Conv2D", *first, "Conv2D", *second, "Flatten", "Dense", "Dropout", "Dense"]
    layers = describe_layers(model)
    assert layers["parameters"].sum() == total
    assert layers["parameters"].sum() - layers["of them trainable"].sum() == non_trainable


def test_relu_follows_each_convolution_and_its_normalization():
    expected = ["Reshape", "Conv2D", BATCH, "Activation", "Conv2D", "Activation", "Flatten"]
    assert names(built("bn/none", activation="relu"))[:7] == expected


def test_layers_are_described_with_their_output_shapes():
    layers = describe_layers(built("bn/none"))
    assert layers.loc[3].tolist() == [BATCH, "(None, 26, 26, 10)", 40, 20]
    inputs = tf.keras.Input((4,))
    first, second = tf.keras.layers.Lambda(lambda x: (x, x[:, :2]))(inputs)
    layers = describe_layers(tf.keras.Model(inputs, [first, second]))
    assert layers["output shape"].tolist()[-1] == "(None, 4), (None, 2)"


def test_settings_reach_the_layers_and_the_optimizer():
    batch, group = (layer for layer in built("bn/gn").layers if type(layer).__name__ in (BATCH, GROUP))
    assert (batch.momentum, group.groups) == (0.99, 5)
    model = built("bn/gn", momentum=0.9, groups=2, epsilon=1e-5, learning_rate=0.01)
    batch, group = (layer for layer in model.layers if type(layer).__name__ in (BATCH, GROUP))
    assert (batch.momentum, batch.epsilon, group.epsilon, group.groups) == (0.9, 1e-5, 1e-5, 2)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.01, rtol=1e-6)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"warmup": 4}, [0, 0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        # With t of T steps taken, half of 1 + cos(pi t / T).
        ({"schedule": "cosine"}, [1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060, 0]),
        ({"schedule": "cosine", "warmup": 4}, [0, 0.25, 0.5, 0.75, 1, 0.853553, 0.5, 0.146447, 0]),
    ],
)
def test_the_learning_rate_grows_from_zero_and_ends_at_zero(settings, expected):
    """Eight steps; after the last one, the cosine is zero."""
    model = built("bn", fit_split="test[:128]", batch_size=32, epochs=2, learning_rate=0.01, **settings)
    rate = tf.keras.optimizers.schedules.deserialize(model.optimizer.get_config()["learning_rate"])
    np.testing.assert_allclose([float(rate(steps)) / 0.01 for steps in range(9)], expected, atol=1e-5)


MODULE = """
import numpy as np
import tensorflow as tf
keras = tf.keras


def network(shape, classes, last="softmax"):
    return keras.Sequential([
        keras.Input(shape),
        keras.layers.Conv2D(6, 3), keras.layers.BatchNormalization(momentum=0.8), keras.layers.ReLU(),
        keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(epsilon=1e-5), keras.layers.ReLU(),
        keras.layers.Flatten(), keras.layers.Dense(classes, activation=last),
    ])


def build(input_shape, classes):
    return network(input_shape, classes)


def fixed():
    return keras.Sequential([keras.Input((28, 28)), keras.layers.Reshape((28, 28, 1)), network((28, 28, 1), 10)])


def logits(input_shape, classes):
    return network(input_shape, classes, last=None)


def any_size(classes):
    return keras.Sequential([
        keras.Input((None, None, 1)), keras.layers.Conv2D(6, 3), keras.layers.BatchNormalization(),
        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes, "softmax"),
    ])


def sigmoid(input_shape, classes):
    return network(input_shape, classes, last="sigmoid")


def zeros(input_shape, classes):
    model = network(input_shape, classes, last=None)
    model.layers[-1].set_weights([0 * weight for weight in model.layers[-1].get_weights()])
    return model


def without_slots(classes):
    return keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")])


def five_classes(input_shape):
    return network(input_shape, 5)


def other_images(classes):
    return network((32, 32, 3), classes)


def ends():
    raise SystemExit("no such\\ndevice")


def started(input_shape, classes):
    model = network(input_shape, classes)
    model.layers[1].set_weights([np.array([v] * 6) for v in (1.0, 0.0, 0.1, 4.0)])
    model.layers[1].trainable = False
    return model


def kills():
    import os
    os._exit(7)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.norm, self.dense = keras.layers.BatchNormalization(), keras.layers.Dense(10, "softmax")

    def call(self, x):
        return self.dense(self.norm(tf.reshape(x, (-1, 784))))
"""
SMALL = {"fit_split": "train[:64]", "evaluate_split": "test[:50]"}


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "ones_own.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("ones_own", None)


def own(function, ordering="gn", **settings):
    return Instance(ordering, f"ones_own:{function}", **SMALL, **settings)


def test_it_is_imported_only_when_a_run_needs_it():
    Instance("gn", "no.such.package:build")
    own("build")
    assert "ones_own" not in sys.modules
    build_model(own("build", groups=2))
    assert "ones_own" in sys.modules


def test_batch_norm_keeps_its_momentum_and_epsilon_unless_they_are_set():
    def found(**settings):
        model = build_model(own("build", "bn", **settings))
        return {(layer.momentum, layer.epsilon) for layer in batch_norm_layers(model).values()}

    assert found() == {(0.8, 1e-3), (0.99, 1e-5)}
    assert found(momentum=0.5, epsilon=0.01) == {(0.5, 0.01)}


def test_its_runs_are_the_same_to_the_bit_and_logits_are_trained_with_their_cross_entropy():
    """The same network that ends in softmax: same start, same shuffle, the same losses. Zeros are logits, too."""
    records = [train(own(name, "bn/gn", groups=2), 5) for name in ("build", "build", "logits")]
    assert records[0].evaluation == records[1].evaluation
    assert records[0].training == records[1].training
    assert build_model(own("zeros", groups=2)).loss.get_config()["from_logits"]
    assert records[2].training["loss"] == pytest.approx(records[0].training["loss"], rel=1e-4)
    assert records[2].evaluation["inference"] == pytest.approx(records[0].evaluation["inference"], rel=1e-3)
    # 1 x 9 x 6 + 6, 6 x 9 x 4 + 4, 24 x 24 x 4 x 10 + 10; BatchNorm on 6 channels, GroupNorm on 4.
    assert records[0].parameters == {"total": 60 + 220 + 23_050 + 24 + 8, "trainable": 23_350, "non_trainable": 12}
    assert records[0].instance["model"] == "ones_own:build"


def test_a_batch_norm_that_started_with_statistics_of_its_own_is_debiased_by_these():
    """Here a frozen one: its moving averages stay, and there is nothing to take out of them."""
    record = train(own("started", "bn/none"), 0)
    np.testing.assert_allclose(record.evaluation["debiased"]["loss"], record.evaluation["inference"]["loss"], rtol=1e-5)


@pytest.mark.parametrize(("function", "ordering", "kinds"), [("build", "bn/ln", ["bn", "ln"]), ("fixed", "none", [])])
def test_its_batch_norms_are_the_slots_and_the_ordering_goes_along_it(function, ordering, kinds):
    model = build_model(own(function, ordering, groups=2))
    assert slots(model)["kind"].tolist() == kinds
    images = np.random.default_rng(0).random((3, 28, 28), np.float32)
    np.testing.assert_allclose(np.asarray(model(images)).sum(axis=1), 1, rtol=1e-5)


def test_a_model_of_any_image_size_gets_that_of_the_data():
    assert build_model(own("any_size", "bn")).input_shape == (None, 28, 28)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "must be a function that returns a Keras model; it raised AttributeError"),
        ("ends", "it raised SystemExit: no such device"),
        ("sigmoid", "a model whose outputs are probabilities, which add up to 1, or logits, which have both signs"),
        ("without_slots", "it has no slot"),
        ("five_classes", "to 10 outputs; it takes (None, 28, 28, 1) and gives (None, 5)"),
        ("other_images", "model from images (28, 28) or (28, 28, 1) to 10 outputs; it takes (None, 32, 32, 3)"),
        ("Subclassed", "a Sequential or Functional model"),
    ],
)
def test_what_is_no_model_for_the_data_is_refused_in_one_line(function, message):
    with pytest.raises(RequestError) as refusal:
        build_model(own(function, groups=2))
    assert str(refusal.value).startswith("model is ")
    assert message in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_an_ordering_with_more_slots_than_a_model_of_ones_own_is_refused():
    with pytest.raises(RequestError, match=r"ordering is 'bn/gn/bn', but it has 3 slots, and this model 2"):
        build_model(own("build", "bn/gn/bn"))


def test_a_study_refuses_it_before_any_kernel_starts_or_a_byte_is_written(tmp_path, monkeypatch):
    """Looked at in a process that finds modules where the command is given, as kernels do."""
    monkeypatch.chdir(tmp_path)
    study = Study("own", "Which?", ("bn", "gn"), defaults={"model": "ones_own:kills", **SMALL})
    with pytest.raises(RequestError, match=r"ended Python: |Python ended: "):
        run_study(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    refusal = find_refusal([own("build")], timeout=0.1)
    assert "0.1 s" in str(refusal)
