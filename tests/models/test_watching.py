"""What enters BatchNorm is seen wherever a layer stands and however often it is called; expected values are NumPy's."""

import warnings

import numpy as np
import pytest

from normlib.errors import RequestError
from normlib.models import batch_norm, graphs, readings, watching
from normlib.tf import KERAS_3, tf

keras = tf.keras
layers = keras.layers


def random(*shape, mean=0.0):
    """Return random numbers whose channels, on the last axis, differ in mean and spread."""
    channels = np.arange(1, shape[-1] + 1)
    return (np.random.default_rng(3).normal(size=shape) * channels + channels + mean).astype(np.float32)


def norms(model):
    return list(batch_norm.batch_norm_layers(model).values())


def assert_population(layer, entered, **tolerance):
    """Compare a layer's averages with mean and variance of arrays ``[..., channels]``, all that entered it."""
    entered = np.concatenate([np.asarray(part, np.float64).reshape(-1, part.shape[-1]) for part in entered])
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * entered.std(), **tolerance}
    np.testing.assert_allclose(np.ravel(layer.moving_mean), entered.mean(axis=0), **tolerance)
    np.testing.assert_allclose(np.ravel(layer.moving_variance), entered.var(axis=0), **tolerance)


class Block(layers.Layer):
    """A layer of one's own that holds BatchNorm in a list, and calls it several times."""

    def __init__(self, calls=1, **options):
        super().__init__(**options)
        self.calls, self.norms = calls, [layers.BatchNormalization()]

    def call(self, inputs, training=None):
        return sum(self.norms[0](inputs + 10.0 * i, training=training) for i in range(self.calls))

    def get_config(self):
        return {**super().get_config(), "calls": self.calls}


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


class Branching(keras.Model):
    """A subclassed model whose traced call asks for a tensor's value, as Python does without a graph."""

    def __init__(self):
        super().__init__()
        self.norm = layers.BatchNormalization()

    @tf.function
    def call(self, inputs, training=None):
        if tf.reduce_sum(inputs) > -1e9:
            inputs = inputs + 1.0
        return self.norm(inputs, training=training)


class Auxiliary(layers.Layer):
    """A layer with a branch that is only there in training."""

    def __init__(self, **options):
        super().__init__(**options)
        self.main, self.auxiliary = layers.BatchNormalization(name="main"), layers.BatchNormalization(name="auxiliary")

    def build(self, shape):
        self.main.build(shape)
        self.auxiliary.build(shape)
        super().build(shape)

    def call(self, inputs, training=None):
        if training:
            self.auxiliary(inputs, training=training)
        return self.main(inputs, training=training)


class Shifted(layers.BatchNormalization):
    """BatchNorm of something else than what enters."""

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs + 5.0, training=training, mask=mask)


class Homemade(layers.Layer):
    """BatchNorm that is not made of Keras'."""

    def build(self, shape):
        self.moving_mean = self.add_weight(shape=(shape[-1],), name="mean", trainable=False)
        self.moving_variance = self.add_weight(shape=(shape[-1],), name="variance", trainable=False)

    def call(self, inputs):
        return (inputs - self.moving_mean) / self.moving_variance


def siamese():
    norm = layers.BatchNormalization()
    left, right = keras.Input((3,)), keras.Input((3,))
    return keras.Model([left, right], layers.Add()([norm(left), norm(right)]))


def submodel_called_twice():
    inner = keras.Sequential([keras.Input((3,)), layers.BatchNormalization()])
    left, right = keras.Input((3,)), keras.Input((3,))
    return keras.Model([left, right], layers.Add()([inner(left), inner(right)]))


def built(model, x):
    model(x)
    return model


SHIFTED = [random(70, 3), random(70, 3, mean=10.0)]


