"""Copies are made layer by layer, and keep every state; what cannot be copied says why."""

import numpy as np
import pytest
from test_graphs import give_random_weights, nested, random, shared

from normlib.errors import RequestError
from normlib.models import copies
from normlib.models.readings import debias
from normlib.models.swap import slots, swap
from normlib.tf import KERAS_3, tf

keras = tf.keras


@pytest.mark.parametrize(
    ("ordering", "layers"),
    [
        ("gn", ["functional/norm", "sequential/norm", "norm"]),
        ("gn/none", ["functional/norm", "norm"]),
        (
            "bn/bn+gn/ln",
            ["functional/norm", "sequential/norm/norm_1_bn", "sequential/norm/norm_2_gn", "norm"],
        ),
    ],
)
def test_layers_of_nested_models_are_replaced(ordering, layers):
    swapped = swap(nested(), ordering, groups=4)
    assert slots(swapped)["layer"].tolist() == layers
    assert swapped([random(2, 4, 3, 5), random(2, 4, 3, 5)]).shape == (2, 4, 3, 8)


def test_a_nested_model_is_copied_bit_for_bit():
    model, images = nested(), [random(2, 4, 3, 5), random(2, 4, 3, 5) + 1]
    copy = copies.copy_model(model, {}, set())
    assert copy is not model
    np.testing.assert_array_equal(model(images, training=False), copy(images, training=False))


@pytest.mark.parametrize(("ordering", "weights"), [("bn", 4), ("gn", 2), ("bn+gn", 6), ("none", 0)])
def test_a_shared_layer_stays_shared(ordering, weights):
    swapped = swap(shared(), ordering, groups=4)
    assert len(swapped.weights) == weights
    large, small = swapped([random(2, 4, 4, 8), random(2, 2, 2, 8)])
    assert (large.shape, small.shape) == ((2, 4, 4, 8), (2, 2, 2, 8))


def test_a_layer_shared_with_a_nested_model_stays_shared():
    norm, inner, outer = keras.layers.BatchNormalization(name="norm"), keras.Input((8,)), keras.Input((8,))
    model = keras.Model(outer, norm(keras.Model(inner, norm(inner), name="inner")(outer)))
    swapped = swap(model, "gn", groups=4)
    assert len(swapped.weights) == 2
    assert slots(swapped)["kind"].tolist() == ["gn"]


@pytest.mark.parametrize("build", [lambda model: model(random(2, 4, 3, 5)), lambda model: model.build((None, 4, 3, 5))])
def test_a_sequential_that_got_its_shape_later_is_copied_built(build):
    model = keras.Sequential([keras.layers.Conv2D(8, 1), keras.layers.BatchNormalization()])
    build(model)
    copy = copies.copy_model(model, {}, set())
    np.testing.assert_array_equal(model(random(2, 4, 3, 5)), copy(random(2, 4, 3, 5)))


def test_a_copy_is_not_compiled():
    model = nested()
    model.compile("sgd", "mse")
    copy = copies.copy_model(model, {}, set())
    assert getattr(copy, "optimizer", None) is None
    assert model.optimizer is not None


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
        """Scale."""
        return inputs * self.scale

    def get_config(self):
        """Return the name only."""
        return {"name": self.name}


class Inconstant(Forgetful):
    """The same; its configuration says another number."""

    def __init__(self, channels=1, **options):
        super().__init__(channels, **options)


