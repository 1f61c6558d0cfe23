import warnings

import numpy as np
import pandas as pd
import pytest

from normlib import data
from normlib.datasets import Split
from normlib.errors import RequestError
from normlib.models import batch_norm, build, readings
from normlib.models.instance import Instance
from normlib.tf import KERAS_3, tf


@pytest.fixture(scope="module")
def images():
    return data.load_split("mnist", Split("test", 0, 200))


def trained(ordering, images, **settings):
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    model = build.build_model(Instance(ordering, **settings))
    model.fit(*images, verbose=0)
    return model


def entering(model, layer, x):
    """Return in float64 what enters a layer at inference."""
    before = tf.keras.Model(model.inputs, layer.input)
    return before.predict(x, verbose=0).astype(np.float64)


def norms(model):
    return list(batch_norm.batch_norm_layers(model).values())


def weights(model):
    return [np.array(weight) for weight in model.get_weights()]


def test_recalibrated_statistics_are_those_of_the_population(images):
    """Nothing before the first BatchNorm depends on the batch: mean and variance over all images and positions."""
    model = trained("bn/none", images)
    (layer,) = norms(model)
    entered = entering(model, layer, images[0])
    (recalibrated,) = norms(readings.recalibrate(model, images[0]))
    np.testing.assert_allclose(recalibrated.moving_mean, entered.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(recalibrated.moving_variance, entered.var(axis=(0, 1, 2)), rtol=1e-5)


def test_a_second_batch_norm_sees_what_the_first_makes_of_each_batch(images):
    """By hand, batch by batch: normalize by the batch, convolve, and put the batches together."""
    model = trained("bn/bn", images)
    first, _ = norms(model)
    convolution = next(layer for layer in model.layers[3:] if hasattr(layer, "kernel"))
    means, squares, sizes = [], [], []
    entered = entering(model, first, images[0])
    for start in range(0, 200, 32):
        batch = entered[start : start + 32]
        normalized = (batch - batch.mean(axis=(0, 1, 2))) / np.sqrt(batch.var(axis=(0, 1, 2)) + first.epsilon)
        normalized = normalized * np.array(first.gamma) + np.array(first.beta)
        out = np.array(convolution(normalized.astype(np.float32)), np.float64)
        means.append(out.mean(axis=(0, 1, 2)))
        squares.append((out**2).mean(axis=(0, 1, 2)))
        sizes.append(len(batch))
    mean = np.average(means, axis=0, weights=sizes)
    variance = np.average(squares, axis=0, weights=sizes) - mean**2
    recalibrated = norms(readings.recalibrate(model, images[0], batch_size=32))[1]
    # TensorFlow's fused BatchNorm computes in float32: its own outputs are off by 1e-4.
    np.testing.assert_allclose(recalibrated.moving_mean, mean, rtol=1e-3, atol=2e-4)
    np.testing.assert_allclose(recalibrated.moving_variance, variance, rtol=1e-3)


def test_the_population_variance_has_no_bessels_correction():
    """Eight values a channel: Keras 2 would store 8/7 of the variance."""
    x = np.random.default_rng(0).normal(size=(8, 1, 1, 3)).astype(np.float32) * [1, 2, 3]
    model = tf.keras.Sequential([tf.keras.Input((1, 1, 3)), tf.keras.layers.BatchNormalization()])
    recalibrated = readings.recalibrate(model, x.astype(np.float32), batch_size=8)
    np.testing.assert_allclose(recalibrated.layers[-1].moving_variance, x.var(axis=(0, 1, 2)), rtol=1e-5)


def test_dropout_is_off_while_statistics_are_recomputed():
    layers = [tf.keras.layers.Dropout(0.5), tf.keras.layers.BatchNormalization()]
    model = tf.keras.Sequential([tf.keras.Input((4,)), *layers])
    x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    recalibrated = readings.recalibrate(model, x)
    np.testing.assert_allclose(recalibrated.layers[-1].moving_mean, x.mean(axis=0), rtol=1e-4, atol=1e-6)


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


@pytest.mark.parametrize(
    "change", [lambda model, x, **how: readings.debias(model, 7, **how), readings.recalibrate], ids=["debias", "recal"]
)
def test_the_model_that_is_given_is_left_unchanged_unless_asked(images, change):
    model = trained("bn/gn", images)
    before, prediction = weights(model), model.predict(images[0], verbose=0)
    changed = change(model, images[0])
    for weight, kept in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    np.testing.assert_array_equal(model.predict(images[0], verbose=0), prediction)
    assert change(model, images[0], in_place=True) is model
    for weight, other in zip(weights(model), weights(changed), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert not np.array_equal(model.predict(images[0], verbose=0), prediction)


def test_a_model_without_batch_norm_is_the_same_in_all_readings(images):
    gap = readings.moving_average_gap(trained("gn/none", images), *images)
    assert gap["loss"].nunique() == gap["accuracy"].nunique() == 1


def test_a_model_without_batch_norm_comes_back_as_it_is(images):
    model = trained("gn/none", images)
    assert readings.recalibrate(model, images[0]) is readings.debias(model, 7) is model


def test_the_gap_is_what_the_changed_models_evaluate_to(images):
    model = trained("bn/none", images)
    gap = readings.moving_average_gap(model, *images)
    assert gap.index.tolist() == ["inference", "debiased", "recalibrated"]
    for reading, changed in (
        ("inference", model),
        ("debiased", readings.debias(model, steps=7)),  # 200 images are seven steps of 32
        ("recalibrated", readings.recalibrate(model, images[0])),
    ):
        assert changed.evaluate(*images, batch_size=1000, verbose=0) == pytest.approx(
            gap.loc[reading, ["loss", "accuracy"]].tolist(), rel=1e-5
        )
    assert gap["loss_removed"].iloc[1:].sum() == pytest.approx(gap["loss"].iloc[0] - gap["loss"].iloc[2])
    # After seven steps the averages are 93 % initial values: recalibration removes most of the loss.
    assert gap.loc["recalibrated", "loss"] < gap.loc["inference", "loss"]


def test_batch_norm_folds_into_the_convolution_before_it(images):
    """At inference ``bn/none`` is a ``none/none`` with other kernels: with weights folded, the outputs are the same."""
    model = trained("bn/none", images)
    (norm,) = norms(model)
    plain = build.build_model(Instance("none/none"))
    kernel, bias, gamma, beta, mean, variance, *rest = (
        model.get_weights()[:4]
        + [
            np.array(norm.moving_mean),
            np.array(norm.moving_variance),
        ]
        + [w for layer in model.layers[3:] for w in layer.get_weights()]
    )
    scale = gamma / np.sqrt(variance + norm.epsilon)
    plain.set_weights([kernel * scale, (bias - mean) * scale + beta, *rest])
    np.testing.assert_allclose(
        plain.predict(images[0], verbose=0), model.predict(images[0], verbose=0), rtol=1e-3, atol=1e-5
    )


def test_functional_models_and_models_within_models_are_read(images):
    inner = tf.keras.Sequential([tf.keras.Input((28, 28, 1)), tf.keras.layers.BatchNormalization()])
    inputs = tf.keras.Input((28, 28))
    x = inner(tf.keras.layers.Reshape((28, 28, 1))(inputs))
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(10, activation="softmax")(tf.keras.layers.Flatten()(x)))
    recalibrated = readings.recalibrate(model, images[0])
    (layer,) = norms(recalibrated)
    np.testing.assert_allclose(layer.moving_mean, [images[0].mean()], rtol=1e-4)


def test_batch_norm_within_wrappers_and_blocks_of_ones_own_is_found():
    class Block(tf.keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.norm = tf.keras.layers.BatchNormalization()

        def call(self, inputs, training=None):
            return self.norm(inputs, training=training)

    layers = [Block(), tf.keras.layers.TimeDistributed(tf.keras.layers.BatchNormalization())]
    model = tf.keras.Sequential([tf.keras.Input((5, 3)), *layers])
    assert len(norms(model)) == 2
    x = np.random.default_rng(0).normal(2, 1, size=(64, 5, 3)).astype(np.float32)
    readings.recalibrate(model, x, batch_size=64, in_place=True)
    first, _ = norms(model)
    np.testing.assert_allclose(first.moving_mean, x.mean(axis=(0, 1)), rtol=1e-4)


def test_an_error_on_the_way_leaves_the_model_as_it_was(images, monkeypatch):
    model = trained("bn/none", images)
    before = weights(model)
    calls = iter([{"loss": 0.5, "accuracy": 0.5}])
    monkeypatch.setattr(readings, "_evaluate", lambda *_: next(calls))  # the second evaluation fails
    with pytest.raises(StopIteration):
        readings.moving_average_gap(model, *images)
    for weight, kept in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


X = (np.random.default_rng(7).normal(size=(70, 3)) * [1, 2, 3] + [5, 0, -5]).astype(np.float32)


class Sequence(tf.keras.utils.Sequence):
    """Batches as Keras' own sequences give them, with labels."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = X[index * 32 : (index + 1) * 32]
        return part, part[:, :1]


DATA = {
    "array": lambda: X,
    "tensor": lambda: tf.constant(X),
    "frame": lambda: pd.DataFrame(X, columns=["a", "b", "c"]),
    "frame with a column of that name": lambda: pd.DataFrame(X, columns=["a", "dataset", "c"]),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(32),
    "dataset with labels": lambda: tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(32),
    "endless dataset": lambda: tf.data.Dataset.from_tensor_slices(X).batch(32).repeat(),
    "generator": lambda: ((X[start : start + 32], X[start : start + 32, :1]) for start in (0, 32, 64)),
    "sequence": Sequence,
}


def plain(*shapes, momentum=0.99):
    """Return a compiled model with a BatchNorm of the sum of its inputs and a Dense behind it."""
    inputs = [tf.keras.Input(shape, name=f"input_{number}") for number, shape in enumerate(shapes or [(3,)])]
    x = tf.keras.layers.Add()(inputs) if len(inputs) > 1 else inputs[0]
    x = tf.keras.layers.BatchNormalization(momentum=momentum)(x)
    model = tf.keras.Model(inputs if len(inputs) > 1 else inputs[0], tf.keras.layers.Dense(1)(x))
    model.compile(tf.keras.optimizers.SGD(0.0), "mse")
    return model


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_what_fit_takes_is_taken(data):
    endless = data is DATA["endless dataset"]
    (norm,) = norms(readings.recalibrate(plain(), data(), batch_size=32, batches=3 if endless else None))
    np.testing.assert_allclose(norm.moving_mean, X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, X.var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("data", [lambda: [X, X + 1], lambda: {"input_0": X, "input_1": X + 1}], ids=["list", "dict"])
def test_several_inputs_are_taken(data):
    (norm,) = norms(readings.recalibrate(plain((3,), (3,)), data()))
    np.testing.assert_allclose(norm.moving_mean, (2 * X + 1).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(norm.moving_variance, (2 * X + 1).var(axis=0), rtol=1e-5)


@pytest.mark.parametrize("data", [DATA["array"], DATA["dataset"], DATA["generator"]])
def test_it_stops_after_so_many_batches(data):
    (norm,) = norms(readings.recalibrate(plain(), data(), batch_size=32, batches=2))
    np.testing.assert_allclose(norm.moving_mean, X[:64].mean(axis=0), rtol=1e-5)


def test_weights_averaged_over_checkpoints_are_recalibrated_in_three_lines(images):
    """Three lines, as docs show them: their statistics are those of the averaged model."""
    checkpoints = [trained("bn/none", images).get_weights() for _ in range(2)]
    model = trained("bn/none", images)
    model.set_weights([np.mean(weights, axis=0) for weights in zip(*checkpoints, strict=True)])
    readings.recalibrate(model, images[0], in_place=True)
    (norm,) = norms(model)
    np.testing.assert_allclose(norm.moving_mean, entering(model, norm, images[0]).mean((0, 1, 2)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("outputs", "how", "columns"),
    [
        (1, {"loss": "mse"}, ["loss"]),
        (1, {"loss": "mse", "metrics": ["mae"]}, ["loss", "mae"]),
        (1, {"loss": "mse", "metrics": ["mae", "mape"]}, ["loss", "mae", "mape"]),
        (2, {"loss": ["mse", "mae"]}, ["loss", "a_loss", "b_loss"]),
    ],
)
def test_the_gap_has_the_models_own_losses_and_metrics(outputs, how, columns):
    inputs = tf.keras.Input((3,))
    norm = tf.keras.layers.BatchNormalization()(inputs)
    heads = [tf.keras.layers.Dense(1, name=name)(norm) for name in ("a", "b")][:outputs]
    model = tf.keras.Model(inputs, heads if outputs > 1 else heads[0])
    model.compile("sgd", **how)
    y = [X[:, :1]] * outputs if outputs > 1 else X[:, :1]
    model.fit(X, y, verbose=0)
    gap = readings.moving_average_gap(model, X, y)
    assert gap.columns.tolist() == [*columns, "loss_removed"]
    evaluated = model.evaluate(X, y, batch_size=1000, verbose=0, return_dict=True)
    assert gap.loc["inference", columns].tolist() == pytest.approx([evaluated[name] for name in columns])


def test_the_gap_takes_a_dataset_with_its_labels():
    model, data = plain(), tf.data.Dataset.from_tensor_slices((X, X[:, :1])).batch(32)
    model.fit(data, verbose=0)
    gap = readings.moving_average_gap(model, data)
    expected = readings.moving_average_gap(model, X, X[:, :1])
    np.testing.assert_allclose(gap["loss"], expected["loss"], rtol=1e-5)


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


def expected_average(steps, batches=(X[:35], X[35:])):
    """Return what two batches in turn leave of their means and variances, without a share of initial values."""
    weights = 0.99 ** np.arange(steps)[::-1]
    parts = [batches[step % 2] for step in range(steps)]
    return tuple(np.average([f(part) for part in parts], axis=0, weights=weights) for f in (mean_of, variance_of))


def mean_of(part):
    return part.mean(axis=0, dtype=np.float64)


def variance_of(part):
    return part.var(axis=0, dtype=np.float64)


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


@pytest.mark.parametrize("initial", ["a model", "arrays", "numbers"])
def test_averages_that_were_loaded_are_told_by_initial(initial):
    loaded = plain()
    norms(loaded)[0].moving_mean.assign([2.0] * 3)
    norms(loaded)[0].moving_variance.assign([3.0] * 3)
    model = plain()
    model.set_weights(loaded.get_weights())
    fitted(model)
    with pytest.warns(UserWarning, match="cannot be right, as after loading"):
        gap = readings.moving_average_gap(model, X, X[:, :1])
    assert np.isnan(gap.loc["debiased", "loss"])
    given = {"a model": loaded, "arrays": [(np.full(3, 2.0), np.full(3, 3.0))], "numbers": [(2.0, 3.0)]}[initial]
    gap = readings.moving_average_gap(model, X, X[:, :1], initial=given)
    expected = debiased_loss(model, *expected_average(2))
    assert gap.loc["debiased", "loss"] == pytest.approx(expected, rel=1e-3)
    (norm,) = norms(readings.debias(model, 2, initial=given))
    assert debiased_loss(model, norm.moving_mean, norm.moving_variance) == pytest.approx(expected, rel=1e-3)


def test_a_variance_that_comes_out_negative_is_refused():
    model = plain()
    norms(model)[0].moving_variance.assign([0.5] * 3)  # as loaded ones may be; one step leaves at least 0.99
    with pytest.raises(RequestError, match=r"steps is 1; .*the debiased variance of 'batch_norm.*' is negative"):
        readings.debias(model, 1)


@pytest.mark.parametrize("batch_size", [8, 32, 70])
@pytest.mark.parametrize("epochs", [1, 3, 30])
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
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


@pytest.mark.parametrize("make", [lambda: 3, lambda: "bn/none", lambda: tf.keras.layers.Dense(3), tf.keras.Sequential])
@pytest.mark.parametrize(
    "call",
    [
        lambda model: readings.debias(model, 1),
        lambda model: readings.recalibrate(model, X),
        lambda model: readings.moving_average_gap(model, X, X),
    ],
    ids=["debias", "recalibrate", "moving_average_gap"],
)
def test_what_is_no_built_model_is_refused(call, make):
    with pytest.raises(RequestError, match=r"model is .*, but must be a Keras model that is built"):
        call(make())


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (None, "x is 'NoneType', but must be what model.fit takes"),
        (3, "x is 'int', but must be what model.fit takes"),
        (np.where(X[0, 0] == X, np.nan, X), "x is 'not finite', but must be data that give finite numbers"),
        ([], "x is 'empty', but must be at least one example"),
        (X[:0], "x is 'empty'"),
        (X[:, :2], r"x is 'ndarray \(70, 2\)', but must be data that the model takes, and it gave "),
        ("text", "x is 'str', but must be data that the model takes"),
        ("endless dataset", "x is 'endless', but must be a Dataset that ends"),
    ],
)
def test_data_that_the_model_does_not_take_are_refused(x, message):
    with pytest.raises(RequestError, match=message) as caught:
        readings.recalibrate(plain(), DATA[x]() if isinstance(x, str) and x in DATA else x)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": 0}, "steps is 0, but must be a whole number from 1 up"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"initial": 3}, "initial is 'int', but must be a model with the same 1 BatchNorm layers"),
        ({"initial": [(0, 1), (0, 1)]}, "initial is 'list'"),
        ({"initial": [(np.zeros(2), np.ones(2))]}, "initial is 'list'"),
        ({"initial": [(0, -1)]}, "initial is 'list'; .*no variance below 0"),
        ({"y": None}, "y is None, but must be labels, which the model's loss needs"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"calibration_x": X[:0]}, "calibration_x is 'empty'"),
        ({"x": iter([X])}, "x is '.*', but must be arrays or a Dataset; a generator is spent"),
    ],
)
def test_wrong_arguments_of_the_gap_are_refused(arguments, message):
    with pytest.raises(RequestError, match=message):
        readings.moving_average_gap(**{"model": fitted(plain()), "x": X, "y": X[:, :1], **arguments})


@pytest.mark.skipif(not KERAS_3, reason="Keras 2's loss scale optimizer counts all steps")
def test_steps_that_a_loss_scale_optimizer_leaves_out_are_asked_for():
    model = plain()
    model.compile(tf.keras.mixed_precision.LossScaleOptimizer(tf.keras.optimizers.SGD(0.0)), "mse")
    fitted(model)
    with pytest.raises(RequestError, match="steps is None, but must be the number of batches trained on"):
        readings.moving_average_gap(model, X, X[:, :1])
    assert readings.moving_average_gap(model, X, X[:, :1], steps=2)["loss"].notna().all()


def test_a_model_that_was_not_compiled_has_no_gap():
    inputs = tf.keras.Input((3,))
    model = tf.keras.Model(inputs, tf.keras.layers.BatchNormalization()(inputs))
    with pytest.raises(RequestError, match="must be a compiled model"):
        readings.moving_average_gap(model, X, X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: readings.debias(model, 0), "steps is 0, but must be a whole number from 1 up"),
        (lambda model, x: readings.recalibrate(model, x, batch_size=0), "batch_size is 0"),
        (lambda model, x: readings.moving_average_gap(model, x, x), "model is '0 training steps'"),
        (lambda model, x: readings.recalibrate(model, x[:0]), "x is 'empty', but must be at least one example"),
    ],
)
def test_wrong_requests_are_refused(images, call, message):
    with pytest.raises(RequestError, match=message):
        call(build.build_model(Instance()), images[0])
