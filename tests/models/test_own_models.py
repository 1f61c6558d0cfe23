"""A model of one's own: imported when a run needs it, its BatchNorm layers are the slots, checked before fit."""

import re
import sys

import numpy as np
import pytest

from normlib import data, stack
from normlib.errors import RequestError
from normlib.execution.notebook import Execution, notebook_path
from normlib.execution.schedule import run_study
from normlib.execution.workers import Job, find_refusal, perform
from normlib.models.batch_norm import batch_norm_layers
from normlib.models.build import build_model
from normlib.models.instance import Instance
from normlib.models.swap import slots
from normlib.runs.diagnose import diagnose
from normlib.runs.train import train
from normlib.studies.study import Study

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


def shared(input_shape, classes):
    images = keras.Input(input_shape)
    norm = keras.layers.BatchNormalization(name="norm")
    both = keras.layers.Concatenate()([norm(images), norm(keras.layers.Rescaling(3.0, 2.0)(images))])
    return keras.Model(images, keras.layers.Dense(classes, "softmax")(keras.layers.Flatten()(both)))


def without_slots(classes):
    return keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), keras.layers.Dense(classes, "softmax")])


def five_classes(input_shape):
    return network(input_shape, 5)


def other_images(classes):
    return network((32, 32, 3), classes)


def needs_more(depth):
    return None


def fails():
    raise OSError("no such\\nfile")


def ends():
    raise SystemExit("no such device")


def started(input_shape, classes):
    model = network(input_shape, classes)
    model.layers[1].set_weights([np.array([v] * 6) for v in (1.0, 0.0, 0.1, 4.0)])
    model.layers[1].trainable = False
    return model


def kills():
    import os
    os._exit(7)


def number():
    return 3


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


@pytest.mark.parametrize(("ordering", "kinds"), [("gn", ["gn", "gn"]), ("bn/ln", ["bn", "ln"]), ("none", [])])
@pytest.mark.parametrize("function", ["build", "fixed"])
def test_its_batch_norms_are_the_slots_and_the_ordering_goes_along_it(function, ordering, kinds):
    model = build_model(own(function, ordering, groups=2))
    assert slots(model)["kind"].tolist() == kinds
    images = np.random.default_rng(0).random((3, 28, 28), np.float32)
    np.testing.assert_allclose(np.asarray(model(images)).sum(axis=1), 1, rtol=1e-5)


def test_batch_norm_keeps_its_momentum_and_epsilon_unless_they_are_set():
    def found(**settings):
        model = build_model(own("build", "bn", **settings))
        return {(layer.momentum, layer.epsilon) for layer in batch_norm_layers(model).values()}

    assert found() == {(0.8, 1e-3), (0.99, 1e-5)}
    assert found(momentum=0.5, epsilon=0.01) == {(0.5, 0.01)}


def test_a_run_of_it_is_trained_read_and_the_same_to_the_bit_when_it_is_made_again():
    records = [train(own("build", "bn/gn", groups=2), 5) for _ in range(2)]
    assert records[0].evaluation == records[1].evaluation
    assert records[0].training == records[1].training
    # 1 x 9 x 6 + 6, 6 x 9 x 4 + 4, 24 x 24 x 4 x 10 + 10; BatchNorm on 6 channels, GroupNorm on 4.
    assert records[0].parameters == {"total": 60 + 220 + 23_050 + 24 + 8, "trainable": 23_350, "non_trainable": 12}
    assert records[0].instance["model"] == "ones_own:build"


def test_a_batch_norm_that_started_with_statistics_of_its_own_is_debiased_by_these():
    """Here a frozen one: its moving averages stay, and there is nothing to take out of them."""
    record = train(own("started", "bn/none"), 0)
    np.testing.assert_allclose(record.evaluation["debiased"]["loss"], record.evaluation["inference"]["loss"], rtol=1e-5)


def test_all_orderings_start_from_the_same_kernels():
    from normlib.tf import tf

    kernels = []
    for ordering in ("bn", "gn/none"):
        tf.keras.utils.set_random_seed(3)
        kernels.append([w for w in build_model(own("build", ordering, groups=2)).get_weights() if w.ndim == 4])
    assert all((a == b).all() for a, b in zip(*kernels, strict=True))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("nothing", "a function that can be imported and called, and it gave AttributeError"),
        ("needs_more", "and it gave TypeError"),
        ("fails", "and it gave OSError: no such file"),
        ("ends", "and it gave SystemExit: no such device"),
        ("number", "a function that returns a Keras model, and it returned 3"),
        ("sigmoid", "a model whose outputs are probabilities, which add up to 1, or logits, which have both signs"),
        ("without_slots", "slot"),
        ("five_classes", "with 10 outputs; it takes (None, 28, 28, 1) and gives (None, 5)"),
        ("other_images", "a model of images (28, 28) or (28, 28, 1) with 10 outputs; it takes (None, 32, 32, 3)"),
        ("Subclassed", "Sequential or Functional"),
    ],
)
def test_what_is_no_model_for_the_data_is_refused_in_one_line_before_fit(function, said):
    with pytest.raises(RequestError) as refusal:
        train(own(function, groups=2), 0)
    assert str(refusal.value).startswith("model is ")
    assert said in str(refusal.value)
    assert str(refusal.value).isprintable()