class Block(keras.layers.Layer):
    """Two Dense of equal shape in a dict, the first frozen after it was built; a counter and a plain variable."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = {"first": keras.layers.Dense(8), "second": keras.layers.Dense(8)}
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.plain = tf.Variable(1.0)

    def build(self, shape):
        """Build both."""
        for dense in self.dense.values():
            dense.build(shape)
        super().build(shape)

    def call(self, inputs):
        """Apply both."""
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


COPIES = {
    "swap": lambda model: swap(model, "bn"),
    "copy": lambda model: copies.copy_compiled(model)[0],
    "debias": lambda model: debias(model, 10**6),
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_weights_stay_where_they_are_whatever_is_frozen(copy):
    """Keras 2 lists what is trained first, so that freezing one of two equal layers changes the order."""
    model, x = with_block(), random(5, 8)
    copied = copy(model)
    np.testing.assert_array_equal(model(x), copied(x))
    old, new = (m.layers[-3] for m in (model, copied))
    for name, dense in old.dense.items():
        np.testing.assert_array_equal(dense.kernel, new.dense[name].kernel)
        assert dense.trainable == new.dense[name].trainable
    assert float(old.count) - 1 == float(new.count) - 1 > 0
    assert copied.layers[-3].name == "block"


def test_what_was_set_later_or_the_configuration_leaves_out_is_kept():
    class Scale(keras.layers.Layer):
        def __init__(self, factor=2.0, **options):
            super().__init__(**options)
            self.factor, self._offset = factor, 0.0

        def call(self, inputs):
            return inputs * self.factor + self._offset

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.Input((8,)), Scale(5.0), keras.layers.BatchNormalization(), Scale()])
    model.layers[-1].factor, model.layers[-1]._offset = 7.0, 3.0
    np.testing.assert_array_equal(model(random(2, 8)), swap(model, "bn")(random(2, 8)))


def preprocessed():
    """Return models that begin with preprocessing that was adapted, and data for them."""
    words = np.array([["good"], ["bad"], ["new"]], object)
    normalization, lookup = keras.layers.Normalization(), keras.layers.StringLookup(output_mode="one_hot")
    normalization.adapt(random(50, 8) * 3 + 7)
    lookup.adapt(words[:2])
    discretization = keras.layers.Discretization(num_bins=4, output_mode="one_hot")
    discretization.adapt(random(50, 1))
    return {
        "normalization": (normalization, keras.Input((8,)), random(20, 8)),
        "lookup": (lookup, keras.Input((1,), dtype="string"), tf.constant(words)),
        "discretization": (discretization, keras.Input((1,)), random(20, 1)),
    }


@pytest.mark.parametrize("kind", ["normalization", "lookup", "discretization"])
@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_what_preprocessing_was_adapted_to_is_kept(kind, copy):
    layer, inputs, x = preprocessed()[kind]
    model = keras.Sequential([inputs, layer, keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    np.testing.assert_array_equal(model(x), copy(model)(x))


def test_what_was_set_on_inner_layers_is_kept():
    model = with_block()
    for layer in model.layers[0].dense.values():
        layer.activation = tf.nn.relu
    wrapped = keras.layers.TimeDistributed(keras.layers.BatchNormalization())
    other = keras.Sequential([keras.Input((3, 8)), wrapped, keras.layers.BatchNormalization()])
    wrapped.layer.epsilon, wrapped.layer.momentum = 0.5, 0.25
    copied, _ = copies.copy_compiled(other)
    assert (copied.layers[0].layer.epsilon, copied.layers[0].layer.momentum) == (0.5, 0.25)
    np.testing.assert_array_equal(other(random(2, 3, 8)), copied(random(2, 3, 8)))


def test_a_layer_that_is_shared_with_the_inside_of_another_is_refused():
    dense, inputs = keras.layers.Dense(8, name="shared"), keras.Input((3, 8))
    twice = keras.layers.TimeDistributed(dense)(keras.layers.TimeDistributed(dense)(inputs))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(twice))
    with pytest.raises(RequestError, match=r"Dense 'shared' stands inside TimeDistributed '.*' and elsewhere"):
        copies.copy_compiled(model)


def test_copying_draws_no_random_numbers():
    model = with_block()
    keras.utils.set_random_seed(5)
    expected = keras.initializers.GlorotUniform()((3, 3))
    keras.utils.set_random_seed(5)
    copies.copy_compiled(model)
    np.testing.assert_array_equal(keras.initializers.GlorotUniform()((3, 3)), expected)


def test_a_compile_of_ones_own_is_refused_in_one_line():
    class Own(Subclassed):
        def compile(self, optimizer, measure):
            super().compile(optimizer, measure)

    model = Own(4)
    model.build((None, 8))
    model.compile("sgd", "mse")
    with pytest.raises(RequestError, match="it cannot be compiled again: TypeError"):
        copies.copy_compiled(model)


def test_operations_between_layers_are_copied():
    inputs = keras.Input((8,))
    outputs = keras.layers.BatchNormalization()(inputs * 2.0 + 1.0) - inputs
    model = keras.Model(inputs, outputs)
    np.testing.assert_array_equal(model(random(2, 8)), swap(model, "bn")(random(2, 8)))


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


def test_a_lambda_layer_keeps_its_function():
    offset = 3.0
    model = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: np.e * x + offset)])
    model.add(keras.layers.BatchNormalization())
    np.testing.assert_array_equal(model(random(2, 8)), swap(model, "bn")(random(2, 8)))


def test_a_lambda_layer_with_a_layer_of_its_surroundings_is_refused():
    dense = keras.layers.Dense(8)
    dense.build((None, 8))
    model = keras.Sequential([keras.Input((8,)), keras.layers.Lambda(lambda x: x @ dense.kernel, name="product")])
    with pytest.raises(RequestError, match="Lambda 'product' uses 'dense' from around it, which a copy would share"):
        copies.copy_compiled(model)


class Subclassed(keras.Model):
    """A model of one's own that its configuration describes."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.dense, self.norm = keras.layers.Dense(units), keras.layers.BatchNormalization()

    def build(self, shape):
        """Build both layers."""
        self.dense.build(shape)
        self.norm.build((None, self.units))
        super().build(shape)

    def call(self, inputs, training=None):
        """Normalize after the dense layer."""
        return self.norm(self.dense(inputs), training=training)

    def get_config(self):
        """Return the number of units."""
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
        """Add the largest distance."""
        return super().update_state(tf.reduce_max(tf.abs(y_true - y_pred)))