@pytest.mark.parametrize(
    ("model", "x", "entered"),
    [
        (siamese, SHIFTED, SHIFTED),
        (submodel_called_twice, SHIFTED, SHIFTED),
        (lambda: keras.Sequential([keras.Input((3,)), Block(2)]), SHIFTED[0], [SHIFTED[0], SHIFTED[0] + 10]),
        (lambda: built(Traced(), SHIFTED[0]), SHIFTED[0], [SHIFTED[0], SHIFTED[0] + 10]),
        (lambda: built(Branching(), SHIFTED[0]), SHIFTED[0], [SHIFTED[0] + 1]),
        (lambda: keras.Sequential([keras.Input((3,)), Shifted()]), SHIFTED[0], [SHIFTED[0] + 5]),
        (
            lambda: keras.Sequential([keras.Input((5, 3)), layers.TimeDistributed(layers.BatchNormalization())]),
            random(70, 5, 3),
            [random(70, 5, 3)],
        ),
    ],
    ids=["two inputs", "a submodel twice", "a block", "a traced call", "a traced condition", "a subclass", "a wrapper"],
)
def test_the_population_is_all_that_enters_in_all_calls(model, x, entered):
    model = model()
    readings.recalibrate(model, x, batch_size=32, in_place=True)
    assert_population(norms(model)[0], entered)


def test_a_function_that_was_traced_before_is_seen_all_the_same():
    """Its graph would call the layer itself; after fit and predict, in models and between plain layers."""
    model = built(Traced(), SHIFTED[0])
    model.compile("sgd", "mse")
    model.fit(SHIFTED[0], SHIFTED[0], verbose=0)
    model.predict(SHIFTED[0], verbose=0)
    readings.recalibrate(model, SHIFTED[0], in_place=True)
    assert_population(norms(model)[0], [SHIFTED[0], SHIFTED[0] + 10])


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


@pytest.mark.parametrize("axis", [1, -1, [1, 3]])
def test_statistics_are_taken_over_all_other_axes(axis):
    if isinstance(axis, list) and KERAS_3:
        pytest.skip("Keras 3 takes one axis")
    x = random(70, 4, 5, 3) + np.arange(4, dtype=np.float32)[:, None, None]
    model = keras.Sequential([keras.Input((4, 5, 3)), layers.BatchNormalization(axis=axis)])
    recalibrated = readings.recalibrate(model, x)
    kept = axis if isinstance(axis, list) else [axis % 4]
    others = tuple(i for i in range(4) if i not in kept)
    np.testing.assert_allclose(np.ravel(norms(recalibrated)[0].moving_mean), x.mean(others).ravel(), rtol=1e-4)
    np.testing.assert_allclose(np.ravel(norms(recalibrated)[0].moving_variance), x.var(others).ravel(), rtol=1e-4)


def masked(kind):
    """Return a model that masks positions of zeros, and what its BatchNorm then counts of random data."""
    x = random(66, 6, 3, mean=4.0)
    x[:, 3:] = 0.0
    if kind == "rank 3":
        model = keras.Sequential([keras.Input((6, 3)), layers.Masking(), layers.BatchNormalization()])
        return model, x, x[:, :3]
    tokens = np.tile([[1, 2, 3, 0, 0, 0]], (66, 1)) + np.array([3 * (i % 2) for i in range(66)])[:, None] * [
        1,
        1,
        1,
        0,
        0,
        0,
    ]
    embedding = layers.Embedding(7, 3, mask_zero=True)
    model = keras.Sequential([keras.Input((6,), dtype="int32"), embedding, layers.BatchNormalization()])
    embedding.set_weights([random(7, 3)])
    return model, tokens, random(7, 3)[tokens[:, :3]]


@pytest.mark.parametrize("kind", ["rank 3", "embedding"])
def test_under_a_mask_those_count_that_the_layer_counts_when_it_trains(kind):
    """Whole batches with momentum 0 leave the layer's own statistics of the last batch: the same."""
    model, x, counted = masked(kind)
    recalibrated = readings.recalibrate(model, x, batch_size=64)
    assert_population(norms(recalibrated)[0], [counted])
    (norm,) = norms(model)
    norm.momentum = 0.0
    model(x, training=True)
    np.testing.assert_allclose(norm.moving_mean, norms(recalibrated)[0].moving_mean, rtol=1e-3)
    np.testing.assert_allclose(norm.moving_variance, norms(recalibrated)[0].moving_variance, rtol=2e-2)


def test_the_fused_layer_of_keras_2_counts_what_is_masked():
    x = random(64, 6, 2, 3, mean=4.0)
    x[:, 3:] = 0.0
    model = keras.Sequential([keras.Input((6, 2, 3)), layers.Masking(), layers.BatchNormalization()])
    readings.recalibrate(model, x, batch_size=64, in_place=True)
    assert_population(norms(model)[0], [x[:, :3] if KERAS_3 else x])


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


