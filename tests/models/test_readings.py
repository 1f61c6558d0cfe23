import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
from test_batch_norm import norms

from normlib import data
from normlib.datasets import Split
from normlib.errors import RequestError
from normlib.models import build, readings
from normlib.models.instance import Instance
from normlib.tf import KERAS_3, tf

X = (np.random.default_rng(7).normal(size=(70, 3)) * [1, 2, 3] + [5, 0, -5]).astype(np.float32)


def weights(model):
    return [np.array(weight) for weight in model.get_weights()]


def plain(*shapes, momentum=0.99):
    """Return a compiled model with a BatchNorm of the sum of its inputs and a Dense behind it."""
    inputs = [tf.keras.Input(shape, name=f"input_{number}") for number, shape in enumerate(shapes or [(3,)])]
    x = tf.keras.layers.Add()(inputs) if len(inputs) > 1 else inputs[0]
    x = tf.keras.layers.BatchNormalization(momentum=momentum)(x)
    model = tf.keras.Model(inputs if len(inputs) > 1 else inputs[0], tf.keras.layers.Dense(1)(x))
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    return model


def fitted(model, epochs=1, **options):
    model.fit(X, X[:, :1], batch_size=35, epochs=epochs, shuffle=False, verbose=0, **options)
    return model


def debiased_loss(model, mean, variance):
    """Return the loss with these averages, which is how Keras evaluates them."""
    (norm,) = norms(model)
    kept = np.array(norm.moving_mean), np.array(norm.moving_variance)
    norm.moving_mean.assign(mean)
    norm.moving_variance.assign(variance)
    loss = model.evaluate(X, X[:, :1], batch_size=1000, verbose=0)
    norm.moving_mean.assign(kept[0])
    norm.moving_variance.assign(kept[1])
    return loss


def expected_average(steps):
    """Return what two batches in turn leave of their means and variances, without a share of initial values."""
    weights = 0.99 ** np.arange(steps)[::-1]
    parts = [(X[:35], X[35:])[step % 2].astype(np.float64) for step in range(steps)]
    return tuple(np.average([f(part, axis=0) for part in parts], axis=0, weights=weights) for f in (np.mean, np.var))