class OwnLoss(keras.losses.Loss):
    """A loss of one's own, unregistered."""

    def call(self, y_true, y_pred):
        """Return the distance."""
        return tf.reduce_mean(tf.abs(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("loss", ["mse", own_loss, keras.losses.Huber(delta=0.25), OwnLoss()])
def test_a_copy_is_compiled_with_losses_and_metrics_of_its_own(loss):
    model, x = with_block(), random(64, 8)
    model.compile(keras.optimizers.Adam(0.25), loss, metrics=["mae", OwnMetric(name="own"), own_loss])
    model.fit(x, x[:, :3], verbose=0)
    metrics = [np.array(variable) for metric in model.metrics for variable in metric.variables]
    steps = int(model.optimizer.iterations)
    copied, _ = copies.copy_compiled(model)
    assert copied.evaluate(x, x[:, :3], verbose=0) == pytest.approx(model.evaluate(x, x[:, :3], verbose=0), rel=1e-6)
    metrics = [np.array(variable) for metric in model.metrics for variable in metric.variables]
    copied.evaluate(x + 1, x[:, :3], verbose=0)
    copied.fit(x, x[:, :3], verbose=0)
    for variable, kept in zip((v for metric in model.metrics for v in metric.variables), metrics, strict=True):
        np.testing.assert_array_equal(variable, kept)
    assert int(model.optimizer.iterations) == steps
    assert float(np.array(copied.optimizer.learning_rate)) == 0.25


def test_a_model_whose_class_has_a_step_of_its_own_is_refused():
    class OwnStep(keras.Model):
        def test_step(self, data):
            return {"loss": 1.0}

    inputs = keras.Input((8,))
    model = OwnStep(inputs, keras.layers.BatchNormalization()(inputs))
    with pytest.raises(RequestError, match=r"its class has test_step of its own.*in_place=True"):
        copies.copy_compiled(model)


def test_a_metric_that_cannot_be_made_anew_is_named():
    class Needy(OwnMetric):
        def __init__(self, needed):
            super().__init__(name="needy")

    model = with_block()
    model.compile("sgd", "mse", metrics=[Needy(3)])
    with pytest.raises(RequestError, match="Needy, of its metrics, cannot be made anew: TypeError"):
        copies.copy_compiled(model)


@pytest.mark.parametrize("layer", [Forgetful, Inconstant])
def test_a_layer_that_its_configuration_does_not_describe_is_refused(layer):
    model = keras.Sequential([keras.Input((8,)), layer(8, name="scale"), keras.layers.BatchNormalization()])
    with pytest.raises(RequestError, match=rf"get_config describes in full; that of {layer.__name__} 'scale' does not"):
        swap(model, "gn", groups=4)
