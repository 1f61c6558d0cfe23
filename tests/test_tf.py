"""There is no GPU where these tests run: TensorFlow's answers about one are made up."""

import os
import subprocess
import sys
import types

import numpy as np
import pytest

from conftest import SMALL
from normlib.errors import RequestError
from normlib.tf import describe_environment, tf, use_threads, without_autotuning


def run(code, **environment):
    """Run some code in a process of its own, and return what it printed on both outputs."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | environment
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_tensorflow_starts_without_a_word_on_one_thread_and_with_the_keras_and_the_backend_that_normlib_needs():
    """Also where a model is built first."""
    code = (
        "import normlib; from normlib.tf import tf; normlib.build_model(normlib.Instance())\n"
        f"record = normlib.train(normlib.Instance(**{SMALL!r}), seed=0)\n"
        "print(tf.keras.backend.backend(), record.environment['threads'])"
    )
    assert run(code, KERAS_BACKEND="jax", TF_USE_LEGACY_KERAS="1") == ("tensorflow 1\n", "")


def test_memory_of_a_gpu_is_taken_as_it_is_needed():
    code = """
import types
import tensorflow as tf
card, grown = types.SimpleNamespace(name="GPU:0"), []
tf.config.list_physical_devices = lambda kind=None: [card] if kind == "GPU" else []
tf.config.experimental.set_memory_growth = lambda device, enable: grown.append((device, enable))
import normlib.tf
assert grown == [(card, True)], grown
"""
    run(code)


def test_another_number_of_threads_than_tensorflow_runs_with_is_refused():
    tf.constant(1) + 1  # the first operation, perhaps
    assert use_threads() == use_threads(1) == 1
    with pytest.raises(RequestError, match=r"^threads is 7, but TensorFlow already runs with 1 in this process"):
        use_threads(7)


def test_without_a_gpu_the_device_is_the_cpu():
    found = describe_environment("auto", 1)
    assert (found["device"], found["gpu"]) == ("CPU", None)


def test_a_gpu_is_recorded_by_its_name(monkeypatch, make_record):
    card = types.SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind=None: [card] if kind == "GPU" else [])
    details = {"device_name": "A card\N{TRADE MARK SIGN}"}
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
    found = describe_environment("auto", 1)
    assert (found["device"], found["gpu"]) == ("GPU", "A card?")
    record = make_record(environment={"device": "GPU", "gpu": found["gpu"]})
    assert type(record).from_json(record.to_json()) == record
    assert record.row()["device"] == "A card?"


def losses(x, y):
    """Train a small model on arrays, as they come in batches, and return the loss of each epoch."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(7)
    model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(2, activation="softmax")])
    model.compile(loss="sparse_categorical_crossentropy")
    return model.fit(x, y, epochs=2, verbose=0).history["loss"]


def test_a_pipeline_that_keras_makes_of_arrays_is_not_tuned_and_gives_the_same_bits(monkeypatch):
    made = []
    kept = tf.data.Dataset.with_options

    def with_options(dataset, options, *names):
        made.append(options.autotune.enabled)
        return kept(dataset, options, *names)

    monkeypatch.setattr(tf.data.Dataset, "with_options", with_options)
    x, y = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
    with without_autotuning():
        untuned = losses(x, y)
        inside, made[:] = list(made), []
    assert losses(x, y) == untuned
    assert inside
    assert set(inside) == {False}
    assert made
    assert False not in made
