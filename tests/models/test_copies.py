"""Copies are made layer by layer, and keep every state; what cannot be copied says why."""

import numpy as np
import pytest
from test_graphs import give_random_weights, nested, random

from normlib.errors import RequestError
from normlib.models import copies
from normlib.models.swap import swap
from normlib.tf import KERAS_3, tf

keras = tf.keras


@pytest.mark.parametrize("build", [lambda model: model(random(2, 4, 3, 5)), lambda model: model.build((None, 4, 3, 5))])
def test_a_sequential_that_got_its_shape_later_is_copied_built(build):
    model = keras.Sequential([keras.layers.Conv2D(8, 1), keras.layers.BatchNormalization()])
    build(model)
    copy = copies.copy_model(model, {})
    np.testing.assert_array_equal(model(random(2, 4, 3, 5)), copy(random(2, 4, 3, 5)))


def test_what_is_trainable_stays_so():
    model = nested()
    model.get_layer("functional").trainable = False
    model.get_layer("functional").get_layer("norm").trainable = True  # in a model that is not, which decides
    model.get_layer("norm").trainable = False
    copy = swap(model, "bn/gn/bn", groups=4)
    assert [layer.trainable for layer in copy.layers] == [layer.trainable for layer in model.layers]
    assert copy.get_layer("functional").get_layer("norm").trainable
    assert len(copy.trainable_weights) == len(model.trainable_weights)


class Forgetful(keras.layers.Layer):
    """Scales its input; its configuration does not say how many channels it has."""

    def __init__(self, channels, **options):
        super().__init__(**options)
        self.scale = self.add_weight(shape=(channels,), name="scale")

    def call(self, inputs):
        return inputs * self.scale

    def get_config(self):
        return {"name": self.name}


class Block(keras.layers.Layer):
    """Two Dense of equal shape in a dict, the first frozen after it was built; a counter and a plain variable."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = {"first": keras.layers.Dense(8), "second": keras.layers.Dense(8)}
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.plain = tf.Variable(1.0)

    def build(self, shape):
        for dense in self.dense.values():
            dense.build(shape)
        super().build(shape)

    def call(self, inputs):
        self.count.assign_add(1.0)
        return self.dense["second"](self.dense["first"](inputs)) * self.plain


def with_block():
    block = Block(name="block")
    norm = keras.layers.BatchNormalization(name="norm")
    model = keras.Sequential([keras.Input((8,)), block, norm, keras.layers.Dense(3)])
    give_random_weights(model)
    block.dense["first"].trainable = False
    block.plain.assign(3.0)
    return model


def test_weights_stay_where_they_are_whatever_is_frozen():
    """Keras 2 lists what is trained first, so that freezing one of two equal layers changes the order."""
    model, x = with_block(), random(5, 8)
    copied, _ = copies.copy_compiled(model)
    np.testing.assert_array_equal(model(x), copied(x))
    old, new = model.layers[-3], copied.layers[-3]
    for name, dense in old.dense.items():
        np.testing.assert_array_equal(dense.kernel, new.dense[name].kernel)
        assert dense.trainable == new.dense[name].trainable
    assert float(old.count) - 1 == float(new.count) - 1 > 0
    assert copied.layers[-3].name == "block"


def test_what_was_set_on_inner_layers_is_kept():
    wrapped = keras.layers.TimeDistributed(keras.layers.BatchNormalization())
    other = keras.Sequential([keras.Input((3, 8)), wrapped, keras.layers.BatchNormalization()])
    wrapped.layer.epsilon, wrapped.layer.momentum = 0.5, 0.25
    copied, _ = copies.copy_compiled(other)
    assert (copied.layers[0].layer.epsilon, copied.layers[0].layer.momentum) == (0.5, 0.25)
    np.testing.assert_array_equal(other(random(2, 3, 8)), copied(random(2, 3, 8)))


def test_copying_draws_no_random_numbers():
    model = with_block()
    keras.utils.set_random_seed(5)
    expected = keras.initializers.GlorotUniform()((3, 3))
    keras.utils.set_random_seed(5)
    copies.copy_compiled(model)
    np.testing.assert_array_equal(keras.initializers.GlorotUniform()((3, 3)), expected)


@pytest.mark.skipif(not KERAS_3, reason="Keras 2 makes a layer of it")
def test_a_variable_that_a_graph_takes_from_a_layer_is_refused():
    import keras as keras_3

    inputs, embedding = keras.Input((5,), dtype="int32"), keras.layers.Embedding(10, 4)
    hidden = keras.layers.BatchNormalization()(keras.layers.GlobalAveragePooling1D()(embedding(inputs)))
    model = keras.Model(inputs, keras_3.ops.matmul(hidden, keras_3.ops.transpose(embedding.embeddings)))
    tied = keras.Model(inputs, keras_3.ops.einsum("bc,vc->bv", hidden, embedding.embeddings))
    nested = keras.Sequential([keras.Input((5,), dtype="int32"), tied])
    for sharing in (tied, nested):
        with pytest.raises(RequestError, match="is called with a variable of another layer, which a copy would share"):
            copies.copy_compiled(sharing)
    before = copies.copy_compiled(model)[0](np.array([[1, 2, 3, 4, 5]]))
    np.testing.assert_array_equal(before, model(np.array([[1, 2, 3, 4, 5]])))


class Subclassed(keras.Model):
    """A model of one's own that its configuration describes."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.dense, self.norm = keras.layers.Dense(units), keras.layers.BatchNormalization()

    def build(self, shape):
        self.dense.build(shape)
        self.norm.build((None, self.units))
        super().build(shape)

    def call(self, inputs, training=None):
        return self.norm(self.dense(inputs), training=training)

    def get_config(self):
        return {"units": self.units, "name": self.name}


