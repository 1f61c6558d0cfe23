"""What enters BatchNorm is seen wherever a layer stands and however often it is called; expected values are NumPy's.

Layers that are shared, wrapped, nested, frozen or in blocks are drawn at random in test_drawn_models.py.
"""

import warnings

import numpy as np
import pytest
from test_batch_norm import norms
from test_graphs import random

from normlib.errors import RequestError
from normlib.models import graphs, readings, watching
from normlib.models.kinds import normalization_layer
from normlib.tf import KERAS_3, tf

keras = tf.keras
layers = keras.layers
X = random(70, 3)


def assert_population(layer, entered, **tolerance):
    """Compare a layer's averages with mean and variance of arrays ``[..., channels]``, all that entered it."""
    entered = np.concatenate([np.asarray(part, np.float64).reshape(-1, part.shape[-1]) for part in entered])
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * entered.std(), **tolerance}
    np.testing.assert_allclose(np.ravel(layer.moving_mean), entered.mean(axis=0), **tolerance)
    np.testing.assert_allclose(np.ravel(layer.moving_variance), entered.var(axis=0), **tolerance)


class Cell(layers.Layer):
    """A recurrent cell that normalizes what enters it."""

    state_size = output_size = 3

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization()

    def call(self, inputs, states, training=None):
        return self.norm(inputs, training=training) + states[0], [states[0] + 1.0]


class Traced(keras.Model):
    """A subclassed model whose call is a traced function, which normalizes twice with the same layer."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()

    @tf.function
    def call(self, inputs, training=None):
        return self.norm(inputs, training=training) + self.norm(inputs + 10.0, training=training)


class Calling(layers.Layer):
    """Holds two BatchNorm layers and calls them as a function of these, the inputs and ``training`` does."""

    def __init__(self, how, **options):
        super().__init__(**options)
        self.how, self.norms = how, [layers.BatchNormalization(name=name) for name in ("first", "second")]

    def build(self, shape):
        for norm in self.norms:
            norm.build(shape)
        super().build(shape)

    def call(self, inputs, training=None):
        return self.how(*self.norms, inputs, training)


def calling(how):
    return keras.Sequential([keras.Input((3,)), Calling(how, name="block")])


class Shifted(layers.BatchNormalization):
    """BatchNorm of something else than what enters."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs + 5.0, training=training, mask=mask)


def built(model, x):
    model(x)
    return model


@pytest.mark.parametrize("unroll", [False, True])
def test_all_steps_of_a_recurrent_cell_are_seen(unroll):
    """Both stacks call the cell once more on the first step, to see what it gives, unless the loop is unrolled."""
    x = random(70, 4, 3)
    model = built(keras.Sequential([keras.Input((4, 3)), layers.RNN(Cell(), unroll=unroll)]), x)
    readings.recalibrate(model, x, batch_size=70, in_place=True)
    (norm,) = norms(model)
    candidates = [[x], [x, x[:, 0]]]
    found = [
        np.allclose(norm.moving_mean, np.concatenate([p.reshape(-1, 3) for p in c]).mean(0), rtol=1e-4)
        for c in candidates
    ]
    assert any(found)
    # As often as in training: with momentum m, T updates leave m ** T of the initial variance.
    watch = watching.Watch(model)
    with graphs.keeping_variables(model):
        watch.pass_data(x, 70)
    calls = next(iter(watch.calls.values()))
    norm.momentum = 0.5
    norm.moving_mean.assign(np.full(3, 1e6))
    model(np.zeros((7, 4, 3), np.float32), training=True)
    np.testing.assert_allclose(norm.moving_mean, 1e6 * 0.5**calls, rtol=1e-3)


@pytest.mark.parametrize("axis", [1, [1, 3]])
def test_statistics_are_taken_over_all_other_axes(axis):
    if isinstance(axis, list) and KERAS_3:
        pytest.skip("Keras 3 takes one axis")
    x = random(70, 4, 5, 3) + np.arange(4, dtype=np.float32)[:, None, None]
    model = keras.Sequential([keras.Input((4, 5, 3)), layers.BatchNormalization(axis=axis)])
    (norm,) = norms(readings.recalibrate(model, x))
    kept = axis if isinstance(axis, list) else [axis]
    others = tuple(i for i in range(4) if i not in kept)
    np.testing.assert_allclose(np.ravel(norm.moving_mean), x.mean(others).ravel(), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(norm.moving_variance), x.var(others).ravel(), rtol=1e-4)