def test_of_a_layer_that_some_calls_freeze_the_others_count():
    class Twice(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.norm = layers.BatchNormalization()

        def call(self, inputs, training=None):
            return self.norm(inputs, training=False) + self.norm(inputs + 10.0, training=training)

    model = keras.Sequential([keras.Input((3,)), Twice()])
    readings.recalibrate(model, SHIFTED[0], in_place=True)
    assert_population(norms(model)[0], [SHIFTED[0] + 10.0])


def test_a_layer_that_is_only_called_in_training_is_named_and_left():
    model, x = keras.Sequential([keras.Input((3,)), Auxiliary(name="block")]), random(64, 3)
    with pytest.warns(UserWarning, match=r"'block/auxiliary' \(called only when the model trains"):
        recalibrated = readings.recalibrate(model, x)
    main, auxiliary = norms(recalibrated)
    assert_population(main, [x])
    np.testing.assert_array_equal(auxiliary.moving_mean, [0.0] * 3)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("model", [siamese, submodel_called_twice])
def test_debiasing_counts_a_layers_own_updates(model, steps):
    """The same batch each step: each of the two calls moves the averages."""
    model = model()
    for _ in range(steps):
        model(SHIFTED, training=True)
    (norm,) = norms(readings.debias(model, steps))
    m, means = 0.99, [part.mean(axis=0, dtype=np.float64) for part in SHIFTED]
    moving = np.zeros(3)
    for _ in range(steps):
        for mean in means:
            moving = m * moving + (1 - m) * mean
    np.testing.assert_allclose(norm.moving_mean, moving / (1 - m ** (2 * steps)), rtol=1e-4)


def test_how_often_a_loop_calls_is_counted_on_data_and_not_guessed():
    model = keras.Sequential([keras.Input((4, 3)), layers.RNN(Cell()), layers.Dense(1)])
    model(np.zeros((1, 4, 3), np.float32))
    with pytest.raises(RequestError, match="a loop calls it, which moving_average_gap counts on data"):
        readings.debias(model, 3)
    x = random(32, 4, 3)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    model.fit(x, x[:, 0, :1], verbose=0, epochs=3, batch_size=32)
    gap = readings.moving_average_gap(model, x, x[:, 0, :1])
    assert gap.loc["debiased", "loss"] == pytest.approx(gap.loc["recalibrated", "loss"], rel=0.02)


@pytest.mark.skipif(KERAS_3, reason="Keras 3 has none of them")
@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.experimental.SyncBatchNormalization(),
        lambda: layers.BatchNormalization(virtual_batch_size=16),
        lambda: layers.BatchNormalization(fused=False),
        lambda: tf.compat.v1.keras.layers.BatchNormalization(),
    ],
    ids=["synchronized", "ghost", "not fused", "of TensorFlow 1"],
)
def test_other_batch_norm_classes_of_keras_2_are_known(make):
    model, x = keras.Sequential([keras.Input((2, 2, 3)), make()]), random(64, 2, 2, 3)
    assert_population(norms(readings.recalibrate(model, x))[0], [x])