def test_a_subclassed_model_is_copied_where_its_configuration_describes_it():
    model = Subclassed(4)
    model.build((None, 8))
    give_random_weights(model)
    model.compile("sgd", "mse")
    copied, _ = copies.copy_compiled(model)
    assert type(copied) is Subclassed
    np.testing.assert_array_equal(model(random(2, 8)), copied(random(2, 8)))


def own_loss(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1) * 2


class OwnMetric(keras.metrics.Mean):
    """A metric of one's own, unregistered."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(tf.reduce_max(tf.abs(y_true - y_pred)))


def test_a_copy_is_compiled_as_the_model_is_and_leaves_its_state_alone():
    model, x = with_block(), random(64, 8)
    how = {"loss": keras.losses.Huber(delta=0.25), "metrics": ["mae", OwnMetric(name="own"), own_loss]}
    model.compile(keras.optimizers.Adam(0.25), **how)
    model.fit(x, x[:, :3], verbose=0)
    copied, _ = copies.copy_compiled(model)
    assert copied.evaluate(x, x[:, :3], verbose=0) == pytest.approx(model.evaluate(x, x[:, :3], verbose=0), rel=1e-6)
    state = [*model.optimizer.variables, *(variable for metric in model.metrics for variable in metric.variables)]
    before = [np.array(variable) for variable in state]
    copied.fit(x + 1, x[:, :3], verbose=0)
    for variable, kept in zip(state, before, strict=True):
        np.testing.assert_array_equal(variable, kept)
    assert float(np.array(copied.optimizer.learning_rate)) == 0.25


class Scale(keras.layers.Layer):
    """Multiplies and adds; its configuration says neither."""

    def __init__(self, factor=2.0, **options):
        super().__init__(**options)
        self.factor, self._offset = factor, 0.0

    def call(self, inputs):
        return inputs * self.factor + self._offset

    def get_config(self):
        return {"name": self.name}


def scaled():
    model = keras.Sequential([keras.Input((8,)), Scale(5.0), Scale()])
    model.layers[-1].factor, model.layers[-1]._offset = 7.0, 3.0
    return model


class Built(keras.layers.Layer):
    """Takes what it computes with from an attribute when it is built."""

    def __init__(self, **options):
        super().__init__(**options)
        self.strength = 1.0

    def build(self, shape):
        self.factor = tf.constant(self.strength)
        super().build(shape)

    def call(self, inputs):
        return inputs * self.factor


def built():
    layer = Built()
    layer.strength = 5.0
    return keras.Sequential([keras.Input((8,)), layer])


def with_operations():
    inputs = keras.Input((8,))
    return keras.Model(inputs, keras.layers.BatchNormalization()(inputs * 2.0 + 1.0) - inputs)


def with_lambda():
    offset = 3.0
    return keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: np.e * x + offset)])


def normalized():
    normalization = keras.layers.Normalization()
    normalization.adapt(random(50, 8) * 3 + 7)
    return keras.Sequential([keras.Input((8,)), normalization])


def discretized():
    layer = keras.layers.Discretization(num_bins=4, output_mode="one_hot")
    layer.adapt(random(50, 1))
    return keras.Sequential([keras.Input((1,)), layer, keras.layers.Dense(2)])


def looked_up():
    lookup = keras.layers.StringLookup(output_mode="one_hot")
    lookup.adapt(WORDS[:2])
    return keras.Sequential([keras.Input((1,), dtype="string"), lookup, keras.layers.Dense(2)])


WORDS = np.array([["good"], ["bad"], ["new"]], object)


@pytest.mark.parametrize("make", [scaled, built, with_operations, with_lambda, normalized, discretized, looked_up])
def test_settings_functions_and_what_preprocessing_was_adapted_to_are_kept(make):
    """Also what was set later, or the configuration leaves out."""
    model = make()
    x = tf.constant(WORDS) if make is looked_up else random(20, 1 if make is discretized else 8)
    np.testing.assert_array_equal(model(x), copies.copy_compiled(model)[0](x))


class Needy(OwnMetric):
    """A metric that its configuration does not describe."""

    def __init__(self, needed):
        super().__init__(name="needy")


class OwnCompile(Subclassed):
    """A model that cannot be compiled from what it was compiled with."""

    def compile(self, optimizer, measure):
        super().compile(optimizer, measure)


class OwnStep(keras.Model):
    """A Functional model with a step of its own."""

    def test_step(self, data):
        return {"loss": 1.0}


def compiled(model, *how, **options):
    if not model.built:
        model.build((None, 8))
    model.compile(*how, **options)
    return model


def stepping():
    inputs = keras.Input((8,))
    return OwnStep(inputs, keras.layers.BatchNormalization()(inputs))


def shared_inside():
    dense, inputs = keras.layers.Dense(8, name="shared"), keras.Input((3, 8))
    twice = keras.layers.TimeDistributed(dense)(keras.layers.TimeDistributed(dense)(inputs))
    return keras.Model(inputs, twice)


def with_surroundings():
    dense = keras.layers.Dense(8)
    dense.build((None, 8))
    return keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x @ dense.kernel, name="product")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (stepping, "but its class has test_step of its own, which a copy would lose; .*in_place=True"),
        (lambda: compiled(OwnCompile(4), "sgd", "mse"), "a copy of it cannot be compiled; .*; it raised TypeError"),
        (
            lambda: compiled(with_block(), "sgd", "mse", metrics=[Needy(3)]),
            "metrics is 'Needy', but it cannot be made anew from its configuration; .*; it raised TypeError",
        ),
        (
            lambda: keras.Sequential([keras.Input((8,)), Forgetful(8, name="scale")]),
            r"layer is 'scale \(Forgetful\)', but its get_config does not describe it in full; .*in_place=True",
        ),
        (with_surroundings, r"'product \(Lambda\)', but its function uses 'dense' from around it, which a copy would"),
        (shared_inside, r"'shared \(Dense\)', but it stands inside 'time_distr.*' and elsewhere, and would"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_one_line(make, message):
    with pytest.raises(RequestError, match=message) as caught:
        copies.copy_compiled(make())
    assert "\n" not in str(caught.value)