def test_debiasing_takes_out_the_initial_values_share():
    """The same batch three times: the averages are 1 - m ** 3 of its statistics, the rest is the initial 0 and 1."""
    x = np.random.default_rng(1).normal(3, 2, size=(500, 4, 4, 2)).astype(np.float32)
    model = tf.keras.Sequential([tf.keras.Input((4, 4, 2)), tf.keras.layers.BatchNormalization(momentum=0.9)])
    for _ in range(3):
        model(x, training=True)
    (biased,) = norms(model)
    np.testing.assert_allclose(biased.moving_mean, (1 - 0.9**3) * x.mean(axis=(0, 1, 2)), rtol=1e-4)
    (debiased,) = norms(readings.debias(model, steps=3))
    np.testing.assert_allclose(debiased.moving_mean, x.mean(axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(debiased.moving_variance, x.var(axis=(0, 1, 2)), rtol=1e-3)


def test_steps_are_batches_whatever_the_optimizer_counts():
    """Accumulated gradients: Keras 3 counts a step for four batches."""
    model = plain()
    try:
        optimizer = tf.keras.optimizers.SGD(0.0, gradient_accumulation_steps=4)
    except (TypeError, ValueError):
        optimizer = tf.keras.optimizers.SGD(0.0)  # Keras 2 has no such thing
    model.compile(optimizer, "mse")
    fitted(model, epochs=11)
    gap = readings.moving_average_gap(model, X, X[:, :1])
    assert gap.loc["debiased", "loss"] == pytest.approx(debiased_loss(model, *expected_average(22)), rel=1e-4)


def test_steps_before_a_compile_are_told_by_steps():
    model = fitted(plain(), epochs=2)
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    fitted(model)
    with pytest.warns(UserWarning, match=r"debiasing by 2 steps since the initial averages cannot be right"):
        gap = readings.moving_average_gap(model, X, X[:, :1])
    assert gap["loss"].isna().tolist() == [False, True, False]
    gap = readings.moving_average_gap(model, X, X[:, :1], steps=6)
    assert gap.loc["debiased", "loss"] == pytest.approx(debiased_loss(model, *expected_average(6)), rel=1e-4)


def test_averages_that_were_loaded_are_told_by_initial():
    loaded = plain()
    norms(loaded)[0].moving_mean.assign([2.0] * 3)
    norms(loaded)[0].moving_variance.assign([3.0] * 3)
    model = plain()
    model.set_weights(loaded.get_weights())
    fitted(model)
    with pytest.warns(UserWarning, match="cannot be right, as after loading"):
        gap = readings.moving_average_gap(model, X, X[:, :1])
    assert np.isnan(gap.loc["debiased", "loss"])
    gap = readings.moving_average_gap(model, X, X[:, :1], initial=loaded)
    expected = debiased_loss(model, *expected_average(2))
    assert gap.loc["debiased", "loss"] == pytest.approx(expected, rel=1e-3)
    (norm,) = norms(readings.debias(model, 2, initial=[(2.0, 3.0)]))
    assert debiased_loss(model, norm.moving_mean, norm.moving_variance) == pytest.approx(expected, rel=1e-3)


def test_a_variance_that_comes_out_negative_is_refused():
    model = plain()
    norms(model)[0].moving_variance.assign([0.5] * 3)  # as loaded ones may be; one step leaves at least 0.99
    with pytest.raises(RequestError, match=r"steps is 1, but the debiased variance of 'batch_norm.*' is negative"):
        readings.debias(model, 1)


def test_a_model_without_batch_norm_is_the_same_in_all_readings_and_comes_back_as_it_is():
    model = tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    fitted(model)
    assert readings.recalibrate(model, X) is readings.debias(model, 7) is model
    assert readings.moving_average_gap(model, X, X[:, :1])["loss"].diff()[1:].tolist() == [0, 0]


def test_the_gap_is_what_the_changed_models_evaluate_to():
    images = data.load_split("mnist", Split("test", 0, 200))
    tf.keras.utils.set_random_seed(0)
    trained = build.build_model(Instance("bn/none"))
    trained.fit(*images, verbose=0)
    gap = readings.moving_average_gap(trained, *images)
    assert gap.index.tolist() == ["inference", "debiased", "recalibrated"]
    for reading, changed in (
        ("inference", trained),
        ("debiased", readings.debias(trained, steps=7)),  # 200 images are seven steps of 32
        ("recalibrated", readings.recalibrate(trained, images[0])),
    ):
        assert changed.evaluate(*images, batch_size=1000, verbose=0) == pytest.approx(
            gap.loc[reading, ["loss", "accuracy"]].tolist(), rel=1e-5
        )
    assert gap["loss_removed"].iloc[1:].sum() == pytest.approx(gap["loss"].iloc[0] - gap["loss"].iloc[2])
    # After seven steps the averages are 93 % initial values: recalibration removes most of the loss.
    assert gap.loc["recalibrated", "loss"] < gap.loc["inference", "loss"]


def test_an_error_on_the_way_leaves_the_model_as_it_was(monkeypatch):
    model = fitted(plain())
    before = weights(model)
    calls = iter([{"loss": 0.5}])
    monkeypatch.setattr(readings, "_evaluate", lambda *_: next(calls))  # the second evaluation fails
    with pytest.raises(StopIteration):
        readings.moving_average_gap(model, X, X[:, :1])
    for weight, kept in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


class Sequence(tf.keras.utils.Sequence):
    """Batches as Keras' own sequences give them, with labels."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = X[index * 32 : (index + 1) * 32]
        return part, part[:, :1]


def endless():
    return tf.data.Dataset.from_tensor_slices(X).batch(32).repeat()


@pytest.mark.parametrize(
    ("data", "batches"),
    [
        (lambda: X, None),
        (lambda: tf.constant(X), None),
        (lambda: pd.DataFrame(X, columns=["a", "b", "c"]), None),
        (lambda: tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(32), None),
        (endless, 3),
        (lambda: ((X[start : start + 32], X[start : start + 32, :1]) for start in (0, 32, 64)), None),
        (lambda: ((X[start : start + 32],) for start in (0, 32, 64)), 2),
        (Sequence, None),
    ],
    ids=["array", "tensor", "frame", "dataset", "endless dataset", "generator", "part of a generator", "sequence"],
)
def test_what_fit_takes_is_taken(data, batches):
    (norm,) = norms(readings.recalibrate(plain(), data(), batch_size=32, batches=batches))
    entered = X[:64] if batches == 2 else X
    np.testing.assert_allclose(norm.moving_mean, entered.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, entered.var(axis=0), rtol=1e-5)


def test_several_inputs_are_taken_by_name():
    (norm,) = norms(readings.recalibrate(plain((3,), (3,)), {"input_0": X, "input_1": X + 1}))
    np.testing.assert_allclose(norm.moving_mean, (2 * X + 1).mean(axis=0), rtol=1e-5)


def test_the_gap_has_the_models_own_losses_and_metrics():
    inputs = tf.keras.Input((3,))
    norm = tf.keras.layers.BatchNormalization()(inputs)
    model = tf.keras.Model(inputs, [tf.keras.layers.Dense(1, name=name)(norm) for name in ("a", "b")])
    model.compile("sgd", loss=["mse", "mae"], metrics=[["mae"], []])
    y = [X[:, :1]] * 2
    model.fit(X, y, verbose=0)
    gap = readings.moving_average_gap(model, X, y)
    columns = ["loss", "a_loss", "b_loss", "a_mae"]
    assert [*gap.columns[:1], *sorted(gap.columns)] == ["loss", *sorted([*columns, "loss_removed"])]
    evaluated = model.evaluate(X, y, batch_size=1000, verbose=0, return_dict=True)
    assert gap.loc["inference", columns].tolist() == pytest.approx([evaluated[name] for name in columns])


@pytest.mark.parametrize(("batch_size", "epochs", "scale"), [(8, 30, 1.0), (70, 1, 30.0)])
def test_a_plain_training_is_not_doubted(batch_size, epochs, scale):
    """Also of data that are like the initial averages, where the moving ones are nearer by chance."""
    x = np.random.default_rng(epochs).normal(size=(70, 3)).astype(np.float32) * max(scale, 1) + scale
    model = plain()
    model.compile(tf.keras.optimizers.SGD(0.01), "mse")
    model.fit(x, x[:, :1], batch_size=batch_size, epochs=epochs, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        gap = readings.moving_average_gap(model, x, x[:, :1], batch_size=batch_size)
    assert gap["loss"].notna().all()


def test_what_is_no_built_model_is_refused():
    calls = (
        lambda m: readings.debias(m, 1),
        lambda m: readings.recalibrate(m, X),
        lambda m: readings.moving_average_gap(m, X, X),
    )
    for call, model in itertools.product(calls, (3, tf.keras.Sequential())):
        with pytest.raises(RequestError, match=r"model is .*, but must be a Keras model that is built"):
            call(model)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "x is 'NoneType', but the model does not take these data; it raised "),
        (3, "x is 'int', but the model does not take these data"),
        (np.where(X[0, 0] == X, np.nan, X), "x is 'ndarray', but what enters a BatchNorm layer is not finite"),
        ([], "x is 'list', but it holds no example"),
        (X[:0], "x is 'ndarray', but it holds no example"),
        (X[:, :2], r"x is 'ndarray \(70, 2\)', but the model does not take these data; it raised "),
        ("text", "x is 'str', but the model does not take these data"),
        (endless, "x is '.*Dataset', but it has no end"),
    ],
)
def test_data_that_the_model_does_not_take_are_refused(x, message):
    with pytest.raises(RequestError, match=message) as caught:
        readings.recalibrate(plain(), x() if callable(x) else x)
    assert str(caught.value).isprintable()


def uncompiled():
    return tf.keras.Sequential([tf.keras.Input((3,)), tf.keras.layers.BatchNormalization()])


@pytest.fixture(scope="module")
def fitted_plain():
    return fitted(plain())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0, but must be a whole number from 1 up"),
        ({"initial": 3}, "initial is 'int', but must be a model with the same 1 BatchNorm layers"),
        ({"initial": [(0, 1), (0, 1)]}, "initial is 'list'"),
        ({"initial": [(np.zeros(2), np.ones(2))]}, "initial is 'list'"),
        ({"initial": [(0, -1)]}, "initial is 'list', .*no variance below 0"),
        ({"y": None}, "y is None, but must be labels, which the model's loss needs"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"calibration_x": X[:0]}, "calibration_x is 'ndarray', but it holds no example"),
        ({"x": iter([X])}, "x is '.*', but must be arrays or a Dataset; a generator is spent"),
        ({"model": plain}, "model is '.*', but it has not been trained"),
        ({"model": uncompiled}, "must be a compiled model"),
    ],
)
def test_wrong_arguments_of_the_gap_are_refused(fitted_plain, arguments, message):
    arguments = {"model": lambda: fitted_plain, "x": X, "y": X[:, :1], **arguments}
    with pytest.raises(RequestError, match=message):
        readings.moving_average_gap(arguments.pop("model")(), **arguments)


@pytest.mark.skipif(not KERAS_3, reason="Keras 2's loss scale optimizer counts all steps")
def test_steps_that_a_loss_scale_optimizer_leaves_out_are_asked_for():
    model = plain()
    model.compile(tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(0.0)), "mse")
    fitted(model)
    with pytest.raises(RequestError, match="steps is None, but the loss scale optimizer does not count batches whose"):
        readings.moving_average_gap(model, X, X[:, :1])
    assert readings.moving_average_gap(model, X, X[:, :1], steps=2)["loss"].notna().all()