@pytest.mark.parametrize("options", [{"synchronized": True}, {"renorm": True}], ids=str)
def test_synchronized_and_renormalized_layers_are_known_and_left_whole(options):
    try:
        norm = layers.BatchNormalization(**options)
    except (TypeError, ValueError):
        pytest.skip("this Keras does not have it")
    model, x = keras.Sequential([keras.Input((2, 2, 3)), norm, layers.Flatten(), layers.Dense(1)]), random(64, 2, 2, 3)
    model.compile("sgd", "mse")
    model.fit(x, x[:, 0, 0, :1], verbose=0, epochs=3)
    before = [np.array(weight) for weight in model.weights]
    recalibrated = readings.recalibrate(model, x)
    assert_population(norms(recalibrated)[0], [x])
    (debiased,) = norms(readings.debias(model, 6))
    np.testing.assert_allclose(debiased.moving_mean, x.mean((0, 1, 2)), rtol=0.05)
    np.testing.assert_allclose(debiased.moving_variance, x.var((0, 1, 2)), rtol=0.1)
    for weight, kept in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_batch_norm_that_cannot_be_seen_is_refused():
    """One that is not Keras', one that overrides all, and one that the model does not hold."""
    x = random(64, 3)
    homemade = keras.Sequential([keras.Input((3,)), Homemade(name="mine")])
    with pytest.raises(RequestError, match="'mine' is Homemade"):
        readings.recalibrate(homemade, x)
    homemade.layers[0].running_mean = homemade.layers[0].moving_mean
    del homemade.layers[0].moving_mean
    with pytest.raises(RequestError, match="'mine' is Homemade"):
        readings.recalibrate(homemade, x)

    class Own(layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            return inputs - self.moving_mean

    own = keras.Sequential([keras.Input((3,)), Own(name="own")])
    with pytest.raises(RequestError, match="'own' is Own, whose call is its own"):
        readings.recalibrate(own, x, in_place=True)
    outside = layers.BatchNormalization(name="outside")
    outside.build((None, 3))
    lambdas = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: outside(x)), layers.BatchNormalization()])
    with pytest.raises(RequestError, match="'outside' is called, and was not among them"):
        readings.recalibrate(lambdas, x, in_place=True)


def test_batch_norm_that_the_model_does_not_hold_is_refused_also_where_it_is_the_only_one():
    x = random(64, 3)
    hidden = layers.BatchNormalization(name="hidden")
    hidden.build((None, 3))
    model = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: hidden(x)), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, x[:, :1], verbose=0)
    for call in (
        lambda: readings.recalibrate(model, x),
        lambda: readings.debias(model, 2),
        lambda: readings.moving_average_gap(model, x, x[:, :1]),
    ):
        with pytest.raises(RequestError, match="'hidden' is called, and was not among them"):
            call()


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
        with pytest.raises(RequestError, match="traced when the model was saved; then load the model anew"):
            call()
    loaded = keras.models.load_model(tmp_path / "plain")
    assert_population(norms(readings.recalibrate(loaded, x))[0], [x])
    built(Traced(), x).save(tmp_path / "own", save_format="tf")
    with pytest.raises(RequestError, match=r"one that was loaded with its classes \(custom_objects\)"):
        readings.recalibrate(keras.models.load_model(tmp_path / "own"), x, in_place=True)


def test_states_of_recurrent_layers_and_of_modules_are_put_back():
    class Counting(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.module, self.table = tf.Module(), {"count": tf.Variable(0.0, trainable=False)}
            self.module.count = tf.Variable(0.0, trainable=False)

        def call(self, inputs):
            self.module.count.assign_add(1.0)
            self.table["count"].assign_add(1.0)
            return inputs + 0.0

    inputs = keras.Input(batch_shape=(32, 4, 3))
    recurrent = layers.LSTM(3, stateful=True)
    counting = Counting()
    model = keras.Model(inputs, layers.BatchNormalization()(recurrent(counting(inputs))))
    model(random(32, 4, 3))
    before = [np.array(state) for state in recurrent.states]
    count = float(counting.module.count)
    readings.recalibrate(model, random(64, 4, 3), in_place=True)
    for state, kept in zip(recurrent.states, before, strict=True):
        np.testing.assert_array_equal(state, kept)
    assert (float(counting.module.count), float(counting.table["count"])) == (count, count)


def test_what_is_looked_at_is_left_as_it_was():
    """Counters of layers of one's own, metrics, random numbers."""

    class Counting(layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
            self.raw = tf.Variable(0.0, trainable=False)

        def call(self, inputs):
            self.count.assign_add(1.0)
            self.raw.assign_add(1.0)
            return inputs

    x = random(64, 3)
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), Counting(), layers.Dropout(0.5), norm, layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(x, x[:, :1], verbose=0)
    variables = [*model.layers[0].weights, model.layers[0].raw, *model.weights, *model.optimizer.variables]
    variables += [variable for metric in model.metrics for variable in metric.variables]
    before = [np.array(variable) for variable in variables]
    readings.recalibrate(model, x)
    readings.debias(model, 2)
    readings.moving_average_gap(model, x, x[:, :1])
    watching.Watch(model)
    for variable, kept in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable, kept)