class AtInference(layers.Layer):
    """Calls what it holds with ``training=False``."""

    def __init__(self, **options):
        super().__init__(**options)
        self.norm = layers.BatchNormalization(name="pretrained")

    def build(self, shape):
        self.norm.build(shape)
        super().build(shape)

    def call(self, inputs):
        return self.norm(inputs, training=False)


def pretrained(freeze):
    """Return a model whose BatchNorm has mean 2 and variance 3 and is left alone in training, then a trained head."""
    inputs = keras.Input((3,))
    layer = AtInference(name="inference") if freeze == "call" else layers.BatchNormalization(name="pretrained")
    model = keras.Model(inputs, layers.Dense(1)(layers.BatchNormalization(name="head")(layer(inputs))))
    norms(model)[0].moving_mean.assign([2.0] * 3)
    norms(model)[0].moving_variance.assign([3.0] * 3)
    norms(model)[0].trainable = freeze != "flag"
    return model


@pytest.mark.parametrize(("freeze", "reason"), [("flag", "frozen"), ("call", "called with training=False")])
def test_what_training_leaves_as_it_is_every_reading_leaves(freeze, reason):
    model, x = pretrained(freeze), random(64, 3)
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0, epochs=5)
    gamma, beta = (np.array(weight) for weight in norms(model)[0].weights[:2])  # they are trained, unless frozen
    passed_on = (x - 2) / np.sqrt(3 + 1e-3) * gamma + beta
    with pytest.warns(UserWarning, match=rf"BatchNorm left as it is: '.*pretrained' \({reason}\)"):
        recalibrated = readings.recalibrate(model, x)
    assert_population(norms(recalibrated)[1], [passed_on])
    with pytest.warns(UserWarning, match="pretrained'"):
        debiased = readings.debias(model, 10)
    with pytest.warns(UserWarning, match="pretrained'"):
        gap = readings.moving_average_gap(model, x, x[:, :1])
    for changed in (recalibrated, debiased):
        np.testing.assert_array_equal(norms(changed)[0].moving_mean, [2.0] * 3)
        np.testing.assert_array_equal(norms(changed)[0].moving_variance, [3.0] * 3)
    for name, changed in (("debiased", debiased), ("recalibrated", recalibrated)):
        assert changed.evaluate(x, x[:, :1], batch_size=1000, verbose=0) == pytest.approx(
            gap.loc[name, "loss"], rel=1e-5
        )


@pytest.mark.parametrize("nested", [False, True])
def test_training_false_in_a_functional_model_means_what_it_means_in_fit(nested):
    """Keras 2 heeds it. Keras 3 calls all layers of the model as the model is called, so that they are trained."""
    inputs, x = keras.Input((3,)), random(64, 3)
    norm = layers.BatchNormalization()
    called = keras.Sequential([keras.Input((3,)), norm]) if nested else norm
    model = keras.Model(inputs, called(inputs, training=False))
    before = np.array(norm.moving_mean)
    model(x, training=True)
    moves = not np.array_equal(norm.moving_mean, before)
    norm.moving_mean.assign(before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        readings.recalibrate(model, x, in_place=True)
    np.testing.assert_allclose(norm.moving_mean, x.mean(axis=0) if moves else before, rtol=1e-5)


def test_a_layer_that_is_only_called_in_training_is_named_and_left():
    def branched(main, auxiliary, x, training):
        if training:
            auxiliary(x, training=training)
        return main(x, training=training)

    model = calling(branched)
    with pytest.warns(UserWarning, match=r"'block/second' \(called only when the model trains"):
        readings.recalibrate(model, X, in_place=True)
    main, auxiliary = norms(model)
    assert_population(main, [X])
    np.testing.assert_array_equal(auxiliary.moving_mean, [0.0] * 3)


def test_how_often_a_loop_calls_is_counted_on_data_and_not_guessed():
    model = keras.Sequential([keras.Input((4, 3)), layers.RNN(Cell()), layers.Dense(1)])
    model(np.zeros((1, 4, 3), np.float32))
    with pytest.raises(RequestError, match=r"a loop calls .* times, which moving_average_gap counts on data"):
        readings.debias(model, 3)
    x = random(32, 4, 3)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x[:, 0, :1], verbose=0, epochs=3, batch_size=32)
    gap = readings.moving_average_gap(model, x, x[:, 0, :1])
    assert gap.loc["debiased", "loss"] == pytest.approx(gap.loc["recalibrated", "loss"], rel=0.02)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.BatchNormalization(synchronized=True),
        lambda: layers.experimental.SyncBatchNormalization(),
        lambda: layers.BatchNormalization(fused=False),
        lambda: tf.compat.v1.keras.layers.BatchNormalization(),
    ],
    ids=["synchronized", "synchronized class", "not fused", "of TensorFlow 1"],
)
def test_other_batch_norm_layers_of_keras_are_known(make):
    try:
        norm = make()
    except (AttributeError, ValueError):
        pytest.skip("this Keras does not have it")
    model, x = keras.Sequential([keras.Input((2, 2, 3)), norm]), random(64, 2, 2, 3)
    assert_population(norms(readings.recalibrate(model, x))[0], [x])


