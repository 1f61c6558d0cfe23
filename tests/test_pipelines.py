import numpy as np

from normlib.tf import tf, without_autotuning


def test_a_pipeline_that_keras_makes_of_arrays_is_not_tuned_and_others_are_as_they_were(monkeypatch):
    made = []
    kept = tf.data.Dataset.with_options

    def with_options(dataset, options, *names):
        made.append(options.autotune.enabled)
        return kept(dataset, options, *names)

    monkeypatch.setattr(tf.data.Dataset, "with_options", with_options)
    x, y = np.random.default_rng(0).normal(size=(96, 3)), np.arange(96) % 2
    model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    with without_autotuning():
        model.fit(x, y, verbose=0)
        inside, made[:] = list(made), []
    model.fit(x, y, verbose=0)

    assert inside
    assert set(inside) == {False}
    assert made
    assert False not in made


def test_images_come_in_the_same_order():
    x, y = np.random.default_rng(1).normal(size=(200, 3)), np.arange(200) % 2

    def losses():
        tf.keras.backend.clear_session()
        tf.keras.utils.set_random_seed(7)
        model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(2, activation="softmax")])
        model.compile(loss="sparse_categorical_crossentropy")
        return model.fit(x, y, epochs=3, verbose=0).history["loss"]

    tuned = losses()
    with without_autotuning():
        assert losses() == tuned