def test_a_package_that_is_not_there_and_too_long_an_ordering_are_refused():
    with pytest.raises(RequestError, match=r"model is 'no_such_package:build'; .* it gave ModuleNotFoundError"):
        build_model(Instance("gn", "no_such_package:build"))
    with pytest.raises(RequestError, match=r"ordering is 'bn/gn/bn', but must be .*which is 2, and this has 3"):
        build_model(own("build", "bn/gn/bn"))


@pytest.mark.parametrize("function", ["logits", "zeros"])
def test_logits_are_trained_with_their_cross_entropy(function):
    """The same network that ends in softmax: same start, same shuffle, the same losses."""
    model = build_model(own(function, groups=2))
    assert model.loss.get_config()["from_logits"]
    if function == "logits":
        found, expected = (train(own(name, "bn/gn", groups=2), 5) for name in ("logits", "build"))
        assert found.training["loss"] == pytest.approx(expected.training["loss"], rel=1e-4)
        assert found.evaluation["inference"] == pytest.approx(expected.evaluation["inference"], rel=1e-3)
        assert diagnose(own("logits", "bn/gn", groups=2), 5, points=2, images=8).record.training == found.training


def test_a_model_of_any_image_size_gets_that_of_the_data():
    record = train(own("any_size", "bn"), 0)
    assert np.isfinite(record.evaluation["recalibrated"]["loss"])


def test_the_readings_of_a_shared_layer_are_those_by_hand():
    """Its population is all that enters in both calls; it has two updates a step."""
    instance, kept = own("shared", "bn", batch_size=32, epochs=2), []
    record = train(instance, 3, callbacks=[keras_callback(kept)])
    model, steps = kept[0], 4
    (norm,) = batch_norm_layers(model).values()
    images, _ = data.load_split("mnist", instance.fit_examples)
    unseen = data.load_split("mnist", instance.evaluate_examples)
    entering = np.stack([images, 3.0 * images + 2.0]).astype(np.float64)
    share = 0.99 ** (2 * steps)
    by_hand = {
        "recalibrated": (entering.mean(), entering.var()),
        "debiased": (
            np.array(norm.moving_mean) / (1 - share),
            (np.array(norm.moving_variance) - share) / (1 - share),
        ),
    }
    for reading, (mean, variance) in by_hand.items():
        moving = np.array(norm.moving_mean), np.array(norm.moving_variance)
        norm.moving_mean.assign(np.ravel(mean))
        norm.moving_variance.assign(np.ravel(variance))
        loss, _ = model.evaluate(*unseen, batch_size=1000, verbose=0)
        assert record.evaluation[reading]["loss"] == pytest.approx(loss, rel=1e-4)
        norm.moving_mean.assign(moving[0])
        norm.moving_variance.assign(moving[1])


def keras_callback(kept):
    from normlib.tf import tf

    callback = tf.keras.callbacks.LambdaCallback(on_train_end=lambda logs: kept.append(callback.model))
    return callback


@pytest.mark.parametrize(
    ("function", "ordering", "reason"),
    [
        ("build", "bn/gn/bn", "ordering is 'bn/gn/bn', but must be at most as many slots"),
        ("kills", "gn", "model is 'one of your own', but must be a function that can be called, and Python ended: "),
    ],
)
def test_a_study_refuses_it_once_before_any_kernel_starts_or_a_byte_is_written(
    tmp_path, monkeypatch, function, ordering, reason
):
    """Looked at in a process that finds modules where the command is given, as kernels do."""
    monkeypatch.chdir(tmp_path)
    study = Study("own", "Which?", ("bn", ordering), defaults={"model": f"ones_own:{function}", **SMALL})
    with pytest.raises(RequestError, match=re.escape(reason)):
        run_study(study, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_one_that_does_not_return_is_refused_when_the_time_of_an_execution_is_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal = find_refusal([own("build")], timeout=0.1)
    assert str(refusal).endswith("must be a function that returns a model within 0.1 seconds")


def test_in_a_kernel_the_reason_is_the_same_line(tmp_path, monkeypatch):
    """In a real kernel, which finds modules where the command is given."""
    monkeypatch.chdir(tmp_path)
    job = Job(Execution(own("five_classes"), 0, 1), notebook_path("instance").read_text("utf-8"), "", stack.installed())
    outcome = perform(job)
    assert outcome.reason.startswith("RequestError: model is 'ones_own:five_classes', but must be a model of images")
    assert not outcome.infrastructure
    assert outcome.records == ()