@pytest.mark.skipif(KERAS_3, reason="Keras 3 has neither")
@pytest.mark.parametrize("options", [{"renorm": True}, {"virtual_batch_size": 16}], ids=str)
def test_what_keeps_other_averages_is_refused(options):
    model = keras.Sequential([keras.Input((2, 2, 3)), layers.BatchNormalization(**options, name="other")])
    with pytest.raises(RequestError, match="its BatchNorm 'other' has renorm or virtual_batch_size, which"):
        readings.recalibrate(model, random(64, 2, 2, 3))


@pytest.mark.skipif(KERAS_3, reason="Keras 3 does not load SavedModels")
def test_graphs_of_a_saved_model_are_refused(tmp_path):
    """Saving leaves a traced call in each layer; loading without classes gives nothing else."""
    x = random(64, 3)
    plain = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    plain.save(tmp_path / "plain", save_format="tf")
    for call in (
        lambda: readings.recalibrate(plain, x, in_place=True),
        lambda: readings.debias(plain, 2, in_place=True),
    ):
        with pytest.raises(RequestError, match="was traced when the model was saved; in that case load the model anew"):
            call()
    loaded = keras.models.load_model(tmp_path / "plain")
    assert_population(norms(readings.recalibrate(loaded, x))[0], [x])
    built(Traced(), x).save(tmp_path / "own", save_format="tf")
    with pytest.raises(RequestError, match=r"it was loaded without the class of .*: load it with custom_objects"):
        readings.recalibrate(keras.models.load_model(tmp_path / "own"), x, in_place=True)


def test_a_function_that_was_traced_before_is_seen_all_the_same():
    """Its graph would call the layer itself; all that enters in both calls counts."""
    model = built(Traced(), X)
    model.compile("sgd", "mse")
    model.fit(X, X, verbose=0)
    model.predict(X, verbose=0)
    readings.recalibrate(model, X, in_place=True)
    assert_population(norms(model)[0], [X, X + 10])


def test_what_counts_is_what_keras_own_layer_gets_from_a_class_made_from_it():
    model = keras.Sequential([keras.Input((3,)), Shifted()])
    readings.recalibrate(model, X, in_place=True)
    assert_population(norms(model)[0], [X + 5])


@pytest.mark.parametrize("shape", [(6, 3), (6, 2, 3)], ids=["sequence", "images"])
def test_under_a_mask_those_count_that_the_layer_counts_when_it_trains(shape):
    """A whole batch with momentum 0 leaves the layer's own statistics. The fused layer of Keras 2 counts all."""
    x, norm = random(64, *shape, mean=4.0), layers.BatchNormalization()
    x[:, 3:] = 0.0
    model = keras.Sequential([keras.Input(shape), layers.Masking(), norm])
    recalibrated = readings.recalibrate(model, x, batch_size=64)
    assert_population(norms(recalibrated)[0], [x if len(shape) == 3 and not KERAS_3 else x[:, :3]])
    norm.momentum = 0.0
    model(x, training=True)
    np.testing.assert_allclose(norm.moving_mean, norms(recalibrated)[0].moving_mean, rtol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, norms(recalibrated)[0].moving_variance, rtol=2e-2)


def test_a_channel_that_a_mask_hides_throughout_keeps_its_averages():
    x = random(64, 5, 3)
    x[:, 3:] = 0.0
    model = keras.Sequential([keras.Input((5, 3)), layers.Masking(), layers.BatchNormalization(axis=1)])
    (norm,) = norms(readings.recalibrate(model, x))
    np.testing.assert_allclose(norm.moving_mean, [*x[:, :3].mean((0, 2)), 0.0, 0.0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, [*x[:, :3].var((0, 2)), 1.0, 1.0], rtol=1e-4)


def hidden(name, *others):
    """Return a model that calls a BatchNorm which is not among its layers."""
    norm = layers.BatchNormalization(name=name)
    norm.build((None, 3))
    return keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: norm(x)), *others])


