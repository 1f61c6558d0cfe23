import numpy as np
import pytest

from normlib import data, models, readings
from normlib.errors import RequestError
from normlib.instance import Instance
from normlib.splits import Split
from normlib.tensorflow_quietly import tf


@pytest.fixture(scope="module")
def images():
    return data.load_split("mnist", Split("test", 0, 200))


def trained(ordering, images, **settings):
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    model = models.build_model(Instance(ordering, **settings))
    model.fit(*images, verbose=0)
    return model


def entering(model, layer, x):
    """Return in float64 what enters a layer at inference."""
    before = tf.keras.Model(model.inputs, layer.input)
    return before.predict(x, verbose=0).astype(np.float64)


def weights(model):
    return [np.array(weight) for weight in model.get_weights()]


def test_recalibrated_statistics_are_those_of_the_population(images):
    """Nothing before the first BatchNorm depends on the batch: mean and variance over all images and positions."""
    model = trained("bn/none", images)
    (layer,) = readings.batch_norm_layers(model)
    entered = entering(model, layer, images[0])
    (recalibrated,) = readings.batch_norm_layers(readings.recalibrate(model, images[0]))
    np.testing.assert_allclose(recalibrated.moving_mean, entered.mean(axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(recalibrated.moving_variance, entered.var(axis=(0, 1, 2)), rtol=1e-5)


def test_a_second_batch_norm_sees_what_the_first_makes_of_each_batch(images):
    """By hand, batch by batch: normalize by the batch, convolve, and put the batches together."""
    model = trained("bn/bn", images)
    first, _ = readings.batch_norm_layers(model)
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
    recalibrated = readings.batch_norm_layers(readings.recalibrate(model, images[0], batch_size=32))[1]
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
    (biased,) = readings.batch_norm_layers(model)
    np.testing.assert_allclose(biased.moving_mean, (1 - 0.9**3) * x.mean(axis=(0, 1, 2)), rtol=1e-4)
    (debiased,) = readings.batch_norm_layers(readings.debias(model, steps=3))
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
    (norm,) = readings.batch_norm_layers(model)
    plain = models.build_model(Instance("none/none"))
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
    (layer,) = readings.batch_norm_layers(recalibrated)
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
    assert len(readings.batch_norm_layers(model)) == 2
    x = np.random.default_rng(0).normal(2, 1, size=(64, 5, 3)).astype(np.float32)
    readings.recalibrate(model, x, batch_size=64, in_place=True)
    first, _ = readings.batch_norm_layers(model)
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


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, x: readings.debias(model, 0), "steps is 0; allowed: a whole number from 1 up"),
        (lambda model, x: readings.recalibrate(model, x, batch_size=0), "batch_size is 0"),
        (lambda model, x: readings.moving_average_gap(model, x, x), "model is '0 training steps, 200 images'"),
        (lambda model, x: readings.recalibrate(model, x[:0]), "x is 'empty'; allowed: at least one image"),
    ],
)
def test_wrong_requests_are_refused(images, call, message):
    with pytest.raises(RequestError, match=message):
        call(models.build_model(Instance()), images[0])