def homemade(mean):
    """Return a model with BatchNorm that is not made of Keras'."""
    layer = layers.Dense(3, name="mine")
    setattr(layer, mean, np.zeros(3))
    return keras.Sequential([keras.Input((3,)), layer])


class Own(layers.BatchNormalization):
    """BatchNorm whose call is its own."""

    def call(self, inputs, training=None, mask=None):
        return inputs - self.moving_mean


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: homemade("moving_mean"), "BatchNorm 'mine' is Dense, which is not made from Keras' BatchNorm"),
        (lambda: homemade("running_mean"), "BatchNorm 'mine' is Dense"),
        (lambda: keras.Sequential([keras.Input((3,)), Own(name="own")]), r"the call of 'own' \(Own\) is its own"),
        (
            lambda: hidden("outside", layers.BatchNormalization()),
            "it calls the BatchNorm 'outside', which is not",
        ),
        (
            lambda: calling(lambda norm, _, x, training: norm(x, training=False) + norm(x, training=training)),
            "it calls 'block/first' as in training and with training=False in one step",
        ),
        (lambda: hidden("only"), "it calls the BatchNorm 'only', which is not among its layers"),
    ],
)
def test_batch_norm_that_cannot_be_seen_is_refused(make, message):
    model = make()
    model.compile(keras.optimizers.SGD(0.0), "mse")
    for call in (
        lambda: readings.recalibrate(model, X, in_place=True),
        lambda: readings.debias(model, 2),
        lambda: readings.moving_average_gap(model, X, X, steps=2),
    ):
        with pytest.raises(RequestError, match=message):
            call()


class Counting(layers.Layer):
    """Counts its calls in all kinds of variables that a layer may have."""

    def __init__(self, **options):
        super().__init__(**options)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.raw, self.table = tf.Variable(0.0, trainable=False), {"count": tf.Variable(0.0, trainable=False)}
        self.module = tf.Module()
        self.module.count = tf.Variable(0.0, trainable=False)

    @property
    def all_counts(self):
        return [self.count, self.raw, self.table["count"], self.module.count]

    def call(self, inputs):
        for count in self.all_counts:
            count.assign_add(1.0)
        return inputs + 0.0


def test_what_is_looked_at_is_left_as_it_was():
    """Counters of layers of one's own, states of recurrent layers, metrics, random numbers."""
    x, y = random(64, 4, 3), random(64, 1)
    counting, recurrent = Counting(), layers.SimpleRNN(3, stateful=True)
    inner = [counting, layers.Dropout(0.5), recurrent, layers.BatchNormalization(), layers.Dense(1)]
    model = keras.Sequential([keras.Input(batch_shape=(32, 4, 3)), *inner])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, y, verbose=0, batch_size=32)
    variables = [*counting.all_counts, *recurrent.states, *model.weights, *model.optimizer.variables]
    variables += [variable for metric in model.metrics for variable in metric.variables]
    before = [np.array(variable) for variable in variables]
    readings.recalibrate(model, x)
    readings.debias(model, 2)
    watching.Watch(model)
    readings.moving_average_gap(model, tf.data.Dataset.from_tensor_slices((x, y)).batch(32))
    for variable, kept in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, kept)


def test_batch_norm_in_parts_is_recalibrated_and_counted_as_it_trains():
    """What leaves the first is what its parts made of it, so a second in one batch sees other data than with a whole.

    Parts of four of a batch of eight are as batches of four of Keras' own layer.
    """
    x = random(16, 2, 2, 3) * np.arange(1, 17, dtype=np.float32)[:, None, None, None]

    def network(**options):
        norm = [normalization_layer("bn", 3, 1, momentum=0.5, axis=-1, **options) for _ in range(2)]
        return keras.Sequential([keras.Input((2, 2, 3)), norm[0], layers.ReLU(), norm[1]])

    expected = readings.recalibrate(network(), x, batch_size=4)
    model = network(statistics_batch=4)
    for norm, other in zip(norms(readings.recalibrate(model, x, batch_size=8)), norms(expected), strict=True):
        np.testing.assert_allclose(np.array(norm.moving_variance), np.array(other.moving_variance), rtol=1e-5)
    watch = watching.Watch(model)
    watch.trace()
    assert list(watch.calls.values()) == [1, 1]
